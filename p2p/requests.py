"""Requests and answers over the SYNC channel.

A frame is a kind byte, a request id (four bytes, big-endian, of the asker's choosing) and a body:

    1 ASK      the request
    2 PART     one frame of the answer
    3 END      the answer is complete
    4 REFUSE   [reason, detail] instead of the rest
    5 CANCEL   the asker no longer wants it
    6 LAST     a PART and END in one
    7 MEET     a request that the network answers itself (see `p2p.exchange`), not the node

Each side may have a fixed number of requests open with the other; answers may interleave.
"""

import math
import struct
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from enum import IntEnum
from typing import Annotated, Final

import trio
from msgspec import Meta

from crypto.errors import Reason, Refused
from p2p.network import Channel
from p2p.stoq.channel import framed
from p2p.stoq.connection import Connection
from state.encoding import MAX_FRAME, Codec, Record, encode

_HEADER: Final = struct.Struct(">BI")
MAX_PAYLOAD: Final = MAX_FRAME - _HEADER.size
"""Cap in bytes of a request and of one frame of an answer."""
MAX_WAITING_PARTS: Final = 4096
"""Frames of one answer that may wait for the asker."""
MAX_CANCELLED: Final = 256
"""Requests of one peer that it took back and the node has not let go of yet. An asker that gives up is not slowed down;
one that asks and cancels without pause, so that no limit on open requests is ever reached, loses the connection."""


class _Kind(IntEnum):
    ASK = 1
    PART = 2
    END = 3
    REFUSE = 4
    CANCEL = 5
    LAST = 6
    MEET = 7


class Refusal(Record, frozen=True):
    """Body of REFUSE."""

    reason: Annotated[str, Meta(max_length=64)]
    detail: Annotated[str, Meta(max_length=512)]


_refusal_codec: Final = Codec(Refusal, 2048)


def _frame(kind: _Kind, request_id: int, body: bytes = b"") -> bytes:
    return framed(body, _HEADER.pack(kind, request_id))


class _Question:
    """One of our requests that is not answered yet."""

    def __init__(self) -> None:
        self.parts: deque[bytes] = deque()
        self.news = trio.Event()
        self.deadline = math.inf
        """When it is given up; infinite while nobody waits."""
        self.outcome: tuple[Refused | None, ...] = ()
        """Empty while open; then (None,) for END or the refusal."""

    def settle(self, outcome: Refused | None) -> None:
        if not self.outcome:
            self.outcome = (outcome,)
        self.news.set()


class RequestReply:
    """Our answer to one request of the peer. See `p2p.network.Reply`.

    The latest frame is held until the next one or the end is known: so the end travels within the last frame, and an
    answer of one frame, which most are, is one message.
    """

    def __init__(self, connection: Connection, request_id: int, close: Callable[["RequestReply"], bool]) -> None:
        self.request_id = request_id
        self._connection = connection
        self._close = close
        self._open = True
        self._latest = b""
        """The payload that is held; empty for none."""

    @property
    def wanted(self) -> bool:
        """See `Reply`."""
        return self._open and not self._connection.gone.is_set()

    async def send(self, payload: bytes) -> None:
        """Add one frame to the answer; waits while the peer is slow.

        Raises:
            Refused: TOO_LARGE; CONNECTION_LOST if the peer has gone or no longer wants the answer.
        """
        if not 0 < len(payload) <= MAX_PAYLOAD:
            raise Refused(Reason.TOO_LARGE, f"an answer's frame holds 1 to {MAX_PAYLOAD} bytes, not {len(payload)}")
        if not self.wanted:
            raise Refused(Reason.CONNECTION_LOST, "the peer does not wait for this answer any more")
        if self._latest:
            await self._release()
        self._latest = payload

    async def end(self) -> None:
        """Finish the answer. Does nothing if it is finished or no longer wanted."""
        latest, self._latest = self._latest, b""
        await self._finish(
            _frame(_Kind.LAST, self.request_id, latest) if latest else _frame(_Kind.END, self.request_id)
        )

    async def refuse(self, reason: Reason, detail: str) -> None:
        """Finish with a named refusal. Does nothing if the answer is finished or no longer wanted."""
        with suppress(Refused):  # the peer goes while we wait for room: there is nobody left to tell
            if self.wanted:
                await self._release()
            await self._finish(_frame(_Kind.REFUSE, self.request_id, encode(Refusal(reason.value, detail[:512]))))

    def cancel(self) -> None:
        """The peer gave up."""
        self._open = False

    async def _release(self) -> None:
        latest, self._latest = self._latest, b""
        if latest:
            await self._connection.send(Channel.SYNC, _frame(_Kind.PART, self.request_id, latest), urgent=False)

    async def _finish(self, frame: bytes) -> None:
        connection = self._connection
        try:
            if self.wanted and not connection.offer(Channel.SYNC, frame):
                await connection.send(Channel.SYNC, frame)
        finally:
            if self._close(self):
                self._open = False


class Requests:
    """All open requests of one connection, both ways.

    Args:
        connection: authenticated.
        most: how many each side may have open.
        on_ask: takes the peer's requests; must not wait.
        on_meet: takes those for the network itself; must not wait.
    """

    def __init__(
        self, connection: Connection, most: int, on_ask: Callable[[bytes, RequestReply], None],
        on_meet: Callable[[bytes, RequestReply], None],
    ) -> None:
        self._connection = connection
        self._most = most
        self._on_ask = on_ask
        self._on_meet = on_meet
        self._slots = trio.Semaphore(most)
        self._next = 0
        self._questions: dict[int, _Question] = {}
        self._replies: dict[int, RequestReply] = {}
        self._cancelled: set[RequestReply] = set()
        self._alarm = math.inf
        """When `watch` wakes."""
        self._watch = trio.CancelScope()

    async def ask(self, payload: bytes, timeout: float, *, meet: bool = False) -> AsyncGenerator[bytes, None]:
        """Send a request and yield the frames of its answer.

        Args:
            payload: at most MAX_PAYLOAD bytes.
            timeout: seconds without a frame.
            meet: the peer's network shall answer, not its node.

        Raises:
            Refused: TIMED_OUT, CONNECTION_LOST, TOO_LARGE, or the peer's own reason.
        """
        if not 0 < len(payload) <= MAX_PAYLOAD:
            raise Refused(Reason.TOO_LARGE, f"a request holds 1 to {MAX_PAYLOAD} bytes, not {len(payload)}")
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slot(timeout)
        self._next = request_id = (self._next + 1) & 0xFFFF_FFFF
        question = self._questions[request_id] = _Question()
        try:
            frame = _frame(_Kind.MEET if meet else _Kind.ASK, request_id, payload)
            if not self._connection.offer(Channel.SYNC, frame) and not self._connection.gone.is_set():
                with trio.move_on_after(timeout):
                    await self._connection.send(Channel.SYNC, frame)
            parts = question.parts
            while True:
                if not parts and not question.outcome:
                    await self._news(question, timeout)
                if not parts:
                    break
                part = parts.popleft()
                self._used(len(part))
                yield part
            if question.outcome[0] is not None:
                raise question.outcome[0]
        finally:
            self._abandon(request_id, question)

    async def watch(self) -> None:
        """Give up the questions whose time is over, until cancelled.

        One task and one deadline for all of them: it moves only when a question is due earlier than it, not with
        every answer.
        """
        while True:
            self._alarm = min((question.deadline for question in self._questions.values()), default=math.inf)
            with trio.CancelScope(deadline=self._alarm) as self._watch:
                await trio.sleep_forever()
            now = trio.current_time()
            for question in self._questions.values():
                if question.deadline <= now:
                    question.deadline = math.inf
                    question.news.set()

    def on_frame(self, payload: bytes) -> None:
        """Take a SYNC frame.

        Raises:
            Refused: PROTOCOL_VIOLATION, MALFORMED.
        """
        if len(payload) < _HEADER.size:
            raise Refused(Reason.PROTOCOL_VIOLATION, "a SYNC frame is too short")
        kind, request_id = _HEADER.unpack_from(payload)
        if kind == _Kind.ASK or kind == _Kind.MEET:
            self._asked(request_id, payload[_HEADER.size :], self._on_ask if kind == _Kind.ASK else self._on_meet)
            return
        question = self._questions.get(request_id)
        if (kind == _Kind.PART or kind == _Kind.LAST) and question is not None and not question.outcome:
            question.parts.append(payload[_HEADER.size :])
            if kind == _Kind.LAST:
                question.outcome = (None,)
            elif len(question.parts) > MAX_WAITING_PARTS:
                question.outcome = (Refused(Reason.TOO_LARGE, "too many frames of the answer wait"),)
            question.news.set()
            return
        self._connection.taken(Channel.SYNC, len(payload))
        if kind == _Kind.END and question is not None:
            question.settle(None)
        elif kind == _Kind.REFUSE and question is not None:
            question.settle(_refused(payload[_HEADER.size :]))
        elif kind == _Kind.CANCEL:
            reply = self._replies.pop(request_id, None)
            if reply is not None:
                reply.cancel()
                self._cancelled.add(reply)
                if len(self._cancelled) > MAX_CANCELLED:
                    raise Refused(Reason.PROTOCOL_VIOLATION, "requests are taken back faster than they are let go of")
        elif kind not in (_Kind.PART, _Kind.END, _Kind.REFUSE, _Kind.LAST):
            raise Refused(Reason.PROTOCOL_VIOLATION, f"a SYNC frame of kind {kind}")

    def taken(self, payload: bytes) -> None:
        """The node has taken a request."""
        self._used(len(payload))

    def close(self) -> None:
        """The connection is gone: every open question fails."""
        refusal = Refused(Reason.CONNECTION_LOST, self._connection.ended[1] or "the connection ended")
        for question in self._questions.values():
            question.settle(refusal)
        for reply in self._replies.values():
            reply.cancel()
        self._replies.clear()
        self._cancelled.clear()
        self._on_ask = self._on_meet = _to_nobody  # who takes them holds us: only a garbage collection would free both

    def _used(self, size: int) -> None:
        self._connection.taken(Channel.SYNC, size + _HEADER.size)

    def _asked(self, request_id: int, body: bytes, take: Callable[[bytes, RequestReply], None]) -> None:
        if request_id in self._replies or len(self._replies) >= self._most or not body:
            raise Refused(Reason.PROTOCOL_VIOLATION, "an empty request, one too many, or an id in use")
        reply = self._replies[request_id] = RequestReply(self._connection, request_id, self._answered)
        take(body, reply)

    def _answered(self, reply: RequestReply) -> bool:
        self._cancelled.discard(reply)
        if self._replies.get(reply.request_id) is not reply:
            return False
        del self._replies[reply.request_id]
        return True

    async def _slot(self, timeout: float) -> None:
        with trio.move_on_after(timeout) as waiting:
            await self._slots.acquire()
        if waiting.cancelled_caught:
            raise Refused(Reason.TIMED_OUT, f"no request slot for {timeout} s")

    async def _news(self, question: _Question, timeout: float) -> None:
        """Wait until the question has a part or an outcome."""
        if self._connection.gone.is_set():
            raise Refused(Reason.CONNECTION_LOST, self._connection.ended[1] or "the connection ended")
        if question.news.is_set():
            question.news = trio.Event()
        question.deadline = deadline = trio.current_time() + timeout
        if deadline < self._alarm:
            self._watch.deadline = self._alarm = deadline
        await question.news.wait()
        question.deadline = math.inf
        if not question.parts and not question.outcome:
            raise Refused(Reason.TIMED_OUT, f"no frame of the answer for {timeout} s")

    def _abandon(self, request_id: int, question: _Question) -> None:
        del self._questions[request_id]
        self._slots.release()
        for part in question.parts:
            self._used(len(part))
        if not question.outcome and not self._connection.gone.is_set():
            self._connection.offer(Channel.SYNC, _frame(_Kind.CANCEL, request_id))


def _to_nobody(_payload: bytes, _reply: RequestReply) -> None:
    """Takes what can no longer come."""


def _refused(body: bytes) -> Refused:
    refusal = _refusal_codec.decode(body)
    try:
        return Refused(Reason(refusal.reason), refusal.detail)
    except ValueError:
        return Refused(Reason.PEER_REFUSED, f"{refusal.reason}: {refusal.detail}")
