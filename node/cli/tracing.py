"""`nexus tx trace`: gathers from a node what a transaction spends and how it ended, and checks all of it again here."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from apps.anonymous.records import KeptCoin, account_id
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.amounts import parse_outpoint
from node.anonymous.tracing import NOBODY, Members
from node.api import methods, shapes
from node.api.text import LATEST, asset_from, hash_from
from node.cli.sending import finished, load_draft
from node.cli.session import Form, Session
from node.client import Client
from node.steps import Step
from node.tracing import Found, Gathered, trace
from state.encoding import Codec
from state.transaction import (
    NOTE_SIZE,
    AccountPayment,
    Coin,
    Decoded,
    HiddenCoin,
    OutPoint,
    Output,
    Payload,
    RingPayment,
    Spend,
    decode_transaction,
    made_by,
)
from state.types import Address, Amount, Height, TxId

_ID_DIGITS: Final = 64
_outputs: Final[Codec[Output]] = Codec(Output)  # type: ignore[arg-type]


def trace_command(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="TXID|FILE", help="A transaction's id, or a file with one.")],
) -> None:
    """Show the steps of a transaction as a node takes them, each checked again here."""
    with Client(session.url) as client:
        known = gather(client, _transaction(client, what))
    decoded, receipt = known.decoded, known.receipt
    steps = trace(known)
    committed = receipt is not None and not known.simulated
    shown = {
        "txid": decoded.txid.hex(), "wtxid": decoded.wtxid.hex(),
        "height": str(int(receipt.height)) if receipt is not None and committed else None, "steps": steps,
    }
    session.show(shown if session.output is Form.JSON else {**shown, "steps": [_for_people(step) for step in steps]})


def _for_people(step: Step) -> Mapping[str, Any]:
    told: dict[str, Any] = {step.step: f"{step.verdict.value} ({step.detail})" if step.detail else step.verdict.value}
    told.update({name: value for name, value in step.facts.items() if value is not None})
    return {**told, "each": list(step.items)} if step.items else told


def _transaction(client: Client, what: str) -> Decoded:
    """Return the transaction of an id, or that in a file: wire bytes, the same in hex, or a signed draft."""
    if len(what) == _ID_DIGITS and not set(what) - set("0123456789abcdef"):
        decoded = decode_transaction(client.ask(methods.GetTransaction(txid=what)).raw)
        if decoded.txid.hex() != what:
            raise Refused(Reason.BAD_PROOF, "the node answered with another transaction")
        return decoded
    path = Path(what)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{what} is no transaction id, and no file: {error.strerror}") from None
    if raw.lstrip().startswith(b"{"):
        return decode_transaction(finished(load_draft(path))[0])
    with contextlib.suppress(ValueError):
        raw = bytes.fromhex(raw.decode("ascii"))
    return decode_transaction(raw)


def gather(client: Client, decoded: Decoded) -> Gathered:
    """Ask a node for what a transaction spends, who signed it, and how it ended or would end."""
    receipt, simulated, refusal = None, False, None
    try:
        receipt = client.ask(methods.GetReceipt(txid=decoded.txid.hex())).receipt
    except Refused as refused:
        _pass_unless(refused, Reason.NOT_AVAILABLE)
        simulated = True
        try:
            receipt = client.ask(methods.Simulate(transaction=decoded.raw))
        except Refused as other:
            refusal = other
    keys = tuple(witness.key or _key(client, witness.signer) for witness in decoded.transaction.witnesses)
    payload = decoded.body.payload
    found = _find(client, payload.inputs, receipt) if isinstance(payload, Spend) else ()
    members = members_of(client, payload, receipt)
    return Gathered(decoded, found, keys, not simulated, receipt, simulated, refusal, members)


def members_of(client: Client, payload: Payload, receipt: shapes.ReceiptView | None) -> Members:
    """Return among what an anonymous payment hides: accounts as they were before its block, coins as they are."""
    try:
        if isinstance(payload, AccountPayment):
            return Members(_accounts(client, payload, receipt), {})
        if isinstance(payload, RingPayment):
            return Members({}, _coins(client, payload))
    except (LookupError, TypeError, ValueError):
        raise Refused(Reason.PROTOCOL_VIOLATION, "the node gives anonymous accounts or coins that are none") from None
    return NOBODY


def _accounts(
    client: Client, payment: AccountPayment, receipt: shapes.ReceiptView | None
) -> dict[bytes, bytes]:
    height = LATEST if receipt is None else str(int(receipt.height) - 1)
    found: dict[bytes, bytes] = {}
    for name in payment.accounts:
        with contextlib.suppress(Refused):  # a state that is not kept
            told = _anonymous(client, "account", {"id": name.hex()}, height)["account"]
            if told is not None and account_id(bytes.fromhex(told["account"])) == name:
                found[name] = bytes.fromhex(told["account"])
    return found


def _coins(client: Client, payment: RingPayment) -> dict[int, KeptCoin]:
    found: dict[int, KeptCoin] = {}
    for number in {number for ring in payment.rings for number in ring.members}:
        for one in _anonymous(client, "coins", {"from": str(number), "limit": "1"}, LATEST)["coins"]:
            found[number] = KeptCoin(
                asset_from(one["asset"]), hash_from(one["key"]), hash_from(one["commitment"]),
                Height(int(one["height"])), bytes.fromhex(one["note"]),
            )
    return found


def _anonymous(client: Client, query: str, parameters: dict[str, str], height: str) -> Any:
    return client.ask(methods.QueryModule(name=f"anonymous/{query}", parameters=parameters, height=height)).value


def _key(client: Client, signer: Address) -> bytes | None:
    return client.ask(methods.GetAccount(address=encode_address(signer))).public_key or None


def _find(client: Client, inputs: tuple[OutPoint, ...], receipt: shapes.ReceiptView | None) -> tuple[Found, ...]:
    """Return what is spent: from the transaction that made it, else from the state, else from the receipt's events."""
    makers: dict[TxId, Decoded | None] = {}
    events = {} if receipt is None else _events(receipt)
    found = []
    for outpoint in inputs:
        if outpoint.txid not in makers:
            makers[outpoint.txid] = _maker(client, outpoint.txid)
        maker = makers[outpoint.txid]
        made = () if maker is None else made_by(maker.body.payload)
        if outpoint.index < len(made):
            found.append(Found(outpoint, made[outpoint.index], "its transaction"))
        elif outpoint in events:
            found.append(Found(outpoint, events[outpoint], "the receipt"))
        else:
            output = _unspent(client, outpoint)
            found.append(Found(outpoint, output, "nowhere" if output is None else "the state"))
    return tuple(found)


def _maker(client: Client, txid: TxId) -> Decoded | None:
    try:
        decoded = decode_transaction(client.ask(methods.GetTransaction(txid=txid.hex())).raw)
    except Refused as refused:
        _pass_unless(refused, Reason.NOT_AVAILABLE)
        return None
    if decoded.txid != txid:
        raise Refused(Reason.BAD_PROOF, "the node answered with another transaction")
    return decoded


def _unspent(client: Client, outpoint: OutPoint) -> Output | None:
    try:
        return _outputs.decode(client.ask(methods.GetOutput(txid=outpoint.txid.hex(), index=outpoint.index)).raw)
    except Refused as refused:
        _pass_unless(refused, Reason.OUTPUT_NOT_FOUND)
        return None


def _events(receipt: shapes.ReceiptView) -> dict[OutPoint, Output]:
    """Return the coins that a receipt says were spent. Of Memos and States it does not tell enough."""
    found: dict[OutPoint, Output] = {}
    for event in receipt.events:
        told = dict(event.attributes)
        if event.name != "output/spent" or told.get("type") not in ("coin", "hidden"):
            continue
        owner, asset = Address(bytes.fromhex(told["owner"])), asset_from(told["asset"])
        place = parse_outpoint(told["outpoint"])
        if told["type"] == "coin":
            found[place] = Coin(asset, owner, Amount(int(told["amount"])))
        else:
            # The receipt leaves out the note, and no check reads it.
            found[place] = HiddenCoin(asset, owner, bytes.fromhex(told["commitment"]), bytes(NOTE_SIZE))
    return found


def _pass_unless(refused: Refused, reason: Reason) -> None:
    if refused.reason is not reason:
        raise refused
