"""Pay and be paid in hidden coins, whose amounts only the parties can read."""

import secrets
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from apps.confidential.messages import Publish
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.amounts import format_amount
from node.api.methods import QueryModule
from node.cli.accounts import coins_of, shown_amount
from node.cli.passwords import PasswordFile, read_password
from node.cli.sending import Plan, Sending, transaction
from node.cli.session import Session, command
from node.cli.viewing import Owner, Wallet, chain_of, foreign_wallet, own_keys, own_wallet
from node.client import Client
from node.hidden.index import Entry, Sum, WalletIndex
from node.hidden.invoice import Invoice, decode_invoice, encode_invoice, is_invoice
from node.hidden.paying import Payment, Purse, Spendable, clear_coin, draft_hidden
from node.hidden.reading import scan as scan_chain
from node.hidden.viewing import Direction, encode_view_key
from node.keystore import Keystore
from node.wallet import Account, ChainPoint, Draft, Progress, message
from state.transaction import Message
from state.types import NATIVE, Amount, AssetId

app = typer.Typer(no_args_is_help=True)

_DIRECTIONS: Final = {"incoming": Direction.INCOMING, "outgoing": Direction.OUTGOING}
View = Annotated[Path | None, typer.Option(help="File with a view key, instead of a key of one's own.")]
Text = Annotated[str, typer.Option(help="Goes into the note: at most 64 bytes, for the receiver's eyes alone.")]


@transaction(app)
def send(
    sending: Sending,
    to: Annotated[str, typer.Argument(help="nx1..., the name of a stored key, or an invoice.")],
    amount: Annotated[str, typer.Argument(help="1.5nxs, 25gold@ISSUER; an invoice may name it.")] = "",
    text: Text = "",
    from_clear: Annotated[bool, typer.Option("--from-clear", help="Spend coins in clear, from `tx deposit`.")] = False,
    to_clear: Annotated[bool, typer.Option("--to-clear", help="The receiver gets a coin in clear.")] = False,
) -> Plan:
    """Pay with hidden coins; what is left over comes back as another hidden coin."""
    keys = own_keys(sending.session, sending.entry, sending.password)
    payment = _payment(sending, to, amount, text, hidden=not to_clear)
    if from_clear:
        coins = [clear_coin(one.outpoint, one.coin) for one in coins_of(sending.client, sending.sender)]
    else:
        wallet = own_wallet(sending.session, sending.client, sending.entry, keys)
        index = _scanned(wallet, sending.client)
        coins = [Spendable(one.outpoint, one.asset, one.opening, one.commitment) for one in index.unspent()]

    def plan(
        point: ChainPoint, account: Account, fee: int | None, sponsor: Account | None, progress: Progress
    ) -> Draft:
        purse = Purse(account, keys, coins)
        return draft_hidden(
            point, purse, [payment], secrets.token_bytes, fee=fee, sponsor=sponsor, progress=progress
        )

    return plan


def _payment(sending: Sending, to: str, amount: str, text: str, *, hidden: bool) -> Payment:
    """Return whom to pay what.

    Raises:
        Refused: WRONG_CHAIN, BAD_ARGUMENT or BAD_KEY for an invoice; NOT_AVAILABLE without a receiving key; USAGE.
    """
    if is_invoice(to):
        invoice = decode_invoice(to)
        if invoice.chain_id != chain_of(sending.client):
            raise Refused(Reason.WRONG_CHAIN, "the invoice is for another chain")
        asset, units = (invoice.asset, invoice.amount) if not amount else sending.amount(amount)
        if asset != invoice.asset or invoice.amount not in (0, units):
            raise Refused(Reason.BAD_ARGUMENT, "the invoice asks for another amount")
        if not units:
            raise Refused(Reason.BAD_ARGUMENT, "the invoice leaves the amount to you: give one")
        return Payment(invoice.owner, asset, units, invoice.receiving if hidden else b"", text or invoice.text)
    if not amount:
        raise Refused(Reason.USAGE, "how much? Only an invoice names its amount")
    owner = sending.address(to)
    asset, units = sending.amount(amount)
    if not hidden:
        return Payment(owner, asset, units)
    if owner == sending.sender:
        return Payment(owner, asset, units, own_keys(sending.session, sending.entry, sending.password).receiving, text)
    parameters = {"address": encode_address(owner)}
    found = sending.client.ask(QueryModule(name="confidential/key", parameters=parameters)).value
    if not found["public_key"]:
        raise Refused(
            Reason.NOT_AVAILABLE, "the receiver has not published a receiving key: ask for an invoice "
            "(nexus wallet invoice), or for the key (nexus wallet receive)",
        )
    return Payment(owner, asset, units, bytes.fromhex(found["public_key"]), text)


@transaction(app)
def receive(sending: Sending) -> list[Message]:
    """Publish the account's receiving key, so that whoever knows its address can pay it in hidden coins."""
    keys = own_keys(sending.session, sending.entry, sending.password)
    return [message("confidential/publish", Publish(keys.receiving))]


@command(app)
def invoice(
    session: Session, sender: Owner,
    amount: Annotated[str, typer.Argument(help="What to ask for; by default the payer chooses an amount of nxs.")] = "",
    text: Text = "", password_file: PasswordFile = None,
) -> None:
    """Ask for a payment: text to hand over, which works without a published receiving key."""
    entry = Keystore(session.home / "keys").entry(sender)
    keys = own_keys(session, entry, lambda: read_password(password_file, f"key {sender}"))
    with Client(session.url) as client:
        asset, units = (NATIVE, Amount(0)) if not amount else Sending(session, client, entry, str).amount(amount)
        asked = Invoice(chain_of(client), entry.address, keys.receiving, asset, units, text)
    session.show({"invoice": encode_invoice(asked)})


@command(app)
def balance(session: Session, sender: Owner = "", view: View = None, password_file: PasswordFile = None) -> None:
    """Show what the account's hidden coins hold."""
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, view, password_file)
        if not wallet.viewer.sees_incoming:
            raise Refused(Reason.BAD_KEY, "an outgoing view key shows payments, not what an account has: see history")
        index = _scanned(wallet, client)
        session.show({
            "address": encode_address(wallet.viewer.owner), "height": str(index.height),
            "hidden": [
                {"asset": asset.hex() or "unxs", "amount": shown_amount(client, asset, amount),
                 "coins": len(index.unspent(asset))}
                for asset, amount in index.balances().items()
            ],
        })  # fmt: skip


@command(app)
def history(session: Session, sender: Owner = "", view: View = None, password_file: PasswordFile = None) -> None:
    """Show what moved in hidden coins, oldest first."""
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, view, password_file)
        entries = _scanned(wallet, client).history()
        session.show([_shown(client, entry) for entry in entries])


def _shown(client: Client, entry: Entry) -> dict[str, Any]:
    net: dict[AssetId, int] = {}
    for sums, sign in ((entry.received, 1), (entry.spent, -1)):
        for one in sums:
            net[one.asset] = net.get(one.asset, 0) + sign * one.amount
    change = ", ".join(
        ("-" if amount < 0 else "+") + shown_amount(client, asset, abs(amount)) for asset, amount in net.items()
    )
    return {
        "height": str(entry.height), "txid": entry.txid.hex(), "change": change,
        "paid": ", ".join(_paid(client, one) for one in entry.paid), "fee": format_amount(entry.fee),
        "text": "; ".join(entry.texts),
    }  # fmt: skip


def _paid(client: Client, one: Sum) -> str:
    return f"{shown_amount(client, one.asset, one.amount)} to {encode_address(one.to)}"


@command(app)
def scan(
    session: Session, sender: Owner = "", view: View = None, password_file: PasswordFile = None,
    again: Annotated[bool, typer.Option("--again", help="Begin at the first block again.")] = False,
) -> None:
    """Look for own coins in new blocks. Every other command that needs it does so too."""
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, view, password_file)
        if again:
            wallet.document.replace(b"")
        index = wallet.load()
        found = scan_chain(client, wallet.viewer.owner, index)
        wallet.save(index)
        session.show({"height": str(index.height), "transactions": found, "coins": len(index.unspent())})


@command(app)
def viewkey(
    session: Session, sender: Owner,
    direction: Annotated[str, typer.Argument(help="incoming: what the account gets; outgoing: what it sends.")],
    password_file: PasswordFile = None,
) -> None:
    """Print a key that shows amounts, past and future. It spends nothing, and cannot be taken back."""
    if direction not in _DIRECTIONS:
        raise Refused(Reason.USAGE, f"{direction!r} is neither incoming nor outgoing")
    entry = Keystore(session.home / "keys").entry(sender)
    keys = own_keys(session, entry, lambda: read_password(password_file, f"key {sender}"))
    with Client(session.url) as client:
        key = encode_view_key(keys, _DIRECTIONS[direction], chain_of(client), entry.address)
    session.show({"viewkey": key})


def _wallet(session: Session, client: Client, sender: str, view: Path | None, password_file: Path | None) -> Wallet:
    if view is not None:
        return foreign_wallet(session, client, view)
    if not sender:
        raise Refused(Reason.USAGE, "whose? Give --from NAME or --view FILE")
    entry = Keystore(session.home / "keys").entry(sender)
    keys = own_keys(session, entry, lambda: read_password(password_file, f"key {sender}"))
    return own_wallet(session, client, entry, keys)


def _scanned(wallet: Wallet, client: Client) -> WalletIndex:
    index = wallet.load()
    scan_chain(client, wallet.viewer.owner, index)
    wallet.save(index)
    return index
