"""EXPERIMENTAL, classical: pay out of one of nine accounts, or of eleven coins, without telling which."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from apps.anonymous.messages import Close, Open
from apps.anonymous.records import account_id
from crypto.accounts import Closing
from crypto.errors import Reason, Refused
from crypto.ristretto import UNIFORM_SIZE
from node.amounts import format_amount
from node.anonymous.index import Entry, Move, Own
from node.anonymous.insisting import ATTEMPTS, Manner, Outcome, gather, pay
from node.anonymous.keys import (
    anonymous_keys,
    decode_anonymous_address,
    encode_anonymous_address,
    is_anonymous_address,
    random_scalar,
)
from node.anonymous.paying import Wish, check_amount
from node.anonymous.search import AmountSearch
from node.cli import rings
from node.cli.accounts import chain_point, native_amount
from node.cli.anonymity import AnonymousWallet, RemoteNode, open_wallet
from node.cli.passwords import PasswordFile, read_password
from node.cli.progress import hashcash
from node.cli.sending import Sending, transaction
from node.cli.session import Session, command
from node.cli.viewing import Owner, own_seed
from node.client import Client
from node.keystore import Keystore
from node.wallet import message
from state.transaction import MAX_MESSAGES, Message
from state.types import Amount

WARNING: Final = (
    "EXPERIMENTAL and classical: nobody has audited it, and a quantum computer reads who paid whom and takes the money."
)
app = typer.Typer(no_args_is_help=True, help=f"Pay without telling who pays whom how much. {WARNING}")
app.add_typer(rings.app, name="ring")

AmountText = Annotated[str, typer.Argument(metavar="AMOUNT", help="Such as 1.5nxs.")]
Attempts = Annotated[int, typer.Option(min=1, max=100, help="How often to prove, if others come first.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is in a block.")]
Timeout = Annotated[float, typer.Option(min=0.1, max=600, help="Seconds to wait for the block.")]


@transaction(app, "open")
def open_(
    sending: Sending, amount: AmountText,
    pieces: Annotated[int, typer.Option(min=1, max=MAX_MESSAGES, help="Accounts to make of it.")] = 1,
) -> list[Message]:
    """EXPERIMENTAL, classical. Turn balance into anonymous accounts of one's own.

    Everybody sees who opened them and what is in them, until others have hidden among them.
    """
    units = native_amount(amount, least=0)
    share, rest = divmod(units, pieces)
    if share + (rest > 0):
        check_amount(share + (rest > 0))
    wallet = _scanned(sending)
    proofs, secret = wallet.index.proofs, wallet.index.keys.secret
    opened = [
        Open(Amount(share + (place < rest)), proofs.key(secret, random_scalar(secrets.token_bytes(UNIFORM_SIZE))))
        for place in range(pieces)
    ]
    for one in opened:
        made = account_id(proofs.account(one.key, one.amount))
        wallet.expect("opened", one.amount, after=(one.amount,), made=(made,))
    wallet.save()
    return [message("anonymous/open", one) for one in opened]


@command(app)
def address(
    session: Session, sender: Owner,
    number: Annotated[int, typer.Option(min=0, help="Others, that nobody can link with this one.")] = 0,
    password_file: PasswordFile = None,
) -> None:
    """EXPERIMENTAL, classical. Print an address, nxa1..., to be paid to."""
    entry = Keystore(session.home / "keys").entry(sender)
    keys = anonymous_keys(own_seed(session, entry, lambda: read_password(password_file, f"key {sender}")))
    session.show({"address": encode_anonymous_address(keys.key(number))})


@command(app)
def balance(session: Session, sender: Owner, password_file: PasswordFile = None) -> None:
    """EXPERIMENTAL, classical. Show what one's anonymous accounts hold. The node does not learn which they are."""
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, password_file)
        wallet.scan(client, AmountSearch(), session.note)
        session.show({
            "height": str(wallet.index.height), "balance": format_amount(wallet.index.balance()),
            "accounts": [_shown_account(own) for own in wallet.index.own()],
            "pending": [_shown_move(move) for move in wallet.index.pending() if move.txid],
        })  # fmt: skip


@command(app)
def send(
    session: Session, sender: Owner,
    to: Annotated[str, typer.Argument(help="nxa1...: from `nexus anonymous address` of who is paid.")],
    amount: AmountText, attempts: Attempts = ATTEMPTS, wait: Wait = True, timeout: Timeout = 30.0,
    password_file: PasswordFile = None,
) -> None:
    """EXPERIMENTAL, classical. Pay out of one of nine accounts without telling which, nor whom, nor how much.

    The fee is the same for everybody, and leaves the account that pays. If another payment moves one of the nine first,
    it is proven again, with others.
    """
    if not is_anonymous_address(to):
        raise Refused(Reason.BAD_ADDRESS, "anonymous accounts pay only nxa1... addresses; `close` pays out in clear")
    key, units = decode_anonymous_address(to), native_amount(amount)
    check_amount(units)
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, password_file)
        with _manner(session, client, wallet, attempts, wait) as manner:
            node = RemoteNode(client, session.note, timeout)
            _show_outcome(session, pay(node, wallet.index, Wish(units, key), manner))


@command(app, "gather")
def gather_(
    session: Session, sender: Owner, attempts: Attempts = ATTEMPTS, wait: Wait = True, timeout: Timeout = 30.0,
    password_file: PasswordFile = None,
) -> None:
    """EXPERIMENTAL, classical. Pay all of one's second richest account into the richest: one account pays at a time."""
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, password_file)
        with _manner(session, client, wallet, attempts, wait) as manner:
            _show_outcome(session, gather(RemoteNode(client, session.note, timeout), wallet.index, manner))


@transaction(app)
def close(
    sending: Sending,
    amount: Annotated[str, typer.Argument(metavar="[AMOUNT]", help="Of the account; needed if there are many.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Up to 16 accounts, the richest first.")] = False,
) -> list[Message]:
    """EXPERIMENTAL, classical. Turn an anonymous account into balance.

    Everybody sees which account it was, what it held, and whose it is now. To take out less than all of it, first pay
    that much to an address of one's own.
    """
    if amount and all_:
        raise Refused(Reason.USAGE, f"either {amount}, to close one account that holds it, or --all")
    units = native_amount(amount, least=0) if amount else None
    wallet = _scanned(sending)
    chosen = _to_close(wallet.index.own(), units, all_=all_)
    for own in chosen:
        wallet.expect("closed", own.amount, before=(own.amount,))
    wallet.save()
    return [_closing(wallet, sending, own) for own in chosen]


@command(app)
def history(session: Session, sender: Owner, password_file: PasswordFile = None) -> None:
    """EXPERIMENTAL, classical. Show what happened to one's anonymous accounts, oldest first.

    The chain does not tell: this is what the wallet did, and what it found when it looked.
    """
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, password_file)
        wallet.scan(client, AmountSearch(), session.note)
        session.show([_shown(entry) for entry in wallet.index.history()])


@command(app)
def scan(
    session: Session, sender: Owner,
    amount: Annotated[list[str] | None, typer.Option(help="An account may hold this: for amounts too large to find.")]
    = None,
    again: Annotated[bool, typer.Option("--again", help="Forget what was found, the history too.")] = False,
    password_file: PasswordFile = None,
) -> None:
    """EXPERIMENTAL, classical. Look for own accounts among all. Every other command that needs it does so too."""
    named = [native_amount(text, least=0) for text in amount or ()]
    with Client(session.url) as client:
        wallet = _wallet(session, client, sender, password_file, again=again)
        looked = wallet.scan(client, AmountSearch(named), session.note)
        own = wallet.index.own()
        session.show({
            "height": str(wallet.index.height), "looked_at": looked, "accounts": len(own),
            "unknown": sum(not one.known for one in own),
        })  # fmt: skip


def _wallet(
    session: Session, client: Client, sender: str, password_file: Path | None, *, again: bool = False
) -> AnonymousWallet:
    entry = Keystore(session.home / "keys").entry(sender)
    return open_wallet(
        session, client, entry, partial(read_password, password_file, f"key {sender}"), again=again
    )


def _scanned(sending: Sending) -> AnonymousWallet:
    wallet = open_wallet(sending.session, sending.client, sending.entry, sending.password)
    wallet.scan(sending.client, AmountSearch(), sending.session.note)
    return wallet


@contextmanager
def _manner(
    session: Session, client: Client, wallet: AnonymousWallet, attempts: int, wait: bool
) -> Iterator[Manner]:
    session.note(f"anonymous payments are {WARNING}")
    point = chain_point(client)
    with hashcash(session, point.difficulty) as progress:
        yield Manner(
            secrets.token_bytes, AmountSearch(), wallet.save, session.note, progress, attempts=attempts, wait=wait
        )


def _to_close(own: tuple[Own, ...], units: int | None, *, all_: bool) -> list[Own]:
    known = [one for one in own if one.known]
    if not known:
        raise Refused(Reason.ACCOUNT_NOT_FOUND, "there is no anonymous account of yours whose amount is known")
    if all_:
        return known[:MAX_MESSAGES]
    fitting = known if units is None else [one for one in known if one.amount == units]
    if units is None and len(known) > 1:
        raise Refused(
            Reason.USAGE, "which one? Name its amount, or --all: "
            + ", ".join(format_amount(one.amount) for one in known),
        )
    if not fitting:
        raise Refused(
            Reason.ACCOUNT_NOT_FOUND, f"no account of yours holds {format_amount(units or 0)}: an account is closed "
            "with all that it holds",
        )
    return fitting[:1]


def _closing(wallet: AnonymousWallet, sending: Sending, own: Own) -> Message:
    proofs = wallet.index.proofs
    closing = Closing(wallet.index.chain_id, own.account, sending.sender, own.amount)
    proof = proofs.prove_closing(closing, wallet.index.keys.secret, secrets.token_bytes(32))
    return message("anonymous/close", Close(account_id(own.account), own.amount, proof))


def _show_outcome(session: Session, outcome: Outcome) -> None:
    session.show({
        "txid": outcome.txid.hex(), "amount": format_amount(outcome.amount), "fee": format_amount(outcome.fee),
        "status": "committed" if outcome.committed else "accepted", "height": str(outcome.height),
        "attempts": outcome.attempts,
    })  # fmt: skip


def _shown_account(own: Own) -> dict[str, Any]:
    return {
        "amount": format_amount(own.amount) if own.known else "unknown", "renewed": str(own.height),
        "id": account_id(own.account).hex(),
    }  # fmt: skip


def _shown_move(move: Move) -> dict[str, Any]:
    return {"kind": move.kind, "amount": format_amount(move.amount), "expires": str(move.expiry)}


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "height": str(entry.height), "kind": entry.kind,
        "amount": format_amount(entry.amount) if entry.known else "unknown", "fee": format_amount(entry.fee),
        "to": encode_anonymous_address(entry.to) if entry.to else "", "txid": entry.txid.hex(),
    }  # fmt: skip
