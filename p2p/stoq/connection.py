"""One QUIC connection between two nodes: its streams, their credits, and how it ends.

Streams:
    0              both ways: the control stream, opened by the dialer (Hello, Proof, Credit)
    2, 6, 10, 14   from the dialer: CONSENSUS, TRANSACTIONS, SYNC, GOSSIP
    3, 7, 11, 15   from the listener: the same
Nothing may come on any other stream, and no stream ends before the connection does.
"""

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from crypto.errors import Reason, Refused
from p2p.config import Limits
from p2p.network import Channel
from p2p.stalls import Unfinished
from p2p.stoq.channel import CREDIT, Inbox, Outbox, framed
from p2p.stoq.codes import MAX_TEXT, code_of, reason_of
from p2p.stoq.control import MAX_CONTROL_FRAME, ControlMessage, Credit, Hello, Proof, control_codec
from p2p.stoq.cores import Address, Closed, Core
from p2p.stoq.tls import ALPN
from state.encoding import encode

CONTROL: Final = 0
BACKLOG: Final = 1 << 17
"""Bytes of one stream that QUIC holds unsent: little, so that a vote never queues behind them."""
CHUNK: Final = 1 << 15
_URGENT: Final = (Channel.CONSENSUS, Channel.SYNC, Channel.GOSSIP, Channel.TRANSACTIONS)
"""Who is asked first for bytes to send."""
_TLS_ALERTS: Final = range(0x100, 0x200)


class Carrier(Protocol):
    """The endpoint, as its connections see it."""

    def wake(self, connection: "Connection", urgent: bool = False) -> None:
        """Send what the connection has to send: at the end of this scheduler pass, or if `urgent` now."""
        ...

    def route(self, connection_id: bytes, connection: "Connection", retired: bool) -> None:
        """Direct datagrams with this id to the connection, or no longer."""
        ...


class Receiver(Protocol):
    """Who gets the frames of an authenticated connection."""

    def on_frame(self, channel: Channel, payload: bytes) -> bool:
        """Take a frame, or return False: it is kept, and with it all that follow, until `next_payload` asks."""
        ...


class Connection:
    """A live connection. `gone` is set when it has ended, for the reason in `ended`.

    Args:
        core: its QUIC state.
        address: the other side.
        carrier: the endpoint.
        limits: sizes of the queues.
        now: trio's clock, seconds.
    """

    def __init__(self, core: Core, address: Address, carrier: Carrier, limits: Limits, now: float) -> None:
        self.core = core
        self.address = address
        self.inbound = not core.is_client
        self.opened_at = now
        self.handshaken = trio.Event()
        self.gone = trio.Event()
        self.established = False
        """True from the end of the TLS handshake to the end of the connection."""
        self.waiting = False
        """True if a queue holds bytes."""
        self.ended = (Reason.CONNECTION_LOST, "")
        self.ended_here = False
        self.deadline = math.inf
        self.last_sent = now
        self.bytes_sent = self.bytes_received = 0
        self.ids: set[bytes] = set()
        self._carrier = carrier
        self._channels_allowed = False
        self._receivers: tuple[Receiver, ...] = ()
        self._held: dict[Channel, bytes] = {}
        self._room = trio.Event()
        self._wanting = 0  # senders that wait for room
        self._room_below = {Channel.SYNC: limits.sync_queue // 2, Channel.GOSSIP: limits.gossip_queue // 2}
        self._hellos_in, self._hellos = trio.open_memory_channel[Hello | Proof](2)
        capacities = {
            Channel.CONSENSUS: limits.consensus_queue, Channel.TRANSACTIONS: limits.transactions_queue,
            Channel.SYNC: limits.sync_queue, Channel.GOSSIP: limits.gossip_queue,
        }
        out_bit, in_bit = (3, 2) if self.inbound else (2, 3)
        self._control = Outbox(1 << 20, 1 << 62)
        self._boxes = {channel: Outbox(capacities[channel], CREDIT) for channel in _URGENT}
        self._streams = {channel: _stream(channel, out_bit) for channel in Channel}
        self._outgoing = [(CONTROL, self._control)] + [(self._streams[c], self._boxes[c]) for c in _URGENT]
        self._inboxes = {channel: Inbox() for channel in Channel}
        self._control_in = Inbox(MAX_CONTROL_FRAME)
        self._incoming = {_stream(channel, in_bit): channel for channel in Channel}

    # ---- for the owner of the connection

    def say(self, message: ControlMessage) -> None:
        """Send on the control stream."""
        self._control.offer(framed(encode(message)))
        self.waiting = True
        self._carrier.wake(self)

    async def hear(self) -> Hello | Proof:
        """Wait for the other side's next Hello or Proof.

        Raises:
            Refused: the reason for which the connection ended.
        """
        try:
            return await self._hellos.receive()
        except trio.EndOfChannel:
            raise Refused(*self.ended) from None

    def allow_channels(self) -> None:
        """The other side may now send on channels: it has our Proof, or will have it first.

        Raises:
            Refused: the reason for which the connection ended, while we signed for example.
        """
        if self.gone.is_set():
            raise Refused(*self.ended)
        self._channels_allowed = True
        for channel in Channel:  # both cores want the streams of one kind opened in rising order
            self.core.send(self._streams[channel], b"")

    def open(self, receiver: Receiver) -> None:
        """The other side is authenticated: hand over what it has sent and will send. Nothing, if it is gone."""
        if self.gone.is_set():
            return
        self._receivers = (receiver,)
        for channel in Channel:
            self._guarded(self._deliver, channel)

    def offer(self, channel: Channel, frame: bytes, urgent: bool = True) -> bool:
        """Queue a frame (made by `framed`) without waiting; False if the queue is full or the connection is gone.

        A frame that is not `urgent` waits for those that follow it in the same scheduler pass.
        """
        if self.gone.is_set() or not self._boxes[channel].offer(frame):
            return False
        self.waiting = True
        self._carrier.wake(self, urgent)
        return True

    async def send(self, channel: Channel, frame: bytes, urgent: bool = True) -> None:
        """Queue a frame, waiting for room.

        Raises:
            Refused: the reason for which the connection ended.
        """
        while not self.offer(channel, frame, urgent):
            if self.gone.is_set():
                raise Refused(*self.ended)
            self._wanting += 1
            try:
                await self._room.wait()
            finally:
                self._wanting -= 1

    def next_payload(self, channel: Channel) -> bytes | None:
        """Return the frame that the receiver did not take, then those after it; None resumes direct delivery."""
        payload = self._held.get(channel)
        if payload is not None:
            self._held[channel] = b""
        if payload:
            return payload
        following: list[bytes] = []

        def pop() -> None:
            found = self._inboxes[channel].pop()
            if found is not None:
                following.append(found)

        self._guarded(pop)
        if not following:
            self._held.pop(channel, None)
            return None
        return following[0]

    def unfinished(self) -> dict[Channel, Unfinished]:
        """Return the frames that the peer has begun and not ended, of channels that do not wait for the node."""
        return {
            channel: Unfinished(inbox.popped, inbox.size)
            for channel, inbox in self._inboxes.items() if inbox.size and channel not in self._held
        }

    def taken(self, channel: Channel, size: int) -> None:
        """The node has taken a payload of `size` bytes: let the peer send more."""
        limit = self._inboxes[channel].taken(size)
        if limit is not None and not self.gone.is_set():
            self.say(Credit(channel, limit))

    def fail(self, reason: Reason, detail: str) -> None:
        """End the connection with a named reason; the other side gets it too."""
        if not self.gone.is_set():
            self.ended_here = True
            self.core.close(code_of(reason), detail[:MAX_TEXT])
            self._finish(reason, detail)
            self._carrier.wake(self)

    def lose(self, detail: str) -> None:
        """Note that the connection is gone without a word to the other side."""
        if not self.gone.is_set():
            self._finish(Reason.CONNECTION_LOST, detail)

    # ---- for the endpoint

    def process(self) -> None:
        """Take what the core has for us. Whatever a peer's bytes break ends this connection alone."""
        self._guarded(self.core.drain, self)
        closed = self.core.closed
        if closed is not None and not self.gone.is_set():
            self._finish(*_meaning(closed))

    def fill(self) -> bool:
        """Hand waiting bytes to QUIC; return whether some could not be handed over for lack of room."""
        if not self.waiting or self.gone.is_set():
            return False
        starved = waiting = False
        for stream_id, box in self._outgoing:
            if box.waiting:
                room = BACKLOG - self.core.backlog(stream_id)
                while room > 0 and (data := box.take(min(room, CHUNK))):
                    self.core.send(stream_id, data)
                    room -= len(data)
                    if not box.waiting:
                        break
                if box.waiting:
                    waiting = True
                    starved = starved or room <= 0
        self.waiting = waiting
        if self._wanting and not self._room.is_set() and self._has_room():
            self._room.set()
            self._room = trio.Event()
        return starved

    # ---- Sink

    def on_handshake(self, alpn: str | None) -> None:
        """See Sink."""
        if alpn != ALPN:
            raise Refused(Reason.HANDSHAKE_FAILED, "the peer does not speak STOQ")
        self.established = not self.gone.is_set()
        self.handshaken.set()

    def on_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """See Sink."""
        if self.gone.is_set():
            return
        if end:
            raise Refused(Reason.PROTOCOL_VIOLATION, f"stream {stream_id} ended")
        if stream_id == CONTROL:
            self._hear_control(data)
            return
        channel = self._incoming.get(stream_id)
        if channel is None or not self._channels_allowed:
            raise Refused(Reason.PROTOCOL_VIOLATION, f"nothing may come on stream {stream_id} now")
        inbox = self._inboxes[channel]
        payload = inbox.whole(data) if self._receivers and channel not in self._held else None
        if payload is None:
            inbox.feed(data)
            self._deliver(channel)
        else:
            self._hand_over(channel, payload)

    def on_reset(self, stream_id: int) -> None:
        """See Sink."""
        raise Refused(Reason.PROTOCOL_VIOLATION, f"stream {stream_id} was reset")

    def on_id(self, connection_id: bytes, retired: bool) -> None:
        """See Sink."""
        self._carrier.route(connection_id, self, retired)

    # ---- inside

    def _has_room(self) -> bool:
        """Whether one of the channels whose senders wait is half empty."""
        return any(self._boxes[channel].waiting < below for channel, below in self._room_below.items())

    def _hear_control(self, data: bytes) -> None:
        self._control_in.feed(data)
        while (payload := self._control_in.pop()) is not None:
            self._control_in.taken(len(payload))  # the control stream has no credit of its own: it is read at once
            message = control_codec.decode(payload)
            if isinstance(message, Credit):
                if not self._channels_allowed:
                    raise Refused(Reason.PROTOCOL_VIOLATION, "a credit before authentication")
                self._boxes[Channel(message.channel)].grant(message.limit)
                continue
            try:
                self._hellos_in.send_nowait(message)
            except (trio.WouldBlock, trio.ClosedResourceError):
                raise Refused(Reason.PROTOCOL_VIOLATION, "more greetings than there are") from None

    def _deliver(self, channel: Channel) -> None:
        while self._receivers and channel not in self._held:
            payload = self._inboxes[channel].pop()
            if payload is None:
                break
            self._hand_over(channel, payload)

    def _hand_over(self, channel: Channel, payload: bytes) -> None:
        for receiver in self._receivers:
            if not receiver.on_frame(channel, payload):
                self._held[channel] = payload
            elif channel is not Channel.SYNC:  # a request or a part of an answer counts when it is used up
                self.taken(channel, len(payload))

    def _guarded(self, call: Callable[..., None], *args: object) -> None:
        try:
            call(*args)
        except Refused as refusal:
            self.fail(refusal.reason, refusal.detail)
        except Exception as error:
            self.fail(Reason.PROTOCOL_VIOLATION, f"{type(error).__name__}: {error}")

    def _finish(self, reason: Reason, detail: str) -> None:
        self.ended = (reason, detail)
        self.established = False
        self.gone.set()
        self.handshaken.set()
        self._hellos_in.close()
        self._room.set()
        self._receivers = ()  # it holds us, too: only a garbage collection would free both
        for box in self._boxes.values():
            box.clear()
        for inbox in self._inboxes.values():
            inbox.clear()


def _stream(channel: Channel, bits: int) -> int:
    return (channel - 1) * 4 + bits


def _meaning(closed: Closed) -> tuple[Reason, str]:
    if not closed.application and closed.code in _TLS_ALERTS:
        return Reason.HANDSHAKE_FAILED, f"TLS alert {closed.code - 0x100}: {closed.text}"
    return reason_of(closed.code, closed.application), closed.text
