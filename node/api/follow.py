"""The websocket `/ws`: subscriptions that read the committed chain block by block.

A subscription is a place in the chain, not a queue: its task sends what the next block holds, waits until the socket
took it, and goes on. So a slow reader costs no memory and misses nothing, and every subscriber sees the same order.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import msgspec
import trio
from starlette.websockets import WebSocket, WebSocketDisconnect

from crypto.address import decode_address
from crypto.errors import Reason, Refused
from node.api import views
from node.api.shapes import ErrorDetail
from node.api.stream import (
    BlockEvent,
    Command,
    Failure,
    Message,
    Subscribe,
    Subscribed,
    TransactionEvent,
    Unsubscribed,
)
from node.api.text import Decimal, from_json, to_json
from node.events import BlockCommitted
from node.service import NodeService
from state.receipt import Receipt
from state.transaction import decode_transaction
from state.types import Height

MAX_SUBSCRIPTIONS: Final = 16
"""On one socket."""
MAX_SOCKETS: Final = 64


class Feed(Protocol):
    """Where subscriptions read the chain."""

    @property
    def height(self) -> Height:
        """The last block that there is."""
        ...

    async def above(self, height: int) -> None:
        """Wait until there is a block above this height."""
        ...

    def events_of(self, subscription: Subscribe, height: Height) -> AsyncIterator[BlockEvent | TransactionEvent]:
        """Yield what a subscription is told of one block, in order. Raises Refused."""
        ...

    def counted(self) -> AbstractAsyncContextManager[None]:
        """Count a socket. Raises Refused(TOO_MANY_CONNECTIONS)."""
        ...


class Sockets:
    """Counts open websockets."""

    def __init__(self) -> None:
        self.sockets = 0

    @asynccontextmanager
    async def counted(self) -> AsyncIterator[None]:
        """Count a socket. Raises Refused(TOO_MANY_CONNECTIONS)."""
        if self.sockets >= MAX_SOCKETS:
            raise Refused(Reason.TOO_MANY_CONNECTIONS, f"at most {MAX_SOCKETS} websockets at a time")
        self.sockets += 1
        try:
            yield
        finally:
            self.sockets -= 1


class Heights(Sockets):
    """A node's `Feed`. Wakes tasks when a block was committed. `run` must be running."""

    def __init__(self, service: NodeService) -> None:
        super().__init__()
        self._service = service
        self._event = trio.Event()

    @property
    def height(self) -> Height:
        """The last committed height."""
        return self._service.height

    async def run(self) -> None:
        """Follow the node's feed for ever."""
        while True:
            with self._service.feed.subscribe() as events:
                self._wake()  # a block may have come while nobody listened
                try:
                    async for event in events:
                        if isinstance(event, BlockCommitted):
                            self._wake()
                except Refused:
                    continue  # the feed let us go because we were slow: the heights are in the store

    def _wake(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def above(self, height: int) -> None:
        """Wait until a block above this height is committed."""
        while self._service.height <= height:
            await self._event.wait()

    async def events_of(
        self, subscription: Subscribe, height: Height
    ) -> AsyncIterator[BlockEvent | TransactionEvent]:
        """See `events_of`."""
        for event in events_of(self._service, subscription, height):
            yield event


class Follower:
    """One websocket: reads commands, keeps subscriptions, and lets one task write."""

    def __init__(self, feed: Feed, socket: WebSocket) -> None:
        self._feed = feed
        self._socket = socket
        self._scopes: dict[str, trio.CancelScope] = {}
        self._outbox, self._unsent = trio.open_memory_channel[Message](0)

    async def run(self) -> None:
        """Serve the socket until the client leaves."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            try:
                while True:
                    await self._obey(await _text(self._socket), nursery)
            except WebSocketDisconnect:
                nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        async for message in self._unsent:
            await self._socket.send_text(to_json(message).decode())

    async def _obey(self, text: str, nursery: trio.Nursery) -> None:
        command: Any = None
        try:
            command = _command(text)
            if isinstance(command, Subscribe):
                start = self._start_of(command)
                scope = self._scopes[command.id] = trio.CancelScope()
                await self._outbox.send(Subscribed(id=command.id, from_height=Decimal(start)))
                nursery.start_soon(self._follow, command, start, scope)
            else:
                self._scopes.pop(command.id, trio.CancelScope()).cancel()
                await self._outbox.send(Unsubscribed(id=command.id))
        except Refused as refused:
            await self._outbox.send(_failure("" if command is None else command.id, refused))

    def _start_of(self, command: Subscribe) -> int:
        if command.id in self._scopes:
            raise Refused(Reason.CONFLICT, f"there is a subscription {command.id!r} already")
        if len(self._scopes) >= MAX_SUBSCRIPTIONS:
            raise Refused(Reason.TOO_MANY_CONNECTIONS, f"at most {MAX_SUBSCRIPTIONS} subscriptions on one socket")
        if command.address is not None:
            decode_address(command.address)
        following = self._feed.height + 1
        start = following if command.from_height is None else max(1, int(command.from_height))
        if start > following:
            raise Refused(Reason.NOT_AVAILABLE, f"block {start} is not there yet; the next is {following}")
        return start

    async def _follow(self, command: Subscribe, start: int, scope: trio.CancelScope) -> None:
        height = start
        with scope:
            try:
                while True:
                    await self._feed.above(height - 1)
                    async for event in self._feed.events_of(command, Height(height)):
                        await self._outbox.send(event)
                    height += 1
            except Refused as refused:
                self._scopes.pop(command.id, None)
                await self._outbox.send(_failure(command.id, refused))


def events_of(service: NodeService, subscription: Subscribe, height: Height) -> Iterator[BlockEvent | TransactionEvent]:
    """Yield what a subscription is told of one committed block, in order. Raises Refused(NOT_AVAILABLE)."""
    store = service.chain.store
    if subscription.topic != "transactions":
        row = store.block_row(height)
        yield BlockEvent(
            id=subscription.id, height=Decimal(height), index=0, header=views.header_view(service.header(height)),
            transactions=row.transactions, events=views.event_views(row.events),
        )
    if subscription.topic == "blocks":
        return
    receipts = store.receipts(height)
    raws = store.block(height).transactions if subscription.address is not None else ()
    for receipt in receipts:
        if passes(subscription, receipt, raws):
            yield TransactionEvent(
                id=subscription.id, height=Decimal(height), index=receipt.index + 1, receipt=views.receipt_view(receipt)
            )


def passes(subscription: Subscribe, receipt: Receipt, raws: Sequence[bytes]) -> bool:
    """Tell whether a filter lets a transaction through, given the wire bytes of its block's transactions."""
    if subscription.event is not None and all(event.name != subscription.event for event in receipt.events):
        return False
    if subscription.address is None:
        return True
    address = decode_address(subscription.address)
    named = {value for event in receipt.events for _, value in event.attributes}
    return (
        subscription.address in named
        or address.hex() in named
        or address in decode_transaction(raws[receipt.index]).signers
    )


async def follow(socket: WebSocket, feed: Feed) -> None:
    """Serve one websocket."""
    try:
        async with feed.counted():
            await socket.accept()
            await Follower(feed, socket).run()
    except Refused as refused:
        await socket.close(code=1013, reason=str(refused))


def _command(text: str) -> Any:
    try:
        return from_json(text.encode(), Command)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, f"no command: {error}") from None


async def _text(socket: WebSocket) -> str:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    return message.get("text") or ""


def _failure(identity: str, refused: Refused) -> Failure:
    return Failure(id=identity, error=ErrorDetail(reason=refused.reason.value, detail=refused.detail))
