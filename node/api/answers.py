"""One function for each API method: question in, answer out, over the node's service."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from consensus.evidence import height_of
from consensus.types import Evidence
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.histories import state_history, transaction_status
from node.api.state_answers import STATE_ANSWERS, address_from, height_from, txid_from
from node.api.text import LATEST, Decimal
from node.service import NodeService
from state.columns import Location
from state.encoding import Codec, encode
from state.genesis_json import genesis_to_json
from state.transaction import OutPoint, decode_transaction
from state.types import MAX_INT, Height, TxId

_evidence_codec: Final[Codec[Evidence]] = Codec(Evidence)  # type: ignore[arg-type]


def _block_height(service: NodeService, text: str) -> Height:
    height = height_from(text)
    return service.height if height is None else height


def status(service: NodeService, ask: methods.GetStatus) -> shapes.Status:
    """Answer `status`."""
    now = service.status()
    validators = service.validators(Height(now.height + 1))
    index = None if now.validator is None else validators.index_of(now.validator)
    return views.status_view(now, 0 if index is None else validators.validators[index].power)


def genesis(service: NodeService, ask: methods.GetGenesis) -> shapes.GenesisView:
    """Answer `genesis`."""
    document = msgspec.json.decode(genesis_to_json(service.genesis))
    return shapes.GenesisView(chain_id=service.chain_id.hex(), document=document, raw=encode(service.genesis))


def peers(service: NodeService, ask: methods.GetPeers) -> shapes.PeersView:
    """Answer `peers`."""
    return shapes.PeersView(peers=[views.peer_view(peer) for peer in service.peers()])


def mempool(service: NodeService, ask: methods.GetMempool) -> shapes.MempoolView:
    """Answer `mempool`."""
    now = service.status()
    return shapes.MempoolView(
        transactions=now.mempool_transactions, bytes=Decimal(now.mempool_bytes),
        txids=[txid.hex() for txid in service.pending(ask.limit)],
    )


def block(service: NodeService, ask: methods.GetBlock) -> shapes.BlockView:
    """Answer `block`."""
    height = _block_height(service, ask.height)
    found = service.block(height).block
    commit = service.commit(height)
    receipts = service.chain.store.receipts(height)
    return shapes.BlockView(
        header=views.header_view(found.header),
        transactions=[
            shapes.TransactionId(txid=receipt.txid.hex(), wtxid=receipt.wtxid.hex()) for receipt in receipts
        ],
        size=Decimal(sum(map(len, found.transactions))), evidence=len(found.evidence),
        commit=views.commit_view(commit),
    )


def body(service: NodeService, ask: methods.GetBody) -> shapes.BodyView:
    """Answer `body`."""
    height = _block_height(service, ask.height)
    found = service.block(height).block
    return shapes.BodyView(
        height=Decimal(height), transactions=list(found.transactions), evidence=encode(found.evidence)
    )


def header(service: NodeService, ask: methods.GetHeader) -> shapes.HeaderView:
    """Answer `header`."""
    return views.header_view(service.header(_block_height(service, ask.height)))


def commit(service: NodeService, ask: methods.GetCommit) -> shapes.CommitView:
    """Answer `commit`."""
    return views.commit_view(service.commit(_block_height(service, ask.height)))


def light_block(service: NodeService, ask: methods.GetLightBlock) -> shapes.LightBlockView:
    """Answer `light_block`."""
    height = _block_height(service, ask.height)
    return shapes.LightBlockView(height=Decimal(height), light_block=encode(service.light_block(height)))


async def submit(service: NodeService, ask: methods.Submit) -> shapes.Submitted:
    """Answer `submit`: accept, and wait for the block if asked to."""
    outcomes = await service.submit_many(ask.transactions)
    results = [_submission(raw, outcome) for raw, outcome in zip(ask.transactions, outcomes, strict=True)]
    if ask.wait == "committed":
        deadline = trio.current_time() + ask.timeout / 1000
        results = [await _settled(service, result, deadline) for result in results]
    return shapes.Submitted(results=results)


def _submission(raw: bytes, outcome: TxId | Refused) -> shapes.Submission:
    if not isinstance(outcome, Refused):
        return shapes.Submission(txid=outcome.hex(), reason="", detail="")
    try:
        txid = decode_transaction(raw).txid.hex()
    except Refused:
        txid = ""
    return shapes.Submission(txid=txid, reason=outcome.reason.value, detail=outcome.detail)


async def _settled(service: NodeService, result: shapes.Submission, deadline: float) -> shapes.Submission:
    """Wait for one transaction. The waits run one after the other to one deadline: all end when the last does."""
    waits = result.reason in ("", Reason.ALREADY_KNOWN.value, Reason.ALREADY_COMMITTED.value)
    if not waits:
        return result
    try:
        receipt = await service.wait_committed(txid_from(result.txid), max(0.0, deadline - trio.current_time()))
    except Refused as refused:
        return shapes.Submission(txid=result.txid, reason=refused.reason.value, detail=refused.detail)
    return shapes.Submission(txid=result.txid, reason="", detail="", receipt=views.receipt_view(receipt))


def simulate(service: NodeService, ask: methods.Simulate) -> shapes.ReceiptView:
    """Answer `simulate`."""
    return views.receipt_view(service.simulate(ask.transaction))


def report_evidence(service: NodeService, ask: methods.ReportEvidence) -> shapes.Reported:
    """Answer `report_evidence`."""
    evidence = _evidence_codec.decode(ask.evidence)
    is_news = service.report(evidence)
    return shapes.Reported(
        validator=encode_address(evidence.validator), height=Decimal(height_of(evidence)), known=not is_news
    )


def transaction(service: NodeService, ask: methods.GetTransaction) -> shapes.TransactionView:
    """Answer `transaction`."""
    found = service.transaction(txid_from(ask.txid))
    place = None if found.location is None else (found.location.height, found.location.index)
    return views.transaction_view(decode_transaction(found.raw), place)


def receipt(service: NodeService, ask: methods.GetReceipt) -> shapes.ReceiptAnswer:
    """Answer `receipt`."""
    return views.receipt_answer(service.proven_receipt(txid_from(ask.txid)))


def outputs(service: NodeService, ask: methods.GetOutputs) -> shapes.OutputsView:
    """Answer `outputs`."""
    after = None
    if ask.after:
        if len(ask.after) != 72:
            raise Refused(Reason.BAD_ARGUMENT, "`after` is the `next` of the list before")
        after = OutPoint(txid_from(ask.after[:64]), int(ask.after[64:], 16))
    # Of one kind, as many are looked at as a list may have at most, not as many as there are.
    most = ask.limit if ask.kind == "any" else methods.MAX_LISTED
    found = service.outputs_of(address_from(ask.address), most, after)
    chosen = [one for one in found if ask.kind in ("any", views.output_kind(one[1]))][: ask.limit]
    seen = chosen if len(chosen) == ask.limit else found
    last = seen[-1][0] if len(chosen) == ask.limit or len(found) == most else None
    return shapes.OutputsView(
        outputs=[views.output_view(outpoint, output) for outpoint, output in chosen], height=Decimal(service.height),
        next=None if last is None else f"{last.txid.hex()}{last.index:08x}", complete=last is None and not ask.after,
    )


def transactions_of(service: NodeService, ask: methods.GetTransactionsOf) -> shapes.TransactionRefs:
    """Answer `transactions_of`."""
    before = None
    if ask.before:
        if len(ask.before) != 24 or int(ask.before[:16], 16) > MAX_INT:
            raise Refused(Reason.BAD_ARGUMENT, "`before` is the `next` of the list before")
        before = Location(Height(int(ask.before[:16], 16)), int(ask.before[16:], 16))
    found = service.transactions_of(address_from(ask.address), ask.limit, before)
    last = found[-1] if len(found) == ask.limit else None
    return shapes.TransactionRefs(
        transactions=[
            shapes.TransactionRef(txid=one.txid.hex(), height=Decimal(one.height), index=one.index) for one in found
        ],
        next=None if last is None else f"{last.height:016x}{last.index:08x}",
        complete=last is None and not ask.before,
    )


async def proof(service: NodeService, ask: methods.GetProof) -> shapes.ProofView:
    """Answer `proof`."""
    height, made = await service.prove(bytes.fromhex(ask.key), height_from(ask.height))
    return shapes.ProofView(height=Decimal(height), key=ask.key, proof=encode(made))


def headers(service: NodeService, ask: methods.GetHeaders) -> shapes.HeadersView:
    """Answer `headers`."""
    first = _block_height(service, ask.first)
    count = min(ask.limit, max(1, service.height - first + 1))
    return shapes.HeadersView(
        first=Decimal(first),
        headers=[encode(service.header(Height(height))) for height in range(first, first + count)],
    )


def from_state(service: NodeService, method: methods.Method, ask: Any) -> Any:
    """Answer a question that the state alone decides: at its height, if it names one, else at the last."""
    # The height of `validators` is that of a vote: who votes stands in the present state.
    voted = isinstance(ask, methods.GetValidators)
    height = None if voted else height_from(getattr(ask, "height", LATEST))
    reader = service.reader(height)
    answer = STATE_ANSWERS[method.name](reader, service.height if height is None else height, ask, service.genesis)
    if isinstance(answer, shapes.AccountView):
        address = address_from(answer.address)
        return msgspec.structs.replace(answer, pending_nonce=Decimal(service.next_nonce(address)))
    return answer


Answer = Callable[[NodeService, Any], Any]

_SYNCHRONOUS: Final[tuple[Answer, ...]] = (
    status, genesis, peers, mempool, block, body, header, headers, commit, light_block, simulate,
    report_evidence, transaction, receipt, outputs, transactions_of, state_history, transaction_status,
)
ANSWERS: Final[dict[str, Answer]] = {function.__name__: function for function in _SYNCHRONOUS}


async def answer(service: NodeService, method: methods.Method, ask: Any) -> Any:
    """Return the answer to a question. Raises Refused."""
    if isinstance(ask, methods.Submit):
        return await submit(service, ask)
    if isinstance(ask, methods.GetProof):
        return await proof(service, ask)
    if method.name in STATE_ANSWERS:
        return from_state(service, method, ask)
    return ANSWERS[method.name](service, ask)
