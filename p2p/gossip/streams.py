"""Many streams over the one GOSSIP channel of a STOQ connection: libp2p's IMuxedConn and IMuxedStream.

A frame is a kind byte, a stream id (four bytes, big-endian; odd ones are opened by the dialer) and a body:

    0 RECORD   the sender's SignedRecord; id 0; first, once
    1 OPEN     a new stream
    2 DATA     bytes of a stream
    3 END      the sender writes no more
    4 RESET    the stream is gone, both ways
    5 CREDIT   four bytes, big-endian: so many more bytes may be sent
    6 STOP     the sender reads no more

Each stream begins with a credit of WINDOW bytes each way, so a slow reader holds at most that much of our memory.
Frames of a stream that is gone are dropped: they crossed its end on their way.
"""

import struct
from collections.abc import Awaitable, Callable
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamReset,
)
from multiaddr import Multiaddr

from crypto.errors import Reason, Refused
from p2p.network import Link

WINDOW: Final = 1 << 18
"""Bytes of one stream that may be under way."""
CHUNK: Final = 1 << 15
"""Bytes of one DATA frame at most: a large message lets the others between."""
MAX_STREAMS: Final = 128
"""Streams of one peer that are open at a time, of those that it opened."""
_HEADER: Final = struct.Struct(">BI")
_CREDIT: Final = struct.Struct(">I")


class Kind(IntEnum):
    """Of a frame."""

    RECORD = 0
    OPEN = 1
    DATA = 2
    END = 3
    RESET = 4
    CREDIT = 5
    STOP = 6


def frame_of(kind: Kind, stream_id: int = 0, body: bytes | memoryview = b"") -> bytes:
    """Return a frame's payload."""
    return _HEADER.pack(kind, stream_id) + body


def split_frame(payload: bytes) -> tuple[Kind, int, bytes]:
    """Return kind, stream id and body. Raises Refused(PROTOCOL_VIOLATION)."""
    if len(payload) < _HEADER.size or payload[0] not in Kind._value2member_map_:
        raise Refused(Reason.PROTOCOL_VIOLATION, "a GOSSIP frame is too short, or of no known kind")
    kind, stream_id = _HEADER.unpack_from(payload)
    return Kind(kind), stream_id, payload[_HEADER.size :]


class StoqStream(IMuxedStream):
    """One stream. Its exceptions are those that libp2p's NetStream sorts by type; it must see no others."""

    def __init__(self, conn: "StoqConnection", stream_id: int) -> None:
        self.muxed_conn = conn
        self.stream_id = stream_id
        self._conn = conn
        self._buffer = bytearray()
        self._received = self._granted = 0
        self._unannounced = 0
        self._credit = WINDOW
        self._changed = trio.Event()
        self._ended = self._reset = self._closed = False
        self._deadline = float("inf")

    async def read(self, n: int | None = None) -> bytes:
        """Return the next bytes, at most `n`. Raises MuxedStreamEOF, MuxedStreamReset."""
        while not self._buffer:
            if self._reset:
                raise MuxedStreamReset("the stream was reset")
            if self._ended:
                raise MuxedStreamEOF("the stream ended")
            await self._wait()
        data = bytes(self._buffer[:n])
        del self._buffer[: len(data)]
        self._unannounced += len(data)
        if self._unannounced >= WINDOW // 2 and not self._ended:
            self._granted += self._unannounced
            await self._conn.send(Kind.CREDIT, self.stream_id, _CREDIT.pack(self._unannounced))
            self._unannounced = 0
        else:
            await trio.lowlevel.checkpoint()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting for credit and room. Raises MuxedStreamClosed, MuxedStreamReset."""
        rest = memoryview(data)
        while rest:
            if self._reset:
                raise MuxedStreamReset("the stream was reset")
            if self._closed:
                raise MuxedStreamClosed("the stream is closed for writing")
            if not self._credit:
                await self._wait()
                continue
            part = rest[: min(self._credit, CHUNK)]
            rest = rest[len(part) :]
            self._credit -= len(part)
            await self._conn.send(Kind.DATA, self.stream_id, part)

    async def close_write(self) -> None:
        """Write no more."""
        if not self._closed and not self._reset:
            self._closed = True
            await self._conn.send(Kind.END, self.stream_id)
            self._conn.settle(self)

    async def close(self) -> None:
        """Write no more and read no more."""
        await self.close_write()
        if not self._ended and not self._reset:
            self._ended = True
            await self._conn.send(Kind.STOP, self.stream_id)
        self._conn.settle(self)

    async def reset(self) -> None:
        """End both ways at once; what is under way is lost."""
        if not self._reset:
            self.lose()
            await self._conn.send(Kind.RESET, self.stream_id)

    def set_deadline(self, ttl: int) -> None:
        """Let reads and writes fail with MuxedStreamReset from so many seconds on. Raises ValueError."""
        if ttl < 0:
            raise ValueError("a deadline is not negative")
        self._deadline = trio.current_time() + ttl

    def get_remote_address(self) -> tuple[str, int]:
        """Return host and port of the peer."""
        return self._conn.get_remote_address()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    # ---- for the connection

    @property
    def over(self) -> bool:
        """Nothing can come or go any more."""
        return self._reset or (self._ended and self._closed)

    def feed(self, kind: Kind, body: bytes) -> None:
        """Take a frame. Raises Refused(PROTOCOL_VIOLATION)."""
        if kind is Kind.DATA:
            self._received += len(body)
            if self._received > WINDOW + self._granted:
                raise Refused(Reason.PROTOCOL_VIOLATION, "more bytes on a stream than its credit allows")
            if not self._ended:
                self._buffer += body
        elif kind is Kind.END:
            self._ended = True
        elif kind is Kind.STOP:
            self._closed = True
        elif kind is Kind.CREDIT and len(body) == _CREDIT.size:
            self._credit = min(self._credit + _CREDIT.unpack(body)[0], WINDOW)
        else:
            raise Refused(Reason.PROTOCOL_VIOLATION, "a malformed credit, or a second opening")
        self._wake()

    def lose(self) -> None:
        """The stream is gone."""
        self._reset = True
        self._buffer.clear()
        self._conn.settle(self)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait(self) -> None:
        changed = self._changed
        with trio.move_on_at(self._deadline) as scope:
            await changed.wait()
        if scope.cancelled_caught:
            await self.reset()
            raise MuxedStreamReset("the deadline has passed")


class StoqConnection(IMuxedConn):
    """A live STOQ connection, as libp2p's swarm wants it.

    `swarm`, `remove_stream` and `on_close` are written by the swarm (libp2p 0.8.1, SwarmConn.__init__).

    Args:
        link: the STOQ connection; authenticated.
        peer_id: libp2p's name of the peer, which its record binds to its node id.
    """

    on_close: Callable[[], Awaitable[None]]

    def __init__(self, link: Link, peer_id: ID) -> None:
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.registered = trio.Event()
        """Set when the swarm knows it."""
        self.finished = trio.Event()
        """Set when the swarm has let go of it."""
        self.link = link
        self.on_close = self._nothing
        self._streams: dict[int, StoqStream] = {}
        self._next_id = 2 if link.inbound else 1
        self._accept_in, self._accept = trio.open_memory_channel[StoqStream](MAX_STREAMS)

    @property
    def is_initiator(self) -> bool:
        """We dialled."""
        return not self.link.inbound

    @property
    def is_established(self) -> bool:
        """It lives: STOQ hands over no other."""
        return not self.is_closed

    @property
    def is_closed(self) -> bool:
        """It is gone."""
        return self.link.gone.is_set()

    async def start(self) -> None:
        """Say that it may be used, and tell the swarm when it is gone."""
        self.event_started.set()
        await self.link.gone.wait()
        self._accept_in.close()
        for stream in list(self._streams.values()):
            stream.lose()
        with trio.CancelScope(shield=True):
            await self.on_close()

    async def open_stream(self) -> StoqStream:
        """Open a stream. Raises MuxedConnUnavailable."""
        if self.is_closed:
            raise MuxedConnUnavailable("the connection is gone")
        stream = StoqStream(self, self._next_id)
        self._streams[self._next_id] = stream
        self._next_id += 2
        await self.send(Kind.OPEN, stream.stream_id)
        return stream

    async def accept_stream(self) -> StoqStream:
        """Wait for a stream that the peer opens. Raises MuxedConnUnavailable."""
        try:
            return await self._accept.receive()
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("the connection is gone") from None

    async def close(self) -> None:
        """Reset its streams. The STOQ connection stays: votes go over it, too."""
        for stream in list(self._streams.values()):
            await stream.reset()

    def get_remote_address(self) -> tuple[str, int]:
        """Return host and port of the peer."""
        return self.link.host, self.link.port

    def get_transport_addresses(self) -> list[Multiaddr]:
        """Return the peer's address."""
        return [Multiaddr(f"/ip6/{self.link.host.partition('%')[0]}/udp/{self.link.port}/quic-v1")]

    def get_connection_type(self) -> ConnectionType:
        """Direct: there are no relays here."""
        return ConnectionType.DIRECT

    async def send(self, kind: Kind, stream_id: int, body: bytes | memoryview = b"") -> None:
        """Queue a frame, waiting for room; once the connection is gone it is dropped, and reads find that out."""
        try:
            await self.link.send(frame_of(kind, stream_id, body))
        except Refused:
            await trio.lowlevel.checkpoint()

    def settle(self, stream: StoqStream) -> None:
        """Forget a stream that is over."""
        if stream.over:
            self._streams.pop(stream.stream_id, None)

    def feed(self, kind: Kind, stream_id: int, body: bytes) -> None:
        """Take a frame of the peer. Raises Refused(PROTOCOL_VIOLATION)."""
        stream = self._streams.get(stream_id)
        if kind is Kind.OPEN:
            self._opened(stream_id)
        elif stream is not None and kind is Kind.RESET:
            stream.lose()
        elif stream is not None:
            stream.feed(kind, body)
            self.settle(stream)

    def _opened(self, stream_id: int) -> None:
        theirs = stream_id % 2 == (1 if self.link.inbound else 0)
        count = sum(number % 2 == stream_id % 2 for number in self._streams)
        if not theirs or not stream_id or stream_id in self._streams or count >= MAX_STREAMS:
            raise Refused(Reason.PROTOCOL_VIOLATION, "a stream id that is taken or not the peer's, or too many streams")
        stream = StoqStream(self, stream_id)
        try:
            self._accept_in.send_nowait(stream)
        except (trio.WouldBlock, trio.ClosedResourceError):
            raise Refused(Reason.PROTOCOL_VIOLATION, "streams are opened faster than they are taken") from None
        self._streams[stream_id] = stream

    async def _nothing(self) -> None:
        """The swarm has not taken it yet."""


