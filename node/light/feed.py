"""Events of a light client: each block when the header above it is verified, each transaction by its proven receipt.

A block's transactions are all there: its header commits to them, and the header above to their receipts. Events of the
block itself, such as the distribution of fees, are in no root; here they are always empty.
"""

from collections.abc import AsyncIterator

import trio

from crypto.errors import Reason, Refused
from node.api import methods, views
from node.api.follow import Sockets, passes
from node.api.stream import BlockEvent, Subscribe, TransactionEvent
from node.api.text import Decimal
from node.light.answering import ProvenAnswers
from node.light.listing import fetch_body
from state.receipt import receipt_codec
from state.types import Height


class LightFeed(Sockets):
    """A light client's `node.api.follow.Feed`.

    Args:
        answers: prove.
    """

    def __init__(self, answers: ProvenAnswers) -> None:
        super().__init__()
        self._answers = answers
        self._event = trio.Event()

    def wake(self) -> None:
        """Look again: there may be a new header."""
        self._event.set()
        self._event = trio.Event()

    @property
    def height(self) -> Height:
        """The last block whose receipts can be proven: the one below the newest verified header."""
        return Height(self._answers.client.newest.height - 1)

    async def above(self, height: int) -> None:
        """Wait until there is a block above this height."""
        while self.height <= height:
            await self._event.wait()

    async def events_of(
        self, subscription: Subscribe, height: Height
    ) -> AsyncIterator[BlockEvent | TransactionEvent]:
        """Yield what a subscription is told of one block. Raises Refused: BAD_PROOF, and what the primary refuses."""
        client = self._answers.client
        block = await client.light_block(height)
        body = await fetch_body(client.primary, block)
        if subscription.topic != "transactions":
            yield BlockEvent(
                id=subscription.id, height=Decimal(height), index=0, header=views.header_view(block.header),
                transactions=len(body.transactions), events=[],
            )
        if subscription.topic == "blocks":
            return
        raws = [one.raw for one in body.transactions]
        for index, decoded in enumerate(body.transactions):
            answered = await self._answers.answer(methods.GetReceipt(txid=decoded.txid.hex()))
            receipt = receipt_codec.decode(answered.outcome.unwrap().raw)
            if (receipt.height, receipt.index, receipt.wtxid) != (height, index, decoded.wtxid):
                raise Refused(Reason.BAD_PROOF, "the receipt is of another place in the chain; ask another node")
            if passes(subscription, receipt, raws):
                yield TransactionEvent(
                    id=subscription.id, height=Decimal(height), index=index + 1, receipt=views.receipt_view(receipt)
                )
