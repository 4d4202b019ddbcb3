"""EXPERIMENTAL, classical: `nexus anonymous ring`, coins that are spent among eleven without telling which."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from crypto.errors import Reason, Refused
from node.amounts import format_amount
from node.anonymous.insisting import UNCERTAIN
from node.anonymous.keys import is_anonymous_address
from node.anonymous.ringindex import OwnCoin, RingEntry, RingIndex, read_ring_index
from node.anonymous.ringkeys import (
    RingAddress,
    RingViewer,
    decode_ring_address,
    encode_ring_address,
    is_ring_address,
    ring_keys,
)
from node.anonymous.ringpaying import RingDraft, RingWish, draft_ring, is_ready, mint_message, missing_for_set
from node.anonymous.ringreading import scan_rings
from node.anonymous.ringsets import RingSets
from node.cli.accounts import address_named, amount_of, chain_point, shown_amount
from node.cli.passwords import PasswordFile, read_password
from node.cli.progress import hashcash
from node.cli.sending import Sending, submit, transaction
from node.cli.session import Session, command
from node.cli.viewing import Owner, chain_of, own_seed, wallet_folder
from node.client import Client
from node.document import DiskDocument, Document
from node.keystore import KeyEntry, Keystore
from node.wallet import finish
from state.transaction import MAX_MESSAGES, Message
from state.types import Address, Amount, AssetId

app = typer.Typer(
    no_args_is_help=True,
    help="Coins that are spent among eleven. EXPERIMENTAL and classical: nobody has audited it, and a quantum computer "
    "reads who spent what and takes the money.",
)

AmountText = Annotated[str, typer.Argument(metavar="AMOUNT", help="1.5nxs, 25gold@ISSUER.")]
Text = Annotated[str, typer.Option(help="Goes into the note: at most 32 bytes, for the receiver's eyes alone.")]


@dataclass(frozen=True, slots=True)
class RingWallet:
    """An index, and the document in which it is kept."""

    index: RingIndex
    document: Document

    def save(self) -> None:
        """Keep the index. Raises Refused(BAD_WALLET) if the disk fails."""
        self.document.replace(self.index.to_bytes())

    def scan(self, session: Session, client: Client) -> int:
        """Take in what is new on the chain; return how many coins of the wallet were in it."""
        try:
            return scan_rings(client, self.index, session.note)
        finally:
            self.save()


@transaction(app)
def mint(
    sending: Sending, amount: AmountText,
    to: Annotated[str, typer.Option(help="nxring1... of whom they are for; by default one's own.")] = "",
    pieces: Annotated[int, typer.Option(min=1, max=MAX_MESSAGES, help="Coins to make of it.")] = 1,
    text: Text = "",
) -> list[Message]:
    """EXPERIMENTAL, classical. Turn balance into ring coins. Everybody sees who made them and what they hold."""
    asset, units = sending.amount(amount)
    if units < pieces:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"{amount} does not make {pieces} coins")
    viewer = _viewer(sending.session, sending.client, sending.entry, sending.password)
    here = decode_ring_address(to) if to else viewer.keys.address(viewer.chain_id)
    share, rest = divmod(units, pieces)
    return [
        mint_message(viewer, RingWish(here, asset, Amount(share + (place < rest)), text), secrets.token_bytes)
        for place in range(pieces)
    ]


@command(app)
def address(session: Session, sender: Owner, password_file: PasswordFile = None) -> None:
    """EXPERIMENTAL, classical. Print the address, nxring1..., to be paid to."""
    entry = Keystore(session.home / "keys").entry(sender)
    with Client(session.url) as client:
        viewer = _viewer(session, client, entry, partial(read_password, password_file, f"key {sender}"))
    session.show({"address": encode_ring_address(viewer.keys.address(viewer.chain_id))})


@command(app)
def balance(session: Session, sender: Owner, password_file: PasswordFile = None) -> None:
    """EXPERIMENTAL, classical. Show what one's ring coins hold, and how much of it can hide by now."""
    with _open(session, sender, password_file) as (client, wallet):
        wallet.scan(session, client)
        sets = wallet.index.sets()
        session.show({
            "height": str(wallet.index.height),
            "coins": [
                _shown_asset(client, wallet.index, sets, asset) for asset in wallet.index.balances()
            ],
        })  # fmt: skip


@command(app)
def send(
    session: Session, sender: Owner,
    to: Annotated[str, typer.Argument(help="nxring1...; an nx1... address or a stored key gets a coin in clear.")],
    amount: AmountText, text: Text = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is in a block.")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, max=120, help="Seconds to wait.")] = 30.0,
    password_file: PasswordFile = None,
) -> None:
    """EXPERIMENTAL, classical. Pay with ring coins without telling which. A coin always hides among the same eleven."""
    receiver = _receiver(session, to)
    with _open(session, sender, password_file) as (client, wallet):
        asset, units = amount_of(client, amount, None)
        wallet.scan(session, client)
        wish = RingWish(receiver, asset, units, text)
        point = chain_point(client)
        told = f"{amount} to {to if len(to) <= 100 else to[:40] + '...'}"
        with hashcash(session, point.difficulty) as progress:
            made = draft_ring(point, wallet.index, [wish], secrets.token_bytes, progress=progress, told=told)
        wallet.index.reserve(made.sent, made.rings)
        wallet.save()
        _submit(session, client, wallet, made, wait=wait, timeout=timeout)


def _submit(
    session: Session, client: Client, wallet: RingWallet, made: RingDraft, *, wait: bool, timeout: float
) -> None:
    signed = finish(made.draft.body, (), made.draft.proofs)
    try:
        submit(session, client, signed.raw, signed.fee, wait=wait, timeout=timeout)
    except Refused as refused:
        if refused.reason not in UNCERTAIN:
            wallet.index.release(made.sent)
            wallet.save()
        raise


@command(app)
def history(session: Session, sender: Owner, password_file: PasswordFile = None) -> None:
    """EXPERIMENTAL, classical. Show what came in and went out in ring coins, oldest first."""
    with _open(session, sender, password_file) as (client, wallet):
        wallet.scan(session, client)
        session.show({
            "coins": [_shown(client, entry) for entry in wallet.index.history()],
            "sent": [
                {"height": str(one.height), "txid": one.txid.hex(), "fee": format_amount(one.fee), "paid": one.told}
                for one in wallet.index.sent()
            ],
        })  # fmt: skip


@command(app)
def scan(
    session: Session, sender: Owner,
    again: Annotated[bool, typer.Option("--again", help="Begin at the first coin again; forgets what was sent.")]
    = False,
    password_file: PasswordFile = None,
) -> None:
    """EXPERIMENTAL, classical. Look for own ring coins among new ones. Other commands do so too."""
    with _open(session, sender, password_file, again=again) as (client, wallet):
        found = wallet.scan(session, client)
        session.show({
            "height": str(wallet.index.height), "found": found, "coins": len(wallet.index.unspent()),
            "of": len(wallet.index.coins),
        })  # fmt: skip


def _viewer(session: Session, client: Client, entry: KeyEntry, password: Callable[[], str]) -> RingViewer:
    return RingViewer(chain_of(client), ring_keys(own_seed(session, entry, password)))


@contextmanager
def _open(
    session: Session, sender: str, password_file: Path | None, *, again: bool = False
) -> Iterator[tuple[Client, RingWallet]]:
    """Give a client and the wallet of ring coins of a stored key, `wallet/NAME.rings` in the home."""
    entry = Keystore(session.home / "keys").entry(sender)
    document = DiskDocument(wallet_folder(session) / f"{entry.name}.rings", Reason.BAD_WALLET)
    with Client(session.url) as client:
        viewer = _viewer(session, client, entry, partial(read_password, password_file, f"key {sender}"))
        yield client, RingWallet(read_ring_index(viewer, b"" if again else document.read()), document)


def _receiver(session: Session, text: str) -> RingAddress | Address:
    if is_ring_address(text):
        return decode_ring_address(text)
    if is_anonymous_address(text):
        raise Refused(
            Reason.BAD_ADDRESS, "ring coins pay nxring1... and nx1... addresses; `nexus anonymous send` pays nxa1..."
        )
    return address_named(Keystore(session.home / "keys"), text)


def _shown_asset(client: Client, index: RingIndex, sets: RingSets, asset: AssetId) -> dict[str, Any]:
    own = index.unspent(asset)
    ready = [coin for coin in own if is_ready(coin, sets, index.height)]
    return {
        "asset": asset.hex() or "unxs", "amount": shown_amount(client, asset, _sum(own)), "coins": len(own),
        "ready": shown_amount(client, asset, _sum(ready)), "missing_for_set": missing_for_set(sets, asset),
    }  # fmt: skip


def _sum(coins: tuple[OwnCoin, ...] | list[OwnCoin]) -> int:
    return sum(coin.amount for coin in coins)


def _shown(client: Client, entry: RingEntry) -> dict[str, Any]:
    return {
        "height": str(entry.height), "kind": entry.kind, "coin": entry.number,
        "amount": shown_amount(client, entry.asset, entry.amount), "text": entry.text,
    }  # fmt: skip

