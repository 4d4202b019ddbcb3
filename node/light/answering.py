"""Questions of the API, answered with proofs: live through a light client, or from a recorded answer.

One table says how each question is proven: by records of the state, by a receipt's way to its block's header, or by a
header itself. What is in no row cannot be proven, and is refused by name.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from consensus.light import LightBlock, skip
from consensus.types import Header
from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.methods import BY_ASK, Ask
from node.api.state_answers import height_from, txid_from
from node.api.text import LATEST, Decimal
from node.light.answer import (
    LightAnswer,
    ProvenRecord,
    ReceiptEvidence,
    Verified,
    check_receipt,
    height_of_state,
    sides,
)
from node.light.client import LightClient
from node.light.lineage import History
from node.light.listing import fetch_block, fetch_body, listed_of, prove_outputs
from node.light.proving import MissingRecord, Outcome, evaluate, evaluation, has_proof, prove
from node.light.source import drive
from state.encoding import encode
from state.genesis import Genesis
from state.genesis_json import genesis_to_json
from state.proof import StateProof
from state.receipt import Receipt, receipt_codec
from state.transaction import Decoded, OutPoint, decode_transaction
from state.types import Height, TxId

ATTEMPTS: Final = 3
"""How often the newest state is tried: a node proves only its last few heights, and the chain goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that was proven.

    Attributes:
        outcome: the API's answer or refusal.
        header: what the proofs are against.
        proofs: of the records that it follows from, by raw key.
        receipts: the receipt that it is, if it is one.
        has_file: whether `record` can put it into a file with all that proves it.
    """

    outcome: Outcome
    header: Header
    proofs: Mapping[bytes, StateProof]
    receipts: tuple[ReceiptEvidence, ...]
    has_file: bool = True


class ProvenAnswers:
    """Answers questions through a light client.

    Args:
        client: follows the chain.
        genesis: the document that the chain id names, canonical bytes.
    """

    def __init__(self, client: LightClient, genesis: Genesis) -> None:
        self.client = client
        self.genesis = genesis

    async def answer(self, ask: Ask[Any]) -> Answered:
        """Return a proven answer.

        Raises:
            Refused: NOT_VERIFIABLE if nothing can prove one; those of `LightClient.update` and `prove`.
        """
        if has_proof(ask):
            return await self._from_state(ask)
        form = _FORMS.get(type(ask))
        if form is None:
            raise not_verifiable(ask)
        return await form(self, ask)

    def summary(self, answered: Answered) -> Verified:
        """Return what a live answer was verified by. The records that it follows from are left out."""
        signed = self.client.signed_above(answered.header.height)
        age = self.client.around.clock() - signed.header.time
        return Verified(answered.header, {}, None, signed, age, self.client.steps)

    async def record(self, answered: Answered) -> LightAnswer:
        """Return an answer with all that leads to it from the oldest trusted block on.

        Raises:
            Refused: NOT_VERIFIABLE for whole blocks and lists; those of `LightClient.headers_down_to`.
        """
        if not answered.has_file:
            raise Refused(
                Reason.NOT_VERIFIABLE, "a file proves one record, receipt or header: export the entries one by one"
            )
        first, target = self.client.oldest, answered.header.height
        blocks: tuple[LightBlock, ...] = (first,)
        if target == first.height:
            headers: tuple[Header, ...] = (first.header,)
        elif target < first.height:
            headers = await self.client.headers_between(target, first.header)
        else:
            headers = await self.client.headers_down_to(target)
            now, params = self.client.around.clock(), self.client.params
            way = skip(first, headers[0].height, now, params, self.client.around.verifier)
            blocks += await drive(way, self.client.light_block)
        return LightAnswer(
            genesis=encode(self.genesis), blocks=blocks, earlier=headers[1:],
            records=tuple(ProvenRecord(key, proof) for key, proof in sorted(answered.proofs.items())),
            receipts=answered.receipts,
        )

    async def _from_state(self, ask: Ask[Any]) -> Answered:
        wanted = _state_height(ask)
        if wanted is not None:
            return await self._at(ask, await self._header_above(wanted))
        for attempt in range(ATTEMPTS):
            header = (await self.client.update()).header
            try:
                return await self._at(ask, header)
            except Refused as refused:
                if refused.reason is not Reason.NOT_AVAILABLE or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _header_above(self, height: Height) -> Header:
        """Return the header that names the state after a block. Raises Refused."""
        try:
            return await self.client.header(Height(height + 1))
        except Refused as refused:
            if refused.reason is not Reason.NOT_AVAILABLE:
                raise
            raise Refused(
                Reason.NOT_AVAILABLE, f"the state after block {height} cannot be proven yet, since block {height + 1} "
                f"names it: {refused.detail}",
            ) from None

    async def _at(self, ask: Ask[Any], header: Header) -> Answered:
        function = evaluation(ask, height_of_state(header), self.genesis)
        proven = await prove(self.client.primary, header, function)
        return Answered(proven.outcome, header, proven.proofs, ())


def not_verifiable(ask: Ask[Any]) -> Refused:
    """Return the refusal of a question that nothing can prove an answer to."""
    name = BY_ASK[type(ask)].name
    why = _UNPROVABLE.get(name, "no block commits to it")
    return Refused(Reason.NOT_VERIFIABLE, f"{name} cannot be verified: {why}; ask a node that you trust")


_UNPROVABLE: Final = {
    "peers": "only the node itself knows", "mempool": "only the node itself knows",
    "simulate": "the node runs it, and no block does", "report_evidence": "it is handed in, not asked",
}


def _state_height(ask: Ask[Any]) -> Height | None:
    """Return the height of the state that is asked about, None for the newest."""
    return None if isinstance(ask, methods.GetValidators) else height_from(getattr(ask, "height", LATEST))


# ---- what does not follow from records


async def _receipt(answers: ProvenAnswers, ask: methods.GetReceipt) -> Answered:
    source = answers.client.primary
    answer = await source.ask(ask)
    receipt = receipt_codec.decode(answer.raw)
    if receipt.txid != txid_from(ask.txid):
        raise Refused(Reason.BAD_PROOF, f"{source.url} sent the receipt of another transaction; ask another node")
    header = await answers.client.header(Height(receipt.height + 1))
    evidence = ReceiptEvidence(answer.raw, sides(receipt.index, answer.proof_size, answer.proof_path))
    try:
        check_receipt(evidence, header)
    except Refused as refused:
        detail = f"{source.url} sent a wrong receipt: {refused.detail}; ask another node"
        raise Refused(refused.reason, detail) from None
    view = shapes.ReceiptAnswer(
        receipt=views.receipt_view(receipt), raw=encode(receipt), proof_size=answer.proof_size,
        proof_path=answer.proof_path,
    )
    return Answered(Outcome(view, None), header, {}, (evidence,))


async def _block(answers: ProvenAnswers, ask: Any) -> Answered:
    wanted = height_from(ask.height)
    client = answers.client
    if wanted is None:
        block = await client.update()
    elif isinstance(ask, methods.GetHeader):
        header = await client.header(wanted)
        return Answered(Outcome(views.header_view(header), None), header, {}, ())
    else:
        block = await client.light_block(wanted)
    return Answered(Outcome(_block_view(ask, block), None), block.header, {}, ())


def _block_view(ask: Ask[Any], block: LightBlock) -> Any:
    if isinstance(ask, methods.GetHeader):
        return views.header_view(block.header)
    if isinstance(ask, methods.GetCommit):
        return views.commit_view(block.commit)
    return shapes.LightBlockView(height=Decimal(block.height), light_block=encode(block))


async def _headers(answers: ProvenAnswers, ask: methods.GetHeaders) -> Answered:
    newest = (await answers.client.update()).height
    first = height_from(ask.first) or newest
    last = await answers.client.header(Height(min(newest, first + ask.limit - 1)))
    falling = (last,) if last.height <= first else await answers.client.headers_between(first, last)
    rising = falling[::-1]
    view = shapes.HeadersView(first=Decimal(first), headers=[encode(header) for header in rising])
    return Answered(Outcome(view, None), last, {}, ())


async def _whole_block(answers: ProvenAnswers, ask: methods.GetBlock) -> Answered:
    wanted = height_from(ask.height)
    block = await answers.client.update() if wanted is None else await answers.client.light_block(wanted)
    view, _ = await fetch_block(answers.client.primary, block)
    return Answered(Outcome(view, None), block.header, {}, (), has_file=False)


async def _body(answers: ProvenAnswers, ask: methods.GetBody) -> Answered:
    wanted = height_from(ask.height)
    block = await answers.client.update() if wanted is None else await answers.client.light_block(wanted)
    body = await fetch_body(answers.client.primary, block)
    view = shapes.BodyView(
        height=Decimal(block.height), transactions=[one.raw for one in body.transactions],
        evidence=encode(body.evidence),
    )
    return Answered(Outcome(view, None), block.header, {}, (), has_file=False)


async def _outputs(answers: ProvenAnswers, ask: methods.GetOutputs) -> Answered:
    header = (await answers.client.update()).header
    view, proofs = await prove_outputs(answers.client.primary, header, ask, answers.genesis)
    return Answered(Outcome(view, None), header, proofs, (), has_file=False)


async def _transactions_of(answers: ProvenAnswers, ask: methods.GetTransactionsOf) -> Answered:
    source = answers.client.primary
    listed = await source.ask(ask)
    newest = (await answers.client.update()).header
    proven: list[tuple[Decoded, Receipt]] = []
    for ref in listed.transactions[: ask.limit]:
        if ref.height >= newest.height:
            continue  # its receipt stands in a header that is yet to come
        question = methods.GetReceipt(txid=ref.txid)
        receipt = receipt_codec.decode((await answers.answer(question)).outcome.unwrap().raw)
        decoded = decode_transaction((await source.ask(methods.GetTransaction(txid=ref.txid))).raw)
        if decoded.wtxid != receipt.wtxid:
            raise Refused(Reason.BAD_PROOF, f"{source.url} sent another transaction; ask another node")
        proven.append((decoded, receipt))
    return Answered(Outcome(listed_of(ask, proven, listed.next), None), newest, {}, (), has_file=False)


async def _state_history(answers: ProvenAnswers, ask: methods.GetStateHistory) -> Answered:
    source, header = answers.client.primary, (await answers.client.update()).header
    height = height_of_state(header)

    async def receipt(txid: TxId) -> Receipt:
        answered = await answers.answer(methods.GetReceipt(txid=txid.hex()))
        return receipt_codec.decode(answered.outcome.unwrap().raw)

    async def is_unspent(outpoint: OutPoint) -> bool:
        question = methods.GetOutput(txid=outpoint.txid.hex(), index=outpoint.index)
        refused = (await prove(source, header, evaluation(question, height, answers.genesis))).outcome.refused
        if refused is not None and refused.reason is not Reason.OUTPUT_NOT_FOUND:
            raise refused
        return refused is None

    view = await History(source, header, receipt, is_unspent).prove(ask)
    return Answered(Outcome(view, None), header, {}, (), has_file=False)


async def _genesis(answers: ProvenAnswers, ask: methods.GetGenesis) -> Answered:
    newest = answers.client.newest.header
    document = msgspec.json.decode(genesis_to_json(answers.genesis))
    view = shapes.GenesisView(chain_id=newest.chain_id.hex(), document=document, raw=encode(answers.genesis))
    return Answered(Outcome(view, None), newest, {}, ())


Form = Callable[[ProvenAnswers, Any], Awaitable[Answered]]

_FORMS: Final[Mapping[type[Ask[Any]], Form]] = {
    methods.GetReceipt: _receipt, methods.GetHeader: _block, methods.GetCommit: _block, methods.GetLightBlock: _block,
    methods.GetHeaders: _headers, methods.GetGenesis: _genesis, methods.GetBlock: _whole_block, methods.GetBody: _body,
    methods.GetOutputs: _outputs, methods.GetTransactionsOf: _transactions_of, methods.GetStateHistory: _state_history,
}
"""Questions that are proven by something else than records of the state."""


# ---- from a file


def recorded_outcome(ask: Ask[Any], verified: Verified, genesis: Genesis) -> Outcome:
    """Return what a recorded and verified answer says to a question; of a receipt, its view alone.

    Raises:
        Refused: MALFORMED if it answers another question, or holds more than its answer; WRONG_HEIGHT.
    """
    if isinstance(ask, methods.GetReceipt):
        receipt = verified.receipt
        if receipt is None or receipt.txid != txid_from(ask.txid) or verified.values:
            raise Refused(Reason.MALFORMED, "the file answers another question")
        return Outcome(views.receipt_view(receipt), None)
    if verified.receipt is not None:
        raise Refused(Reason.MALFORMED, "the file answers another question")
    if isinstance(ask, methods.GetHeader):
        if verified.values or height_from(ask.height) not in (None, verified.header.height):
            raise Refused(Reason.MALFORMED, "the file answers another question")
        return Outcome(views.header_view(verified.header), None)
    height = height_of_state(verified.header)
    if _state_height(ask) not in (None, height):
        raise Refused(Reason.WRONG_HEIGHT, f"the file tells of the state after block {height}")
    try:
        outcome, read = evaluate(evaluation(ask, height, genesis), verified.values)
    except MissingRecord:
        raise Refused(Reason.MALFORMED, "the file answers another question") from None
    if read != set(verified.values):
        raise Refused(Reason.MALFORMED, "the file holds more than its answer follows from")
    return outcome
