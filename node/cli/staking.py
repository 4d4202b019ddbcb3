"""`nexus tx staking|slashing` and `nexus query staking|slashing`: what operators and delegators do."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from apps.slashing.messages import Unjail
from apps.staking.messages import (
    Claim,
    CreateValidator,
    Delegate,
    EditValidator,
    Redelegate,
    RotateKey,
    Unbond,
    possession_digest,
)
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.amounts import format_amount
from node.api import methods
from node.api.text import LATEST
from node.cli.accounts import address_named, chain_point, native_amount
from node.cli.sending import Sending, transaction
from node.cli.session import Session, command
from node.client import Client
from node.home import Home
from node.keystore import CONSENSUS_KEY, Keystore, load_node_key
from node.wallet import message
from state.params import BASIS
from state.transaction import Message
from state.types import Amount

staking_tx: Final = typer.Typer(no_args_is_help=True)
slashing_tx: Final = typer.Typer(no_args_is_help=True)
staking_query: Final = typer.Typer(no_args_is_help=True)
slashing_query: Final = typer.Typer(no_args_is_help=True)

Operator = Annotated[str, typer.Argument(help="The operator's nx1..., or the name of a stored key.")]
Stake = Annotated[str, typer.Argument(metavar="AMOUNT", help="1.5nxs or 1500000unxs.")]
Rate = Annotated[str, typer.Option("--commission-rate", help="Share of the rewards kept, 0 to 1, such as 0.05.")]
Moniker = Annotated[str, typer.Option(help="The validator's name, for people.")]
KeyPath = Annotated[Path | None, typer.Option(
    "--consensus-key", help="File of the consensus key; by default the one of this home.")]  # fmt: skip
AtHeight = Annotated[str, typer.Option("--height", help="After this block, if the node still knows.")]


def basis_points(text: str) -> int:
    """Return a share of 0 to 1 in basis points. Raises Refused(BAD_ARGUMENT) for more than four decimals."""
    try:
        points = Decimal(text) * BASIS
    except InvalidOperation:
        points = Decimal(-1)
    if not points.is_finite() or points != points.to_integral_value() or not 0 <= points <= BASIS:
        raise Refused(Reason.BAD_ARGUMENT, f"{text} is no share from 0 to 1 with at most four decimals")
    return int(points)


# ---- transactions


def _possession(sending: Sending, path: Path | None) -> tuple[bytes, bytes]:
    """Return a consensus key and its signature for the sender."""
    key: SecretKey = load_node_key(path or Home(sending.session.home).keys / f"{CONSENSUS_KEY}.json")
    chain_id = chain_point(sending.client).chain_id
    return key.public_key, key.sign(possession_digest(chain_id, sending.sender, key.public_key))


def _bonded(sending: Sending, operator: str, text: str) -> Amount:
    """Return an amount of stake; `all` is what the sender has bonded with the operator."""
    if text != "all":
        return native_amount(text)
    asked = {"delegator": encode_address(sending.sender), "operator": encode_address(sending.address(operator))}
    found = sending.client.ask(methods.QueryModule(name="staking/delegation", parameters=asked)).value
    return Amount(int(found["amount"]))


@transaction(staking_tx, "create-validator")
def create_validator(
    sending: Sending, amount: Stake, moniker: Moniker, commission_rate: Rate = "0.05", consensus_key: KeyPath = None
) -> list[Message]:
    """Become an operator with stake of one's own; the validator votes from the next epoch on."""
    public_key, proof = _possession(sending, consensus_key)
    return [message("staking/create_validator", CreateValidator(
        public_key, proof, moniker, basis_points(commission_rate), native_amount(amount)
    ))]  # fmt: skip


@transaction(staking_tx, "edit-validator")
def edit_validator(
    sending: Sending,
    moniker: Annotated[str, typer.Option(help="New name; by default as it is.")] = "",
    commission_rate: Annotated[str, typer.Option(help="New share, 0 to 1; by default as it is.")] = "",
) -> list[Message]:
    """Change the validator's name and commission."""
    asked = {"operator": encode_address(sending.sender)}
    now = sending.client.ask(methods.QueryModule(name="staking/validator", parameters=asked)).value
    rate = basis_points(commission_rate) if commission_rate else int(now["commission"])
    return [message("staking/edit_validator", EditValidator(moniker or now["moniker"], rate))]


@transaction(staking_tx)
def delegate(sending: Sending, operator: Operator, amount: Stake) -> list[Message]:
    """Bond stake with an operator."""
    return [message("staking/delegate", Delegate(sending.address(operator), native_amount(amount)))]


@transaction(staking_tx)
def redelegate(
    sending: Sending, source: Operator, target: Operator,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="1.5nxs, 1500000unxs, or all.")],
) -> list[Message]:
    """Move stake from one operator to another without a pause."""
    value = Redelegate(sending.address(source), sending.address(target), _bonded(sending, source, amount))
    return [message("staking/redelegate", value)]


@transaction(staking_tx)
def unbond(
    sending: Sending, operator: Operator,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="1.5nxs, 1500000unxs, or all.")],
) -> list[Message]:
    """Take stake back; it comes into the balance by itself after the unbonding period."""
    return [message("staking/unbond", Unbond(sending.address(operator), _bonded(sending, operator, amount)))]


@transaction(staking_tx)
def claim(sending: Sending, operator: Operator) -> list[Message]:
    """Take the rewards that stake with an operator has earned; the operator takes its commission too."""
    return [message("staking/claim", Claim(sending.address(operator)))]


@transaction(staking_tx, "rotate-key")
def rotate_key(
    sending: Sending,
    consensus_key: Annotated[Path, typer.Option("--consensus-key", help="File of the new consensus key.")],
) -> list[Message]:
    """Vote with another consensus key from the next epoch on."""
    public_key, proof = _possession(sending, consensus_key)
    return [message("staking/rotate_key", RotateKey(public_key, proof))]


@transaction(slashing_tx)
def unjail(sending: Sending) -> list[Message]:
    """Take one's validator out of jail; it votes from the next epoch on."""
    return [message("slashing/unjail", Unjail())]


# ---- queries


def _ask(session: Session, name: str, height: str, **parameters: str) -> Any:
    store = Keystore(session.home / "keys")
    asked = {key: encode_address(address_named(store, text)) for key, text in parameters.items()}
    with Client(session.url) as client:
        return client.ask(methods.QueryModule(name=name, parameters=asked, height=height)).value


_MONEY: Final = frozenset({
    "bonded", "self_bonded", "commission_due", "rewards_due", "amount", "rewards", "total", "fees", "min_self_stake",
})
_SHARES: Final = frozenset({
    "commission", "slash_double_sign", "slash_downtime", "min_signed", "max_commission_step", "inflation", "score",
})


def shown(value: Any) -> Any:
    """Return an answer as people read it: money in nxs, shares of a whole in per cent."""
    if isinstance(value, Mapping):
        return {key: _shown_field(key, item) for key, item in value.items() if key != "public_key"}
    return [shown(item) for item in value] if isinstance(value, list) else value


def _shown_field(key: str, value: Any) -> Any:
    if isinstance(value, Mapping | list):
        return shown(value)
    if key in _MONEY:
        return format_amount(int(value))
    return f"{Decimal(int(value)) / 100}%" if key in _SHARES else value


def _show(session: Session, value: Any) -> None:
    session.show(shown(value))


@command(staking_query)
def validators(session: Session, height: AtHeight = LATEST) -> None:
    """List the candidates for the next set, the strongest first."""
    _show(session, _ask(session, "staking/validators", height))


@command(staking_query)
def validator(session: Session, operator: Operator, height: AtHeight = LATEST) -> None:
    """Show one validator."""
    _show(session, _ask(session, "staking/validator", height, operator=operator))


@command(staking_query)
def delegation(session: Session, delegator: Operator, operator: Operator, height: AtHeight = LATEST) -> None:
    """Show what an account has bonded with an operator."""
    _show(session, _ask(session, "staking/delegation", height, delegator=delegator, operator=operator))


@command(staking_query)
def delegations(session: Session, delegator: Operator, height: AtHeight = LATEST) -> None:
    """List what an account has bonded."""
    _show(session, _ask(session, "staking/delegations", height, delegator=delegator))


@command(staking_query)
def unbonding(session: Session, delegator: Operator, height: AtHeight = LATEST) -> None:
    """List an account's stake that is on its way back or to another operator."""
    _show(session, _ask(session, "staking/unbonding", height, delegator=delegator))


@command(staking_query)
def rewards(session: Session, delegator: Operator, height: AtHeight = LATEST) -> None:
    """Show what `claim` would pay now."""
    found = _ask(session, "staking/rewards", height, delegator=delegator)
    # here `commission` is money, elsewhere a share
    rows = [{**row, "commission": format_amount(int(row["commission"]))} for row in found["rewards"]]
    session.show({
        "rewards": [{**row, "amount": format_amount(int(row["amount"]))} for row in rows],
        "total": format_amount(int(found["total"])),
    })


@command(staking_query)
def pool(session: Session, height: AtHeight = LATEST) -> None:
    """Show all stake together, and the fees that wait."""
    _show(session, _ask(session, "staking/pool", height))


@command(staking_query)
def params(session: Session, height: AtHeight = LATEST) -> None:
    """Show the rules of stake."""
    _show(session, _ask(session, "staking/params", height))


@command(staking_query)
def reputation(session: Session, operator: Operator, height: AtHeight = LATEST) -> None:
    """Show a validator's score."""
    _show(session, _ask(session, "staking/reputation", height, operator=operator))


@command(slashing_query)
def info(session: Session, operator: Operator, height: AtHeight = LATEST) -> None:
    """Show a validator's jail, tombstone and missed commits."""
    _show(session, _ask(session, "slashing/info", height, operator=operator))


@command(slashing_query, "params")
def slashing_params(session: Session, height: AtHeight = LATEST) -> None:
    """Show what faults cost."""
    _show(session, _ask(session, "slashing/params", height))
