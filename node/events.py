"""What happened on the chain, in order, for whoever listens: the API's websocket, waiting submitters, tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from consensus.types import Header
from crypto.errors import Reason, Refused
from state.receipt import Event, Receipt
from state.types import BlockId, Height, TxId

QUEUE: Final = 64
"""Blocks that one subscriber may be behind."""


@dataclass(frozen=True, slots=True)
class BlockCommitted:
    """A block is final and on disk, with how each of its transactions ended, in order."""

    height: Height
    block_id: BlockId
    header: Header
    receipts: tuple[Receipt, ...]
    events: tuple[Event, ...]
    """Of the block itself."""


class Subscription:
    """One listener's bounded queue. Iterate over it; it ends with Refused(SLOW_READER) if it filled up."""

    def __init__(self, size: int) -> None:
        self._send, self._receive = trio.open_memory_channel[BlockCommitted](size)
        self._overflowed = False

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> BlockCommitted:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._overflowed:
                raise Refused(Reason.SLOW_READER, "the subscriber fell too far behind") from None
            raise StopAsyncIteration from None

    def offer(self, event: BlockCommitted) -> bool:
        """Queue an event; False if there is no room, after which the subscription is closed."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._overflowed = True
            self._send.close()
            return False
        return True

    def close(self) -> None:
        """End the iteration after what is queued."""
        self._send.close()


class EventFeed:
    """Gives every block to every subscription, in order, without waiting for any."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, Subscription] = {}
        self._awaited: dict[TxId, trio.lowlevel.ParkingLot] = {}

    def __len__(self) -> int:
        return len(self._subscriptions)

    @contextmanager
    def subscribe(self, size: int = QUEUE) -> Iterator[Subscription]:
        """Open a subscription for the length of a `with` block; it sees what is published from now on."""
        subscription = Subscription(size)
        self._subscriptions[id(subscription)] = subscription
        try:
            yield subscription
        finally:
            self._subscriptions.pop(id(subscription), None)
            subscription.close()

    @property
    def awaited(self) -> int:
        """How many transactions somebody waits for."""
        return len(self._awaited)

    async def committed(self, txid: TxId) -> None:
        """Wait until a transaction is in a block that is published from now on."""
        lot = self._awaited.setdefault(txid, trio.lowlevel.ParkingLot())
        try:
            await lot.park()
        finally:
            if not lot and self._awaited.get(txid) is lot:
                del self._awaited[txid]

    def publish(self, event: BlockCommitted) -> None:
        """Queue an event with every subscription; let go those without room; wake who waits for a transaction."""
        if self._awaited:
            for receipt in event.receipts:
                waiting = self._awaited.pop(receipt.txid, None)
                if waiting is not None:
                    waiting.unpark_all()
        for key, subscription in tuple(self._subscriptions.items()):
            if not subscription.offer(event):
                del self._subscriptions[key]
