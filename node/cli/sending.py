"""What every `nexus tx` command shares: from messages or outputs to a signed, sent and settled transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import Scheme, multisig_members
from node.amounts import format_amount
from node.api.methods import Simulate
from node.api.shapes import ReceiptView
from node.cli.accounts import account_of, address_named, amount_of, chain_point, coins_of, native_amount
from node.cli.passwords import PasswordFile, read_password
from node.cli.progress import hashcash
from node.cli.session import Session, command, option
from node.client import Client
from node.home import write_file
from node.keystore import KeyEntry, Keystore
from node.wallet import (
    Account,
    ChainPoint,
    Draft,
    Progress,
    draft_call,
    draft_transfer,
    finish,
    joint_witness,
    partial_signature,
    sign_draft,
    unsigned,
)
from state.encoding import encode
from state.transaction import Message, Output, body_codec
from state.types import Address, Amount, AssetId

_DRAFT_FORMAT: Final = "nexus-draft-1"


class DraftFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction of a multi-signature account that goes from member to member."""

    format: str
    address: str
    public_key: bytes
    registered: bool
    body: bytes
    signatures: tuple[bytes, ...] = ()

    @property
    def account(self) -> Account:
        """The account that the transaction is by."""
        return Account(Address(address_named(Keystore(Path()), self.address)), self.public_key, self.registered)


@dataclass(frozen=True, slots=True)
class Sending:
    """What a `tx` command builds its messages with."""

    session: Session
    client: Client
    entry: KeyEntry
    password: Callable[[], str]
    """Returns the password of the sender's key; asks once, if it has to."""

    @property
    def sender(self) -> Address:
        """The account that sends."""
        return self.entry.address

    def address(self, text: str) -> Address:
        """Return the address of `nx1...` or of a stored key."""
        return address_named(Keystore(self.session.home / "keys"), text)

    def amount(self, text: str, least: int = 1) -> tuple[AssetId, Amount]:
        """Return asset and amount; a bare symbol is one that the sender issued."""
        return amount_of(self.client, text, self.sender, least)


Plan = Callable[[ChainPoint, Account, int | None, Account | None, Progress], Draft]
"""Drafts a transaction by itself, given the chain, the sender, the fee or None for the least, the sponsor, and whom to
tell of the hashcash."""
Parts = Sequence[Message] | Sequence[Output] | Plan
Build = Callable[..., Parts]

_FAMILY: Final = {
    "sender": option("sender", Annotated[str, typer.Option(
        "--from", envvar="NEXUS_FROM", help="Name of the key that signs.", rich_help_panel="Sending")], ...),
    "fee": option("fee", Annotated[str, typer.Option(
        help="Such as 0.01nxs; by default the least.", rich_help_panel="Sending")], ""),
    "gas": option("gas", Annotated[int, typer.Option(
        min=0, help="Gas wanted; by default what it costs.", rich_help_panel="Sending")], 0),
    "sponsor": option("sponsor", Annotated[str, typer.Option(
        help="Name of a stored key that signs too, and whose space record stands for the sender's.",
        rich_help_panel="Sending")], ""),
    "wait": option("wait", Annotated[bool, typer.Option(
        "--wait/--no-wait", help="Wait until it is in a block.", rich_help_panel="Sending")], True),
    "timeout": option("timeout", Annotated[float, typer.Option(
        min=0.1, max=120, help="Seconds to wait.", rich_help_panel="Sending")], 30.0),
    "dry_run": option("dry_run", Annotated[bool, typer.Option(
        "--dry-run", help="Show what would become of it, and send nothing.", rich_help_panel="Sending")], False),
    "password_file": option("password_file", PasswordFile, None),
    "draft": option("draft", Annotated[Path | None, typer.Option(
        help="Write an unsigned draft here, for a multi-signature account.", rich_help_panel="Sending")], None),
}  # fmt: skip


def transaction(app: typer.Typer, name: str | None = None) -> Callable[[Build], Build]:
    """Register `(sending, *own parameters) -> messages, outputs to pay with coins, or a plan` as a sending command."""
    return command(app, name, _FAMILY, _send)


def _send(build: Build, session: Session, shared: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    store = Keystore(session.home / "keys")
    entry = store.entry(shared["sender"])
    fee = native_amount(shared["fee"], least=0) if shared["fee"] else None
    with Client(session.url) as client:
        password = cache(partial(read_password, shared["password_file"], f"key {entry.name}"))
        parts = build(Sending(session, client, entry, password), **values)
        sponsor = store.entry(shared["sponsor"]) if shared["sponsor"] else None
        draft = _draft(session, client, entry, parts, shared["gas"] or None, fee, sponsor)
        if shared["dry_run"]:
            show_outcome(session, client.ask(Simulate(transaction=unsigned(draft))), draft.body.fee, "would succeed")
            return
        if shared["draft"] is not None:
            if draft.proofs:
                raise Refused(Reason.USAGE, "hidden coins are paid by accounts with one key, without a draft")
            save_draft(shared["draft"], DraftFile(
                _DRAFT_FORMAT, encode_address(entry.address), entry.public_key, draft.accounts[0].registered,
                encode(draft.body),
            ))
            session.show({"draft": str(shared["draft"]), "fee": format_amount(draft.body.fee)})
            return
        if entry.scheme == Scheme.MULTISIG.name.lower():
            raise Refused(Reason.USAGE, f"{entry.name!r} is a multi-signature account: add --draft FILE")
        keys = {
            one.address: store.open(
                one.name, password() if one is entry else read_password(shared["password_file"], f"key {one.name}")
            ).key
            for one in _signers(store, draft, entry)
        }
        signed = sign_draft(draft, keys)
        submit(session, client, signed.raw, signed.fee, wait=shared["wait"], timeout=shared["timeout"])


def _signers(store: Keystore, draft: Draft, entry: KeyEntry) -> list[KeyEntry]:
    """Return the stored keys of who signs a draft: the sender's own, and others by their address."""
    others = {account.address for account in draft.accounts} - {entry.address}
    found = {one.address: one for one in map(store.entry, store.names())} if others else {}
    return [entry, *(found[address] for address in sorted(others) if address in found)]


def _draft(
    session: Session, client: Client, entry: KeyEntry, parts: Parts, gas: int | None,
    fee: int | None, sponsor: KeyEntry | None,
) -> Draft:
    point = chain_point(client)
    account, nonce = account_of(client, entry)
    cosigner = None if sponsor is None else account_of(client, sponsor)[0]
    if callable(parts):
        with hashcash(session, point.difficulty) as progress:
            return parts(point, account, fee, cosigner, progress)
    messages = [part for part in parts if isinstance(part, Message)]
    with hashcash(session, point.difficulty) as progress:
        if messages:
            return draft_call(
                point, account, nonce, messages, gas=gas, fee=fee, sponsor=cosigner, progress=progress
            )
        outputs = [part for part in parts if not isinstance(part, Message)]
        coins = coins_of(client, entry.address)
        return draft_transfer(point, [account], coins, outputs, fee=fee, sponsor=cosigner, progress=progress)


def submit(session: Session, client: Client, raw: bytes, fee: int, *, wait: bool, timeout: float) -> None:
    """Send a transaction and show what became of it.

    Raises:
        Refused: why it was not accepted, or, in a block, why it failed.
    """
    result = client.submit_one(raw, wait="committed" if wait else "accepted", timeout=timeout)
    if result.receipt is None:
        session.show({"txid": result.txid, "fee": format_amount(fee), "status": "accepted"})
    else:
        show_outcome(session, result.receipt, fee, "committed")


def show_outcome(session: Session, receipt: ReceiptView, fee: int, success: str) -> None:
    """Show how a transaction ended; `success` names a good end. Raises Refused with the reason of a bad one."""
    session.show(_outcome(receipt, fee, success))
    if receipt.reason:
        raise Refused(Reason(receipt.reason), receipt.detail)


def _outcome(receipt: ReceiptView, fee: int, success: str) -> dict[str, Any]:
    return {
        "txid": receipt.txid, "fee": format_amount(fee), "status": "failed" if receipt.reason else success,
        "height": str(int(receipt.height)),
        "gas_used": str(int(receipt.gas_used)),
        "events": [{"name": event.name, **dict(event.attributes)} for event in receipt.events],
    }  # fmt: skip


# ---- multi-signature drafts


def load_draft(path: Path) -> DraftFile:
    """Return a draft. Raises Refused(BAD_ARGUMENT)."""
    try:
        draft = msgspec.json.decode(path.read_bytes(), type=DraftFile)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} is no draft: {error}") from None
    if draft.format != _DRAFT_FORMAT:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} is a draft of another format")
    return draft


def save_draft(path: Path, draft: DraftFile) -> None:
    """Write a draft."""
    write_file(path, msgspec.json.format(msgspec.json.encode(draft)) + b"\n")


def add_signature(path: Path, entry: KeyEntry, password: str, store: Keystore) -> tuple[int, int]:
    """Sign a draft as a member; return how many signatures it has and needs.

    Raises:
        Refused: BAD_KEY if the key is no member's, KEY_IN_USE if it signed already, and those of the key file.
    """
    draft = load_draft(path)
    threshold, members = multisig_members(draft.public_key)
    if entry.public_key not in members:
        raise Refused(Reason.BAD_KEY, f"{entry.name!r} is no member of the account")
    body = body_codec.decode(draft.body)
    signature = partial_signature(body, store.open(entry.name, password).key)
    signatures = (*draft.signatures, signature)
    save_draft(path, msgspec.structs.replace(draft, signatures=signatures))
    return len(signatures), threshold


def finished(draft: DraftFile) -> tuple[bytes, Amount]:
    """Return the wire bytes and fee of a draft that enough members signed. Raises Refused(MISSING_SIGNATURE)."""
    body = body_codec.decode(draft.body)
    signed = finish(body, [joint_witness(body, draft.account, draft.signatures)])
    return signed.raw, signed.fee
