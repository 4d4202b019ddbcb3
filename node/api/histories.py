"""What the API tells of a contract's past and of a transaction's fate."""

from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.state_answers import txid_from
from node.api.text import Decimal
from node.service import NodeService
from state import ledger
from state.lineage import Lineage, Version
from state.transaction import OutPoint, State, decode_transaction, made_by
from state.types import Height


def state_history(service: NodeService, ask: methods.GetStateHistory) -> shapes.StateHistory:
    """Answer `state_history`. Raises Refused(OUTPUT_NOT_FOUND)."""
    outpoint, first = OutPoint(txid_from(ask.txid), ask.index), int(ask.first)
    lineage = service.chain.store.lineage_of(outpoint, first, ask.limit)
    if lineage is None:
        found = ledger.output(service.reader(), outpoint)
        if not isinstance(found, State):
            raise Refused(Reason.OUTPUT_NOT_FOUND, f"this node knows no State {ask.txid}:{ask.index}")
        versions = (Version(found.nonce, Height(0), outpoint),) if first <= found.nonce else ()
        lineage = Lineage(versions, None, None)
    shown = [_version(service, one) for one in lineage.versions]
    end = lineage.end
    return shapes.StateHistory(
        versions=shown,
        ended=None if end is None else shapes.StateEnd(txid=end.txid.hex(), height=Decimal(end.height)),
        complete=bool(shown) and [one.nonce for one in shown] == list(range(first, first + len(shown))),
        next=None if lineage.next is None else Decimal(lineage.next),
    )


def _version(service: NodeService, version: Version) -> shapes.StateVersion:
    outpoint = version.outpoint
    unspent = ledger.output(service.reader(), outpoint)
    found = unspent if isinstance(unspent, State) else _made(service, outpoint)
    return shapes.StateVersion(
        nonce=Decimal(version.nonce), txid=outpoint.txid.hex(), index=outpoint.index,
        height=Decimal(version.height) if version.height else None, unspent=unspent is not None,
        variables=None if found is None else [variable.hex() for variable in found.variables],
        output=None if found is None else views.output_view(outpoint, found),
    )


def _made(service: NodeService, outpoint: OutPoint) -> State | None:
    """Return a State that is spent from the transaction that made it, or None if that is not here any more."""
    found = service.chain.store.transaction(outpoint.txid)
    made = () if found is None else made_by(decode_transaction(found[1]).body.payload)
    output = made[outpoint.index] if outpoint.index < len(made) else None
    return output if isinstance(output, State) else None


def transaction_status(service: NodeService, ask: methods.GetTransactionStatus) -> shapes.TransactionStatus:
    """Answer `transaction_status`: a transaction that nobody knows has a status, too."""
    txid = txid_from(ask.txid)
    receipt = service.chain.store.receipt(txid)
    if receipt is not None:
        return shapes.TransactionStatus(
            txid=ask.txid, status="failed" if receipt.reason else "succeeded", height=Decimal(receipt.height),
            index=receipt.index, reason=receipt.reason, detail=receipt.detail,
            blocks_above=Decimal(service.height - receipt.height),
        )
    return shapes.TransactionStatus(
        txid=ask.txid, status="waiting" if service.waits(txid) else "unknown", height=None, index=None, reason="",
        detail="", blocks_above=Decimal(0),
    )
