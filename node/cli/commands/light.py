"""Ask a node that is not trusted, and verify its answer here."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consensus.signing import SchemeVerifier
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from node.amounts import asset_of, format_amount, parse_outpoint
from node.api.text import hash_from
from node.api.views import output_view, readable, receipt_view
from node.cli.accounts import address_named
from node.cli.session import Session, command, option
from node.client import Client
from node.home import Home, write_file
from node.keystore import Keystore
from node.light import (
    DEFAULT_TRUST_PERIOD,
    MAX_ANSWER,
    GenesisRoot,
    HeaderRoot,
    LightAnswer,
    Question,
    RememberingVerifier,
    Root,
    Verified,
    answer_codec,
    fetch,
    verify_answer,
)
from state.encoding import encode
from state.records import (
    allowance_key,
    asset_key,
    asset_text,
    balance_key,
    decode_amount,
    decode_asset,
    decode_output,
    nonce_key,
    output_key,
    public_key_key,
    supply_key,
)
from state.types import NATIVE, AssetId, BlockId, ChainId, Height, TxId

app = typer.Typer(no_args_is_help=True)
query = typer.Typer(no_args_is_help=True)
verify = typer.Typer(no_args_is_help=True)
app.add_typer(query, name="query", help="Ask a node and verify its answer.")
app.add_typer(verify, name="verify", help="Verify an answer that was recorded with --save.")

HOURS: Final = 3_600_000
STALE: Final = 60_000
"""ms. An older last header is worth a remark: the node may hold newer ones back."""
Who = Annotated[str, typer.Argument(metavar="ADDRESS", help="nx1... or the name of a stored key.")]
AssetName = Annotated[str, typer.Option("--asset", help="nxs, SYMBOL@ISSUER, or an id.")]
Reading = Callable[[Verified], dict[str, Any]]
Asking = tuple[Question, Reading]

_ROOT: Final = {
    "trust_height": option("trust_height", Annotated[int, typer.Option(
        min=0, help="Height of a block that is trusted.", rich_help_panel="Trust")], 0),
    "trust_hash": option("trust_hash", Annotated[str, typer.Option(
        help="Id of that block.", rich_help_panel="Trust")], ""),
    "trust_period": option("trust_period", Annotated[float, typer.Option(
        min=0.01, help="Hours for which it is trusted.", rich_help_panel="Trust")], DEFAULT_TRUST_PERIOD / HOURS),
    "chain_id": option("chain_id", Annotated[str, typer.Option(
        help="Genesis hash; by default that of the home.", rich_help_panel="Trust")], ""),
    "save": option("save", Annotated[Path | None, typer.Option(
        help="Record the answer with all that proves it.")], None),
}  # fmt: skip


@verify.callback()
def recorded(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="A recorded answer.")]) -> None:
    """Take the answer from a file instead of a node."""
    session: Session = ctx.find_root().obj
    ctx.find_root().obj = Session(session.home, session.node, session.output, file)


def _root(session: Session, shared: Mapping[str, Any]) -> Root:
    """Return what the user trusts. Raises Refused(USAGE)."""
    height, text = shared["trust_height"], shared["trust_hash"]
    if bool(height) != bool(text):
        raise Refused(Reason.USAGE, "--trust-height and --trust-hash belong together")
    if text:
        return HeaderRoot(Height(height), BlockId(hash_from(text)), int(shared["trust_period"] * HOURS))
    return GenesisRoot(ChainId(hash_from(shared["chain_id"] or _home_chain(session))))


def _home_chain(session: Session) -> str:
    try:
        return Home(session.home).genesis_hash.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise Refused(
            Reason.USAGE, "what is trusted? Give --chain-id (the genesis hash), or --trust-height and --trust-hash"
        ) from None


def _run(ask: Callable[..., Asking], session: Session, shared: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    root = _root(session, shared)
    question, reading = ask(session, **values)
    verifier = RememberingVerifier(SchemeVerifier())
    now = time.time_ns() // 1_000_000
    if session.recorded is not None:
        answer = _load(session.recorded)
    else:
        with Client(session.url) as client:
            answer = fetch(client, root, question, now, verifier, lambda step: session.note(f"  {step}"))
    verified = verify_answer(root, question, answer, now, verifier)
    if shared["save"] is not None:
        write_file(shared["save"], encode(answer))
    session.show({**reading(verified), "verified": _proof(verified, root)})
    session.note(sentence(verified))
    if verified.age > STALE:
        session.note(f"note: the last header is {verified.age // 1000} s old; an idle chain makes none, "
                     "and a node may hold newer ones back")  # fmt: skip


def _load(path: Path) -> LightAnswer:
    try:
        with path.open("rb") as file:
            return answer_codec.decode(file.read(MAX_ANSWER + 1))
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be read: {error.strerror}") from None


def sentence(verified: Verified) -> str:
    """Return in one line what was verified."""
    share = 100 * verified.power / verified.total_power
    return (
        f"verified: {verified.signatures} signatures of {verified.validators} validators with {share:.1f}% of the "
        f"power over block {verified.header.height}, {verified.age / 1000:.1f} s old, {verified.steps} headers from "
        f"the root of trust on; this is the state after block {verified.height}"
    )


def _proof(verified: Verified, root: Root) -> dict[str, Any]:
    return {
        "height": str(verified.height), "block_id": verified.header.block_id.hex(),
        "chain_id": verified.header.chain_id.hex(), "signatures": verified.signatures,
        "validators": verified.validators, "power": str(verified.power), "total_power": str(verified.total_power),
        "age_ms": str(verified.age), "steps": verified.steps,
        "trusted": "genesis" if isinstance(root, GenesisRoot) else f"block {root.height}",
    }  # fmt: skip


def _both(name: str) -> Callable[[Callable[..., Asking]], Callable[..., Asking]]:
    """Register a question under `query` and `verify`."""

    def register(function: Callable[..., Asking]) -> Callable[..., Asking]:
        command(query, name, _ROOT, _run)(function)
        command(verify, name, {key: value for key, value in _ROOT.items() if key != "save"}, _run_recorded)(function)
        return function

    return register


def _run_recorded(
    ask: Callable[..., Asking], session: Session, shared: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    _run(ask, session, {**shared, "save": None}, values)


@_both("balance")
def balance(session: Session, address: Who, asset: AssetName = "nxs") -> Asking:
    """What an account holds."""
    store = Keystore(session.home / "keys")
    owner = address_named(store, address)
    held = asset_of(asset, owner)

    def reading(verified: Verified) -> dict[str, Any]:
        (value,) = verified.values
        amount = 0 if value is None else decode_amount(value)
        return {"address": encode_address(owner), **_amount(held, amount)}

    return Question((balance_key(owner, held),)), reading


def _amount(asset: AssetId, amount: int) -> dict[str, Any]:
    shown = {"balance": format_amount(amount)} if asset == NATIVE else {}
    return {**shown, "asset": asset_text(asset), "amount": str(amount)}


@_both("account")
def account(session: Session, address: Who) -> Asking:
    """Nonce, key and native balance."""
    owner = address_named(Keystore(session.home / "keys"), address)

    def reading(verified: Verified) -> dict[str, Any]:
        nonce, key, held = verified.values
        return {
            "address": encode_address(owner), "nonce": "0" if nonce is None else str(decode_amount(nonce)),
            "key_address": "" if key is None else encode_address(address_of(key)),
            **_amount(NATIVE, 0 if held is None else decode_amount(held)),
        }  # fmt: skip

    return Question((nonce_key(owner), public_key_key(owner), balance_key(owner, NATIVE))), reading


@_both("coin")
def coin(session: Session, place: Annotated[str, typer.Argument(metavar="TXID:INDEX")]) -> Asking:
    """An unspent output, or that there is none."""
    outpoint = parse_outpoint(place)

    def reading(verified: Verified) -> dict[str, Any]:
        (value,) = verified.values
        found = None if value is None else output_view(outpoint, decode_output(value))
        return {"output": place, "exists": found is not None, **({} if found is None else {"coin": found})}

    return Question((output_key(outpoint.txid, outpoint.index),)), reading


@_both("allowance")
def allowance(session: Session, owner: Who, spender: Who, asset: AssetName = "nxs") -> Asking:
    """What a spender may still take from an owner."""
    store = Keystore(session.home / "keys")
    giver, taker = address_named(store, owner), address_named(store, spender)
    held = asset_of(asset, giver)

    def reading(verified: Verified) -> dict[str, Any]:
        (value,) = verified.values
        amount = 0 if value is None else decode_amount(value)
        return {"owner": encode_address(giver), "spender": encode_address(taker), **_amount(held, amount)}

    return Question((allowance_key(giver, taker, held),)), reading


@_both("asset")
def asset(session: Session, asset: Annotated[str, typer.Argument(help="nxs, SYMBOL@ISSUER, or an id.")]) -> Asking:
    """How an asset was issued, and its supply."""
    identity = asset_of(asset, None)

    def reading(verified: Verified) -> dict[str, Any]:
        description, supply = verified.values
        return {
            "asset": asset_text(identity), "exists": identity == NATIVE or description is not None,
            "supply": "0" if supply is None else str(decode_amount(supply)),
            **({} if description is None else readable(decode_asset(description))),
        }  # fmt: skip

    return Question((asset_key(identity), supply_key(identity))), reading


@_both("receipt")
def receipt(session: Session, txid: Annotated[str, typer.Argument(help="64 hexadecimal digits.")]) -> Asking:
    """How a transaction ended."""

    def reading(verified: Verified) -> dict[str, Any]:
        if verified.receipt is None:
            raise Refused(Reason.BAD_PROOF, "the answer holds no receipt")
        return {"receipt": receipt_view(verified.receipt)}

    return Question(txid=TxId(hash_from(txid))), reading


@_both("status")
def status(session: Session) -> Asking:
    """The last header alone, verified."""
    return Question(), lambda verified: {
        "height": str(verified.header.height), "time": str(verified.header.time),
        "state_root": verified.header.state_root.hex(), "validators_hash": verified.header.validators_hash.hex(),
    }  # fmt: skip


command(app, "status", _ROOT, _run)(status)
