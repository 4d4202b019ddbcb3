"""Ask a node, and believe it. To check what it says, see `nexus light`."""

from typing import Annotated, Any

import msgspec
import typer

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.amounts import asset_of, parse_outpoint
from node.api import methods, shapes
from node.api.text import LATEST, asset_from
from node.cli import proving
from node.cli.accounts import address_named, shown_amount
from node.cli.session import Session, command
from node.cli.staking import slashing_query, staking_query
from node.client import Client
from node.keystore import Keystore
from state.records import asset_text
from state.types import Address

app = typer.Typer(no_args_is_help=True)
app.add_typer(staking_query, name="staking", help="Stake: validators, delegations, rewards.")
app.add_typer(slashing_query, name="slashing", help="Jail, tombstones and missed commits.")
command(app)(proving.proofs)

Who = Annotated[str, typer.Argument(metavar="ADDRESS", help="nx1... or the name of a stored key.")]
AssetName = Annotated[str, typer.Option("--asset", help="nxs, SYMBOL@ISSUER, or an id.")]
Height = Annotated[str, typer.Argument(help="Height, or latest.")]
AtHeight = Annotated[str, typer.Option("--height", help="After this block, if the node still knows.")]
Txid = Annotated[str, typer.Argument(help="64 hexadecimal digits.")]


def _ask(session: Session, ask: methods.Ask[Any]) -> None:
    with Client(session.url) as client:
        session.show(client.ask(ask))


def _who(session: Session, text: str) -> str:
    return encode_address(address_named(Keystore(session.home / "keys"), text))


def _asset(session: Session, name: str, issuer: str = "") -> str:
    owner = Address(address_named(Keystore(session.home / "keys"), issuer)) if issuer else None
    return asset_text(asset_of(name, owner))


@command(app)
def balance(session: Session, address: Who, asset: AssetName = "nxs", height: AtHeight = LATEST) -> None:
    """Show what an account holds of an asset, without its locks and coins."""
    with Client(session.url) as client:
        view = client.ask(methods.GetBalance(
            address=_who(session, address), asset=_asset(session, asset, address), height=height
        ))
        shown = shown_amount(client, asset_from(view.asset), view.amount)
    session.show({
        "address": view.address, "balance": shown, "asset": view.asset, "amount": str(int(view.amount)),
        "frozen": view.frozen, "height": str(int(view.height)),
    })  # fmt: skip


@command(app)
def account(session: Session, address: Who) -> None:
    """Show an account's nonce, key and native balance."""
    _ask(session, methods.GetAccount(address=_who(session, address)))


@command(app)
def coin(session: Session, place: Annotated[str, typer.Argument(metavar="TXID:INDEX")]) -> None:
    """Show one unspent output."""
    outpoint = parse_outpoint(place)
    _ask(session, methods.GetOutput(txid=outpoint.txid.hex(), index=outpoint.index))


@command(app, "state-history")
def state_history(session: Session, place: Annotated[str, typer.Argument(metavar="TXID:INDEX")]) -> None:
    """List all versions of the contract that a State belongs to, by nonce."""
    outpoint = parse_outpoint(place)
    with Client(session.url) as client:
        question = methods.GetStateHistory(txid=outpoint.txid.hex(), index=outpoint.index)
        page = client.ask(question)
        versions, complete = page.versions, page.complete
        while page.next is not None:
            page = client.ask(msgspec.structs.replace(question, first=str(int(page.next))))
            versions, complete = versions + page.versions, complete and page.complete
    session.show({
        "versions": [
            {
                "nonce": str(int(one.nonce)), "outpoint": f"{one.txid}:{one.index}",
                "height": None if one.height is None else str(int(one.height)),
                "state": "unspent" if one.unspent else "spent",
                "variables": "pruned" if one.variables is None else " ".join(one.variables) or "none",
            }
            for one in versions
        ],
        "ended": None if page.ended is None else {"txid": page.ended.txid, "height": str(int(page.ended.height))},
        "complete": complete,
    })  # fmt: skip


@command(app)
def outputs(
    session: Session, address: Who,
    limit: Annotated[int, typer.Option(min=1, max=methods.MAX_LISTED)] = 100,
    after: Annotated[str, typer.Option(help="`next` of the list before.")] = "",
    kind: Annotated[shapes.OutputFilter, typer.Option(help="Of this kind alone.")] = "any",
) -> None:
    """List an owner's unspent outputs."""
    _ask(session, methods.GetOutputs(address=_who(session, address), kind=kind, limit=limit, after=after))


@command(app)
def history(
    session: Session, address: Who,
    limit: Annotated[int, typer.Option(min=1, max=methods.MAX_LISTED)] = 100,
    before: Annotated[str, typer.Option(help="`next` of the list before.")] = "",
) -> None:
    """List transactions that touched an address, the newest first."""
    _ask(session, methods.GetTransactionsOf(address=_who(session, address), limit=limit, before=before))


@command(app)
def locks(session: Session, address: Who) -> None:
    """List an account's locks."""
    _ask(session, methods.GetLocks(address=_who(session, address)))


@command(app)
def allowance(session: Session, owner: Who, spender: Who, asset: AssetName = "nxs") -> None:
    """Show what a spender may still take from an owner."""
    _ask(session, methods.GetAllowance(
        owner=_who(session, owner), spender=_who(session, spender), asset=_asset(session, asset, owner)
    ))


@command(app)
def asset(session: Session, asset: Annotated[str, typer.Argument(help="nxs, SYMBOL@ISSUER, or an id.")]) -> None:
    """Show how an asset was issued, and its supply."""
    _ask(session, methods.GetAsset(asset=_asset(session, asset)))


@command(app)
def block(session: Session, height: Height = LATEST) -> None:
    """Show a block without the bodies of its transactions."""
    _ask(session, methods.GetBlock(height=height))


@command(app)
def header(session: Session, height: Height = LATEST) -> None:
    """Show a block header."""
    _ask(session, methods.GetHeader(height=height))


@command(app)
def commit(session: Session, height: Height = LATEST) -> None:
    """Show the commit for a height."""
    _ask(session, methods.GetCommit(height=height))


@command(app)
def tx(session: Session, txid: Txid) -> None:
    """Show a transaction, committed or waiting."""
    _ask(session, methods.GetTransaction(txid=txid))


@command(app, "tx-status")
def tx_status(session: Session, txid: Txid) -> None:
    """Show whether a transaction waits, is in a block, or is not known."""
    _ask(session, methods.GetTransactionStatus(txid=txid))


@command(app)
def receipt(session: Session, txid: Txid) -> None:
    """Show how a transaction ended."""
    with Client(session.url) as client:
        session.show(client.ask(methods.GetReceipt(txid=txid)).receipt)


@command(app)
def validators(session: Session, height: Height = LATEST) -> None:
    """List the validators of a height."""
    with Client(session.url) as client:
        view = client.ask(methods.GetValidators(height=height))
    session.show([
        {"address": one.address, "power": str(int(one.power)), "operator": one.operator} for one in view.validators
    ])


@command(app)
def params(session: Session) -> None:
    """Show the chain's parameters."""
    _ask(session, methods.GetParams())


@command(app)
def upgrade(session: Session) -> None:
    """Show the protocol version in force, the one that is scheduled, and who approves what."""
    with Client(session.url) as client:
        session.show(client.ask(methods.QueryModule(name="chain/upgrade")).value)


@command(app)
def genesis(session: Session) -> None:
    """Show the genesis document."""
    with Client(session.url) as client:
        session.show(client.ask(methods.GetGenesis()).document)


@command(app)
def mempool(session: Session, limit: Annotated[int, typer.Option(min=1, max=methods.MAX_LISTED)] = 20) -> None:
    """Show what waits for a block."""
    _ask(session, methods.GetMempool(limit=limit))


@command(app)
def peers(session: Session) -> None:
    """List the node's live connections."""
    with Client(session.url) as client:
        session.show(client.ask(methods.GetPeers()).peers)


@command(app)
def module(
    session: Session,
    name: Annotated[str, typer.Argument(help="Such as token/supply.")],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    height: AtHeight = LATEST,
) -> None:
    """Ask an on-chain module by the name of its query."""
    pairs = [text.partition("=") for text in parameters or []]
    if any(not equals for _, equals, _ in pairs):
        raise Refused(Reason.USAGE, "parameters are written KEY=VALUE")
    asked = {key: value for key, _, value in pairs}
    with Client(session.url) as client:
        session.show(client.ask(methods.QueryModule(name=name, parameters=asked, height=height)).value)
