"""Reading whole blocks from a node: its events over the websocket, its bodies over HTTP.

A subscription that begins at a height gives every block from there on, old ones as fast as they are taken.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from crypto.errors import Reason, Refused
from node.api.methods import GetBody, GetGenesis, GetStatus
from node.api.shapes import Status
from node.api.stream import BlockEvent, Subscribe, TransactionEvent
from node.api.text import Decimal
from node.client import AsyncClient, EventStream
from node.indexer.apply import IndexedBlock, read_block
from state.genesis import Genesis, decode_genesis, genesis_hash
from state.types import ChainId

Take = Callable[[IndexedBlock], Awaitable[None]]
"""Is given each block in order and returns once the next may come."""
QUIET: Final = 30.0
"""Seconds without an event after which the node is asked whether it is still there."""
AWAY: Final = frozenset({
    Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.CONNECTION_LOST, Reason.CLOSING, Reason.JOINING, Reason.RATE_LIMITED,
    Reason.TOO_MANY_CONNECTIONS, Reason.SLOW_READER,
})
"""Why a node does not answer now though it may later."""


class BlockSource:
    """One node, as the indexer reads it.

    Args:
        client: of its API.
        quiet: seconds without an event after which the node is asked whether it is still there.
    """

    def __init__(self, client: AsyncClient, quiet: float = QUIET) -> None:
        self._client = client
        self._quiet = quiet

    @property
    def url(self) -> str:
        """The node's URL."""
        return self._client.url

    async def status(self) -> Status:
        """Return how the node is doing. Raises Refused: one of AWAY, PROTOCOL_VIOLATION."""
        return await self._client.ask(GetStatus())

    async def genesis(self, chain_id: str) -> Genesis:
        """Return the chain's first document.

        Raises:
            Refused: one of AWAY; BAD_GENESIS, or GENESIS_MISMATCH if it is not that of the chain.
        """
        genesis = decode_genesis((await self._client.ask(GetGenesis())).raw)
        if genesis_hash(genesis).hex() != chain_id:
            raise Refused(Reason.GENESIS_MISMATCH, f"the genesis document of {self.url} is not that of its chain")
        return genesis

    async def read(self, first: int, take: Take) -> None:
        """Read blocks from a height on until the connection ends, which is a refusal.

        Args:
            first: the height of the first block.
            take: is given each.

        Raises:
            Refused: one of AWAY, also while the node has not come as far; NOT_AVAILABLE if it keeps the blocks no more;
                PROTOCOL_VIOLATION; those of `take`.
        """
        subscription = Subscribe(id="indexer", topic="all", from_height=Decimal(first))
        height = first
        try:
            async with self._client.events(subscription) as events:
                while True:
                    block = await self._block(events, height)
                    await take(block)
                    height += 1
        except Refused as refused:
            if refused.reason is Reason.NOT_AVAILABLE:
                raise await self._missing(height) from None
            raise

    async def _block(self, events: EventStream, height: int) -> IndexedBlock:
        """Return the block that the stream tells of next."""
        told = await self._next(events, height)
        if not isinstance(told, BlockEvent) or int(told.height) != height:
            raise Refused(Reason.PROTOCOL_VIOLATION, f"{self.url} told of something else than block {height}")
        if not told.transactions:
            return read_block(told, (), ())
        body = await self._client.ask(GetBody(height=str(height)))
        transactions: list[TransactionEvent] = []
        while len(transactions) < told.transactions:
            event = await self._next(events, height)
            if not isinstance(event, TransactionEvent) or int(event.height) != height:
                raise Refused(Reason.PROTOCOL_VIOLATION, f"{self.url} leaves out transactions of block {height}")
            transactions.append(event)
        return read_block(told, transactions, body.transactions)

    async def _next(self, events: EventStream, height: int) -> BlockEvent | TransactionEvent:
        """Return the next event. A silent node is asked over HTTP: a lost connection may never say so."""
        while True:
            with trio.move_on_after(self._quiet):
                return await anext(events)
            if int((await self.status()).height) >= height:
                raise Refused(Reason.TIMED_OUT, f"{self.url} has block {height} and does not send it")

    async def _missing(self, height: int) -> Refused:
        """Return why a node does not have a block."""
        now = await self.status()
        if int(now.height) < height:
            return Refused(Reason.JOINING, f"{self.url} is at height {now.height}, before block {height}")
        return Refused(
            Reason.NOT_AVAILABLE, f"{self.url} does not keep block {height} any more, which the database needs next: "
            "follow a node that keeps all blocks (keep_blocks = 0, not joined by a snapshot) until it caught up",
        )


def chain_id_of(status: Status) -> ChainId:
    """Return the chain that a node follows."""
    return ChainId(bytes.fromhex(status.chain_id))
