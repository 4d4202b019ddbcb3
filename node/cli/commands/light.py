"""Ask nodes that are not trusted, and verify their answers here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consensus.signing import SchemeVerifier
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from node.amounts import asset_of, format_amount, parse_outpoint
from node.api import methods, shapes
from node.api.text import LATEST
from node.cli.accounts import address_named
from node.cli.running import run, serve_until_told
from node.cli.session import Session, command, option, plain
from node.cli.trust import FOLDER, TRUST_OPTIONS, clock, opened, root_of
from node.home import write_file
from node.keystore import Keystore
from node.light.answer import (
    MAX_ANSWER,
    LightAnswer,
    RememberingVerifier,
    Verified,
    answer_codec,
    share_signed,
    verify_answer,
)
from node.light.answering import ProvenAnswers, recorded_outcome
from node.light.listing import MOST
from node.light.proving import Outcome
from node.light.proxy import DEFAULT_PORT, serve_light
from node.light.roots import HeaderRoot, Root, age_warning
from node.light.store import FolderBlocks, open_store
from state.encoding import encode
from state.genesis import decode_genesis
from state.records import asset_text
from state.types import NATIVE, Address

app = typer.Typer(no_args_is_help=True)
query = typer.Typer(no_args_is_help=True)
verify = typer.Typer(no_args_is_help=True)
app.add_typer(query, name="query", help="Ask a node and verify its answer.")
app.add_typer(verify, name="verify", help="Verify an answer that was recorded with --export.")

STALE: Final = 60_000
"""ms. An older last header is worth a remark: the node may hold newer ones back."""
Who = Annotated[str, typer.Argument(metavar="ADDRESS", help="nx1... or the name of a stored key.")]
AssetName = Annotated[str, typer.Option("--asset", help="nxs, SYMBOL@ISSUER, or an id.")]
Txid = Annotated[str, typer.Argument(help="64 hexadecimal digits.")]
AtHeight = Annotated[str, typer.Option("--height", help="After this block, if the node still proves it.")]

_QUERY: Final = TRUST_OPTIONS | {
    "export": option("export", Annotated[Path | None, typer.Option(
        help="Write the answer with all that proves it to a file.")], None),
}  # fmt: skip
_OF_A_BLOCK: Final = (methods.GetBlock, methods.GetHeader, methods.GetCommit)
"""Questions whose answer is a block, not the state after the one before it."""
_NO_FILE: Final = option("export", Annotated[Path | None, typer.Option(hidden=True)], None)


# ---- following a chain


@dataclass(frozen=True, slots=True)
class _Serving:
    port: int
    every: float


def _serve(
    function: Callable[..., _Serving], session: Session, shared: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    serving = function(session, **values)

    async def serve() -> None:
        async with opened(session, shared, keep=True) as answers:
            await serve_light(answers, serving.port, serving.every)

    serve_until_told(serve)


@command(app, "start", TRUST_OPTIONS, _serve)
def start(
    session: Session,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on ::1.")] = DEFAULT_PORT,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks for a new header.")] = 5.0,
) -> _Serving:
    """Follow the chain, keep what is verified in HOME/light, and serve the API on ::1 with verified answers."""
    return _Serving(port, every)


@command(app, "status")
def status(session: Session) -> None:
    """Show what the light client of this home trusts, how old it is, and when it expires. Asks nobody."""
    store = open_store(session.home / FOLDER)
    if store is None or not store.blocks():
        raise Refused(
            Reason.HOME_MISSING, f"{session.home / FOLDER} holds no trusted headers; begin with: nexus light start "
            "--trust-height HEIGHT --trust-hash HASH",
        )
    session.show(_store_view(store))
    warning = age_warning(tuple(store.blocks().values())[-1], clock(), store.trust.params)
    if warning:
        session.note(f"warning: {warning}")


def _store_view(store: FolderBlocks) -> dict[str, Any]:
    blocks = tuple(store.blocks().values())
    newest, now = blocks[-1], clock()
    expires = newest.header.time + store.trust.trust_period
    return {
        "chain_id": store.trust.chain_id.hex(), "name": decode_genesis(store.genesis).name,
        "height": str(newest.height), "block_id": newest.header.block_id.hex(), "time": str(newest.header.time),
        "age_ms": str(now - newest.header.time), "trust_period_ms": str(store.trust.trust_period),
        "expires_in_ms": str(max(0, expires - now)), "expired": expires <= now,
        "validators": len(newest.validators), "kept": len(blocks), "oldest": str(blocks[0].height),
        "warning": age_warning(newest, now, store.trust.params),
    }  # fmt: skip


# ---- questions


@verify.callback()
def recorded(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="A recorded answer.")]) -> None:
    """Take the answer from a file instead of a node."""
    session: Session = ctx.find_root().obj
    ctx.find_root().obj = Session(session.home, session.node, session.output, file)


def _query(
    function: Callable[..., methods.Ask[Any]], session: Session, shared: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    ask = function(session, **values)

    async def answer() -> None:
        try:
            async with opened(session, shared, keep=False) as answers:
                await _answer(session, shared, answers, ask)
        except Refused as refused:
            if refused.reason is not Reason.UNREACHABLE:
                raise
            raise Refused(
                Reason.UNREACHABLE, f"no node answers at {session.url}: start it, or name another one with --node URL"
            ) from None

    run(answer)


async def _answer(
    session: Session, shared: Mapping[str, Any], answers: ProvenAnswers, ask: methods.Ask[Any]
) -> None:
    answered = await answers.answer(ask)
    first = answers.client.oldest.header
    root = HeaderRoot(first.height, first.block_id, answers.client.params.trust_period)
    if shared["export"] is not None:
        recording = await answers.record(answered)
        verify_answer(root, recording, clock(), answers.client.around.verifier)
        write_file(shared["export"], encode(recording))
    if not shared["witness"]:
        session.note("note: no --witness is named, so nobody could contradict the node")
    _show(session, ask, answered.outcome, answers.summary(answered), root)


def _query_recorded(
    function: Callable[..., methods.Ask[Any]], session: Session, shared: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    ask = function(session, **values)
    answer = _load(session.recorded or Path())
    root = root_of(session, shared) or _own_root(session, answer)
    verified = verify_answer(root, answer, clock(), RememberingVerifier(SchemeVerifier()))
    _show(session, ask, recorded_outcome(ask, verified, decode_genesis(answer.genesis)), verified, root)


def _own_root(session: Session, answer: LightAnswer) -> Root:
    """Return the trusted block of this home that the answer begins with. Raises Refused(UNTRUSTED)."""
    store = open_store(session.home / FOLDER)
    first = answer.blocks[0].header
    known = None if store is None else store.blocks().get(first.height)
    if store is None or known is None:
        raise Refused(
            Reason.UNTRUSTED, f"the answer begins with block {first.height}, which this home does not know: if you "
            f"trust it, say so with --trust-height {first.height} and --trust-hash",
        )
    return HeaderRoot(known.height, known.header.block_id, store.trust.trust_period)


def _load(path: Path) -> LightAnswer:
    try:
        with path.open("rb") as file:
            return answer_codec.decode(file.read(MAX_ANSWER + 1))
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be read: {error.strerror}") from None


def _show(session: Session, ask: methods.Ask[Any], outcome: Outcome, verified: Verified, root: Root) -> None:
    of_state = not isinstance(ask, _OF_A_BLOCK)
    session.show({**_readable(ask, outcome), "verified": _proof(verified, root, of_state)})
    session.note(sentence(verified, of_state))
    if verified.age > STALE:
        session.note(f"note: the last header is {verified.age // 1000} s old; an idle chain makes none, "
                     "and a node may hold newer ones back")  # fmt: skip


def _readable(ask: methods.Ask[Any], outcome: Outcome) -> dict[str, Any]:
    """Return an answer for people; a proven absence says so."""
    if outcome.refused is not None:
        return {"exists": False, "reason": outcome.refused.reason.value, "detail": outcome.refused.detail}
    view = outcome.value.receipt if isinstance(outcome.value, shapes.ReceiptAnswer) else outcome.value
    shown: dict[str, Any] = {"receipt": plain(view)} if isinstance(view, shapes.ReceiptView) else plain(view)
    match ask, view:
        case methods.GetOutput(), _:
            return {"exists": True, **shown}
        case methods.GetBlock(), shapes.BlockView(commit=commit) if commit is not None:
            shown["commit"] = {"round": commit.round, "signatures": len(commit.signatures)}
            return shown
        case methods.GetBalance(asset=asset), shapes.BalanceView(amount=amount) if asset == asset_text(NATIVE):
            return {"balance": format_amount(amount), **shown}
        case methods.GetAccount(), shapes.AccountView(public_key=key):
            del shown["pending_nonce"]  # what waits in a mempool is nothing that the chain proves
            return {**shown, "key_address": encode_address(address_of(key)) if key else ""}
    return shown


def sentence(verified: Verified, of_state: bool = True) -> str:
    """Return in one line what was verified: a state, or the block itself."""
    signed = verified.signed
    power, total = share_signed(signed)
    height = verified.header.height
    what = f"the state after block {height - 1}" if of_state else f"block {height}"
    return (
        f"verified: {len(signed.commit.signatures)} signatures of {len(signed.validators)} validators with "
        f"{100 * power / total:.1f}% of the power over block {signed.height}, {verified.age / 1000:.1f} s old, "
        f"{verified.steps} headers after the trusted one; this is {what}"
    )


def _proof(verified: Verified, root: Root, of_state: bool) -> dict[str, Any]:
    signed = verified.signed
    power, total = share_signed(signed)
    return {
        "height": str(verified.header.height - of_state), "block_id": verified.header.block_id.hex(),
        "chain_id": verified.header.chain_id.hex(), "signed_height": str(signed.height),
        "signatures": len(signed.commit.signatures), "validators": len(signed.validators), "power": str(power),
        "total_power": str(total), "age_ms": str(verified.age), "steps": verified.steps, "trusted": str(root),
    }  # fmt: skip


def _both(name: str) -> Callable[[Callable[..., methods.Ask[Any]]], Callable[..., methods.Ask[Any]]]:
    """Register a question under `query` and `verify`."""

    def register(function: Callable[..., methods.Ask[Any]]) -> Callable[..., methods.Ask[Any]]:
        command(query, name, _QUERY, _query)(function)
        command(verify, name, TRUST_OPTIONS, _query_recorded)(function)
        return function

    return register


def _live(name: str) -> Callable[[Callable[..., methods.Ask[Any]]], Callable[..., methods.Ask[Any]]]:
    """Register a question under `query` alone: its answer has no form for a file."""
    return command(query, name, TRUST_OPTIONS | {"export": _NO_FILE}, _query)


def _who(session: Session, text: str) -> str:
    return encode_address(address_named(Keystore(session.home / "keys"), text))


def _asset(session: Session, name: str, issuer: str) -> str:
    owner = Address(address_named(Keystore(session.home / "keys"), issuer)) if issuer else None
    return asset_text(asset_of(name, owner))


@_both("balance")
def balance(session: Session, address: Who, asset: AssetName = "nxs", height: AtHeight = LATEST) -> methods.Ask[Any]:
    """What an account holds."""
    return methods.GetBalance(address=_who(session, address), asset=_asset(session, asset, address), height=height)


@_both("account")
def account(session: Session, address: Who) -> methods.Ask[Any]:
    """Nonce, key and native balance."""
    return methods.GetAccount(address=_who(session, address))


@_both("coin")
def coin(session: Session, place: Annotated[str, typer.Argument(metavar="TXID:INDEX")]) -> methods.Ask[Any]:
    """An unspent output (Coin, Memo or State), or that there is none."""
    outpoint = parse_outpoint(place)
    return methods.GetOutput(txid=outpoint.txid.hex(), index=outpoint.index)


@_both("allowance")
def allowance(
    session: Session, owner: Who, spender: Who, asset: AssetName = "nxs", height: AtHeight = LATEST
) -> methods.Ask[Any]:
    """What a spender may still take from an owner."""
    return methods.GetAllowance(
        owner=_who(session, owner), spender=_who(session, spender), asset=_asset(session, asset, owner), height=height
    )


@_both("locks")
def locks(session: Session, address: Who) -> methods.Ask[Any]:
    """All locks of an account."""
    return methods.GetLocks(address=_who(session, address))


@_both("asset")
def asset(
    session: Session, asset: Annotated[str, typer.Argument(help="nxs, SYMBOL@ISSUER, or an id.")]
) -> methods.Ask[Any]:
    """How an asset was issued, and its supply."""
    return methods.GetAsset(asset=_asset(session, asset, ""))


@_both("validators")
def validators(
    session: Session, height: Annotated[str, typer.Argument(help="Height of a vote, or latest.")] = LATEST
) -> methods.Ask[Any]:
    """Who votes on a height; without one, on the next."""
    return methods.GetValidators(height=height)


@_both("validator")
def validator(
    session: Session, operator: Annotated[str, typer.Argument(metavar="OPERATOR", help="nx1... or a key's name.")]
) -> methods.Ask[Any]:
    """One validator: stake, power, commission, whether it is jailed."""
    return methods.QueryModule(name="staking/validator", parameters={"operator": _who(session, operator)})


@_both("delegation")
def delegation(session: Session, delegator: Who, operator: Who) -> methods.Ask[Any]:
    """What an account has bonded with an operator, and what it earned."""
    who = {"delegator": _who(session, delegator), "operator": _who(session, operator)}
    return methods.QueryModule(name="staking/delegation", parameters=who)


@_both("params")
def params(session: Session) -> methods.Ask[Any]:
    """The chain's parameters."""
    return methods.GetParams()


@_both("module")
def module(
    session: Session, name: Annotated[str, typer.Argument(help="Such as token/supply.")],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    height: AtHeight = LATEST,
) -> methods.Ask[Any]:
    """Any query of an on-chain module, by its name."""
    pairs = [text.partition("=") for text in parameters or []]
    if any(not equals for _, equals, _ in pairs):
        raise Refused(Reason.USAGE, "parameters are written KEY=VALUE")
    return methods.QueryModule(name=name, parameters={key: value for key, _, value in pairs}, height=height)


@_both("receipt")
def receipt(session: Session, txid: Txid) -> methods.Ask[Any]:
    """How a transaction ended."""
    return methods.GetReceipt(txid=txid)


@_both("header")
def header(
    session: Session, height: Annotated[str, typer.Argument(help="Height, or latest.")] = LATEST
) -> methods.Ask[Any]:
    """A block header."""
    return methods.GetHeader(height=height)


@_live("block")
def block(
    session: Session, height: Annotated[str, typer.Argument(help="Height, or latest.")] = LATEST
) -> methods.Ask[Any]:
    """A block: its header and commit, and that these are all its transactions."""
    return methods.GetBlock(height=height)


@_live("outputs")
def outputs(
    session: Session, address: Who, limit: Annotated[int, typer.Option(min=1, max=MOST)] = 100,
    after: Annotated[str, typer.Option(help="`next` of the list before.")] = "",
    kind: Annotated[shapes.OutputFilter, typer.Option(help="Of this kind alone.")] = "any",
) -> methods.Ask[Any]:
    """Unspent outputs of an owner, each proven; a node may still hold some back (complete: no)."""
    return methods.GetOutputs(address=_who(session, address), kind=kind, limit=limit, after=after)


@_live("history")
def history(
    session: Session, address: Who, limit: Annotated[int, typer.Option(min=1, max=MOST)] = 20,
    before: Annotated[str, typer.Option(help="`next` of the list before.")] = "",
) -> methods.Ask[Any]:
    """Transactions of an address, newest first, each proven; a node may still hold some back (complete: no)."""
    return methods.GetTransactionsOf(address=_who(session, address), limit=limit, before=before)


@_live("state-history")
def state_history(
    session: Session, place: Annotated[str, typer.Argument(metavar="TXID:INDEX")],
    limit: Annotated[int, typer.Option(min=1, max=methods.MAX_VERSIONS)] = methods.MAX_VERSIONS,
    first: Annotated[int, typer.Option(min=0, help="The lowest nonce wanted: `next` of the list before.")] = 0,
) -> methods.Ask[Any]:
    """All versions of the contract that a State belongs to, each proven, and that none is missing."""
    outpoint = parse_outpoint(place)
    return methods.GetStateHistory(txid=outpoint.txid.hex(), index=outpoint.index, first=str(first), limit=limit)
