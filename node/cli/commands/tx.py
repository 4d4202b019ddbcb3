"""Build, sign and send transactions."""

from pathlib import Path
from typing import Annotated

import typer

from apps.token.messages import (
    Approve,
    Burn,
    Deposit,
    Freeze,
    Issue,
    Lock,
    Mint,
    NewCoin,
    Thaw,
    Transfer,
    TransferFrom,
    Unlock,
    Withdraw,
)
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.amounts import asset_of, parse_outpoint, parse_quantity, to_smallest
from node.api.text import hash_from
from node.cli import proving, upgrading
from node.cli.passwords import KeyCost, KeyScheme, PasswordFile, cost_of, read_password, scheme_of
from node.cli.rotation import rotate
from node.cli.sending import Sending, add_signature, finished, load_draft, submit, transaction
from node.cli.session import Session, command
from node.cli.staking import slashing_tx, staking_tx
from node.cli.tracing import trace_command
from node.client import Client
from node.keystore import Keystore
from node.wallet import message
from state.transaction import Coin, Message
from state.types import Height

app = typer.Typer(no_args_is_help=True)
app.add_typer(staking_tx, name="staking", help="Stake: validators, delegations, rewards.")
app.add_typer(slashing_tx, name="slashing", help="The way out of jail.")
transaction(app)(proving.space)
transaction(app)(proving.time)
command(app, "trace")(trace_command)
app.add_typer(upgrading.app, name="upgrade", help="Decide on the next protocol version.")

To = Annotated[str, typer.Argument(help="nx1... or the name of a stored key.")]
AmountText = Annotated[str, typer.Argument(metavar="AMOUNT", help="1.5nxs, 1500000unxs, 25gold or 25gold@ISSUER.")]
AssetName = Annotated[str, typer.Argument(metavar="ASSET", help="Symbol of one's own asset, SYMBOL@ISSUER, or an id.")]


@transaction(app)
def transfer(sending: Sending, to: To, amount: AmountText) -> list[Message]:
    """Pay from the balance."""
    asset, units = sending.amount(amount)
    return [message("token/transfer", Transfer(asset, sending.address(to), units))]


@transaction(app)
def send(sending: Sending, to: To, amount: AmountText) -> list[Coin]:
    """Pay with coins; what is left over comes back as a new coin."""
    asset, units = sending.amount(amount)
    return [Coin(asset, sending.address(to), units)]


@transaction(app)
def approve(sending: Sending, spender: To, amount: AmountText) -> list[Message]:
    """Let somebody take up to an amount from the balance; 0nxs takes it back."""
    asset, units = sending.amount(amount, least=0)
    return [message("token/approve", Approve(asset, sending.address(spender), units))]


@transaction(app, "transfer-from")
def transfer_from(sending: Sending, owner: To, to: To, amount: AmountText) -> list[Message]:
    """Pay from the balance of an owner who approved it."""
    asset, units = sending.amount(amount)
    return [message("token/transfer_from", TransferFrom(asset, sending.address(owner), sending.address(to), units))]


@transaction(app)
def lock(
    sending: Sending, amount: AmountText,
    until: Annotated[int, typer.Option(min=1, help="Height from which it can be unlocked.")],
) -> list[Message]:
    """Put an amount out of one's own reach until a height."""
    asset, units = sending.amount(amount)
    return [message("token/lock", Lock(asset, units, Height(until)))]


@transaction(app)
def unlock(
    sending: Sending, lock_id: Annotated[str, typer.Argument(help="64 digits, from `query locks`.")]
) -> list[Message]:
    """Take a lock's amount back into the balance."""
    return [message("token/unlock", Unlock(hash_from(lock_id)))]


@transaction(app)
def issue(
    sending: Sending,
    symbol: Annotated[str, typer.Argument(help="1 to 12 small letters and digits.")],
    supply: Annotated[str, typer.Argument(help="First supply in whole units, such as 1000 or 10.5.")],
    decimals: Annotated[int, typer.Option(min=0, max=18, help="Decimal places.")] = 6,
    mintable: Annotated[bool, typer.Option("--mintable", help="The issuer may make more.")] = False,
    burnable: Annotated[bool, typer.Option("--burnable", help="Holders may destroy theirs.")] = False,
    freezable: Annotated[bool, typer.Option("--freezable", help="The issuer may freeze accounts.")] = False,
) -> list[Message]:
    """Make a new asset; the sender is its issuer and gets the first supply."""
    units = to_smallest(parse_quantity(f"{supply}{symbol}"), decimals)
    return [message("token/issue", Issue(symbol, decimals, units, mintable, burnable, freezable))]


@transaction(app)
def mint(sending: Sending, to: To, amount: AmountText) -> list[Message]:
    """Make more of a mintable asset that the sender issued."""
    asset, units = sending.amount(amount)
    return [message("token/mint", Mint(asset, sending.address(to), units))]


@transaction(app)
def burn(sending: Sending, amount: AmountText) -> list[Message]:
    """Destroy an amount of a burnable asset."""
    asset, units = sending.amount(amount)
    return [message("token/burn", Burn(asset, units))]


@transaction(app)
def freeze(sending: Sending, account: To, asset: AssetName) -> list[Message]:
    """Stop an account from moving an asset that the sender issued."""
    return [message("token/freeze", Freeze(asset_of(asset, sending.sender), sending.address(account)))]


@transaction(app)
def thaw(sending: Sending, account: To, asset: AssetName) -> list[Message]:
    """Let a frozen account move the asset again."""
    return [message("token/thaw", Thaw(asset_of(asset, sending.sender), sending.address(account)))]


@transaction(app)
def deposit(
    sending: Sending, amount: AmountText,
    to: Annotated[str, typer.Option(help="Owner of the coins; by default the sender.")] = "",
    pieces: Annotated[int, typer.Option(min=1, max=256, help="Coins to make of it.")] = 1,
) -> list[Message]:
    """Turn balance into coins."""
    asset, units = sending.amount(amount)
    owner = sending.address(to) if to else sending.sender
    if units < pieces:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"{amount} does not make {pieces} coins")
    share, rest = divmod(units, pieces)
    coins = tuple(NewCoin(owner, type(units)(share + (index < rest))) for index in range(pieces))
    return [message("token/deposit", Deposit(asset, coins))]


@transaction(app)
def withdraw(
    sending: Sending, coins: Annotated[list[str], typer.Argument(metavar="TXID:INDEX...", help="Coins of one's own.")]
) -> list[Message]:
    """Turn coins into balance."""
    return [message("token/withdraw", Withdraw(tuple(parse_outpoint(text) for text in coins)))]


@command(app, "rotate-key")
def rotate_key(
    session: Session, name: Annotated[str, typer.Argument(help="Name of the key.")], scheme: KeyScheme = "falcon",
    password_file: PasswordFile = None, key_cost: KeyCost = "moderate",
) -> None:
    """Sign for an account with a new random key from now on, as `keys rotate` does."""
    password = read_password(password_file, f"key {name}")
    session.show(rotate(session, name, SecretKey.generate(scheme_of(scheme)), password, cost_of(key_cost)))


# ---- multi-signature accounts


@command(app)
def sign(
    session: Session, draft: Annotated[Path, typer.Argument(help="File from --draft.")],
    sender: Annotated[str, typer.Option("--from", envvar="NEXUS_FROM", help="Name of the member's key.")],
    password_file: PasswordFile = None,
) -> None:
    """Add a member's signature to the draft of a multi-signature account."""
    store = Keystore(session.home / "keys")
    entry = store.entry(sender)
    have, need = add_signature(draft, entry, read_password(password_file, f"key {sender}"), store)
    session.show({"signatures": have, "needed": need})


@command(app)
def broadcast(
    session: Session, draft: Annotated[Path, typer.Argument(help="File from --draft, signed by enough members.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is in a block.")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, max=120, help="Seconds to wait.")] = 30.0,
) -> None:
    """Send a draft that enough members signed."""
    raw, fee = finished(load_draft(draft))
    with Client(session.url) as client:
        submit(session, client, raw, fee, wait=wait, timeout=timeout)
