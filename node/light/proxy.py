"""The API on this machine, with verified answers: whatever speaks to a node can speak to this instead.

Binds to ::1 alone. What cannot be verified is refused by name (NOT_VERIFIABLE); transactions are handed on, and called
committed when their receipt was proven. `/ws` tells of blocks and transactions once they are proven.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import trio
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from apps.chain.records import load
from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.app import application
from node.api.follow import follow
from node.api.methods import Ask, Method
from node.api.server import bind_socket, serve_application
from node.api.state_answers import txid_from
from node.api.text import Decimal
from node.light.answering import ProvenAnswers
from node.light.feed import LightFeed
from node.light.proving import fetch_proof, prove
from state.encoding import encode
from state.proof import verify_state_proof
from state.transaction import Decoded, decode_transaction
from state.types import Height, TxId

DEFAULT_PORT: Final = 8900
HOST: Final = "::1"
_NOBODY: Final = bytes(32).hex()
_MAY_COMMIT: Final = ("", Reason.ALREADY_KNOWN.value, Reason.ALREADY_COMMITTED.value)
_PATIENCE: Final = 0.3
"""Seconds between looks for a receipt."""


class LightApi:
    """Answers every question of the API's table that can be proven.

    Args:
        answers: a light client.

    Attributes:
        feed: what subscriptions are told.
    """

    def __init__(self, answers: ProvenAnswers) -> None:
        self.feed = LightFeed(answers)
        self._answers = answers
        self._client = answers.client
        self._started_at = answers.client.around.clock()
        self._behind = False

    async def asked(self, method: Method, ask: Any) -> Any:
        """Answer one question. Raises Refused: NOT_VERIFIABLE, or what is wrong with what the node says."""
        form = _FORMS.get(type(ask))
        if form is not None:
            return await form(self, ask)
        return (await self._answers.answer(ask)).outcome.unwrap()

    def health(self) -> shapes.Health:
        """Return how the light client is doing: ready while its last look succeeded."""
        return shapes.Health(ready=not self._behind, height=Decimal(self._client.newest.height - 1))

    async def follow(self, every: float) -> None:
        """Look for a new header again and again, so that the trust stays young. Ends with Refused(FORKED) only."""
        told = ""
        while True:
            trouble = ""
            try:
                await self._client.update()
            except Refused as refused:
                if refused.reason is Reason.FORKED:
                    raise
                trouble = str(refused)
            self._behind = bool(trouble)
            self.feed.wake()
            news = trouble or self._client.warning
            if news and news != told:
                self._client.around.tell(f"warning: {news}")
            told = news
            await trio.sleep(every)

    # ---- what has a form of its own

    async def status(self, ask: methods.GetStatus) -> shapes.Status:
        """Answer `status`: of the state that can be proven, that after the block below the newest trusted header."""
        newest = (await self._client.update()).header
        below = newest if newest.height == 1 else await self._client.header(Height(newest.height - 1))
        proven = await prove(self._client.primary, newest, lambda reader: load(reader).difficulty)
        return shapes.Status(
            chain_id=newest.chain_id.hex(), chain_name=self._answers.genesis.name, moniker="light client",
            node_id=_NOBODY, version=views.VERSION, protocol_version=newest.version,
            height=Decimal(newest.height - 1), best_height=Decimal(newest.height), block_id=newest.previous.hex(),
            block_time=Decimal(below.time), state_root=newest.state_root.hex(), round=0, step="LIGHT",
            catching_up=self._behind, seconds_left=0, validator=None, voting_power=Decimal(0),
            peers=1 + len(self._client.around.witnesses), external_address="", mempool_transactions=0,
            mempool_bytes=Decimal(0),
            started_at=Decimal(self._started_at), difficulty=proven.outcome.unwrap(),
        )

    async def proof(self, ask: methods.GetProof) -> shapes.ProofView:
        """Answer `proof`, checked."""
        header = (await self._client.update()).header
        if ask.height.isdecimal():
            header = await self._client.header(Height(int(ask.height) + 1))
        height, key = Height(header.height - 1), bytes.fromhex(ask.key)
        proof = await fetch_proof(self._client.primary, key, height)
        verify_state_proof(header.state_root, key, proof)
        return shapes.ProofView(height=Decimal(height), key=ask.key, proof=encode(proof))

    async def transaction(self, ask: methods.GetTransaction) -> shapes.TransactionView:
        """Answer `transaction`: the bytes prove themselves by their id; the place is proven by the receipt."""
        source = self._client.primary
        found = await source.ask(ask)
        decoded = decode_transaction(found.raw)
        if decoded.txid != txid_from(ask.txid):
            raise Refused(Reason.BAD_PROOF, f"{source.url} sent another transaction; ask another node")
        if found.height is None:
            return views.transaction_view(decoded, None)
        receipt = await self._receipt(decoded)
        return views.transaction_view(decoded, (Height(receipt.height), receipt.index))

    async def _receipt(self, decoded: Decoded) -> shapes.ReceiptView:
        answered = await self._answers.answer(methods.GetReceipt(txid=decoded.txid.hex()))
        receipt: shapes.ReceiptView = answered.outcome.unwrap().receipt
        if receipt.wtxid != decoded.wtxid.hex():
            raise Refused(Reason.BAD_PROOF, "the block holds this transaction with other witnesses")
        return receipt

    async def submit(self, ask: methods.Submit) -> shapes.Submitted:
        """Answer `submit`: hand on to the primary; then, if asked to, wait until each receipt is proven."""
        source = self._client.primary
        answer = await source.ask(msgspec.structs.replace(ask, wait="accepted"))
        if len(answer.results) != len(ask.transactions):
            raise Refused(Reason.PROTOCOL_VIOLATION, f"{source.url} answers for another number of transactions")
        results = []
        deadline = trio.current_time() + ask.timeout / 1000
        for raw, result in zip(ask.transactions, answer.results, strict=True):
            if result.reason in _MAY_COMMIT:
                txid = decode_transaction(raw).txid
                result = shapes.Submission(txid=txid.hex(), reason=result.reason, detail=result.detail)
                if ask.wait == "committed":
                    result = await self._settled(txid, deadline)
            results.append(result)
        return shapes.Submitted(results=results)

    async def _settled(self, txid: TxId, deadline: float) -> shapes.Submission:
        while trio.current_time() < deadline:
            try:
                answered = await self._answers.answer(methods.GetReceipt(txid=txid.hex()))
                receipt = answered.outcome.unwrap().receipt
                return shapes.Submission(txid=txid.hex(), reason="", detail="", receipt=receipt)
            except Refused as refused:
                if refused.reason is not Reason.NOT_AVAILABLE:
                    raise
            await trio.sleep(_PATIENCE)
        return shapes.Submission(
            txid=txid.hex(), reason=Reason.TIMED_OUT.value, detail="no receipt is proven yet; it may still come"
        )


Form = Callable[[LightApi, Any], Awaitable[Any]]

_FORMS: Final[Mapping[type[Ask[Any]], Form]] = {
    methods.GetStatus: LightApi.status, methods.GetProof: LightApi.proof,
    methods.GetTransaction: LightApi.transaction, methods.Submit: LightApi.submit,
}


async def serve_light(
    answers: ProvenAnswers, port: int, every: float, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Follow the chain and serve the API on ::1 until cancelled.

    Args:
        answers: a light client.
        port: TCP port, 0 for any free one; the one in use is reported as started.
        every: seconds between looks for a new header.
        task_status: trio's.

    Raises:
        Refused: PORT_IN_USE; FORKED if a fork is found.
    """
    listener = bind_socket(HOST, port)
    api = LightApi(answers)
    async with trio.open_nursery() as nursery:
        async def socket(websocket: WebSocket) -> None:
            await follow(websocket, api.feed)

        app = application(api.asked, api.health, [WebSocketRoute("/ws", socket)])
        bound = await nursery.start(serve_application, app, listener)
        answers.client.around.tell(
            f"verified answers for {answers.genesis.name} at http://[{HOST}]:{bound}, from block "
            f"{answers.client.newest.height} on"
        )
        task_status.started(bound)
        await api.follow(every)
