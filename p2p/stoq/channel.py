"""Framed streams with back-pressure: what waits to leave, and what has arrived and is not yet taken.

A stream carries frames one after another: four bytes of length (big-endian), then 1 .. MAX_FRAME bytes.

QUIC's own flow control cannot hold a peer back here: both cores open their windows when bytes *arrive*. So every
channel has a credit above QUIC: the number of stream bytes that its sender may have sent in total. It rises as the
receiver's node takes frames. A peer that sends more than its credit breaks the protocol; so no peer can make us hold
more than CREDIT bytes a channel.
"""

import struct
from collections import deque
from typing import Final

from crypto.errors import Reason, Refused
from state.encoding import MAX_FRAME

CREDIT: Final = 3 << 20
"""Bytes that a sender may be ahead of its receiver's node, on each channel."""
CREDIT_STEP: Final = 1 << 19
"""The credit is raised in steps of so many taken bytes."""
assert CREDIT - CREDIT_STEP > MAX_FRAME + 4, "a whole frame must always fit, or it could never be taken"

_HEADER: Final = struct.Struct(">I")


def framed(payload: bytes, header: bytes = b"") -> bytes:
    """Return the frame of a payload, or of a header and a payload.

    Raises:
        Refused: TOO_LARGE, also for an empty payload.
    """
    size = len(header) + len(payload)
    if not 0 < size <= MAX_FRAME:
        raise Refused(Reason.TOO_LARGE, f"a frame holds 1 to {MAX_FRAME} bytes, not {size}")
    return b"".join((_HEADER.pack(size), header, payload))


class Outbox:
    """Frames that wait to leave on one stream.

    Args:
        capacity: bytes that may wait.
        credit: stream bytes that may leave before the peer grants more.
    """

    def __init__(self, capacity: int, credit: int) -> None:
        self._capacity = capacity
        self._credit = credit
        self._frames: deque[bytes] = deque()
        self._start = 0  # how much of the first frame has left
        self._sent = 0
        self.waiting = 0
        """Bytes not handed to QUIC yet."""

    def offer(self, frame: bytes) -> bool:
        """Take a frame made by `framed`, or return False if there is no room. An empty outbox takes any frame."""
        if self.waiting and self.waiting + len(frame) > self._capacity:
            return False
        self._frames.append(frame)
        self.waiting += len(frame)
        return True

    def grant(self, credit: int) -> None:
        """Raise the total of bytes that may leave.

        Raises:
            Refused: PROTOCOL_VIOLATION if it falls.
        """
        if credit < self._credit:
            raise Refused(Reason.PROTOCOL_VIOLATION, "a credit fell")
        self._credit = credit

    def take(self, room: int) -> bytes:
        """Remove and return the next bytes of the stream, at most `room` and at most the credit."""
        room = min(room, self._credit - self._sent)
        if not self._start and len(self._frames) == 1 and len(self._frames[0]) <= room:  # nearly always
            frame = self._frames.popleft()
            self.waiting -= len(frame)
            self._sent += len(frame)
            return frame
        parts: list[bytes | memoryview] = []
        size = 0
        while self._frames and size < room:
            frame = self._frames[0]
            end = min(len(frame), self._start + room - size)
            parts.append(frame if end - self._start == len(frame) else memoryview(frame)[self._start : end])
            size += end - self._start
            if end == len(frame):
                self._frames.popleft()
                self._start = 0
            else:
                self._start = end
        self.waiting -= size
        self._sent += size
        return b"".join(parts)

    def clear(self) -> None:
        """Forget what waits: there is nobody to send it to."""
        self._frames.clear()
        self._start = self.waiting = 0


class Inbox:
    """Bytes of one stream that have arrived. They stay bytes until the node takes the next frame.

    Args:
        max_frame: cap of one payload in bytes.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.popped = 0
        """Frames that came in pieces and are whole."""
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._received = 0
        self._taken = 0
        self._granted = CREDIT

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes off the stream.

        Raises:
            Refused: PROTOCOL_VIOLATION if the peer sent more than its credit.
        """
        self._count(len(data))
        self._buffer += data

    def whole(self, data: bytes) -> bytes | None:
        """Take bytes off the stream if they are one frame and nothing waits before it, as with most small frames.

        Returns:
            The payload, or None if `feed` and `pop` have to do it: nothing has been taken then.
        """
        size = len(data) - 4
        if self._buffer or not 0 < size <= self._max_frame or _HEADER.unpack_from(data)[0] != size:
            return None
        self._count(size + 4)
        return data[4:]

    def pop(self) -> bytes | None:
        """Return the next whole payload, or None.

        Raises:
            Refused: PROTOCOL_VIOLATION if a frame is empty or over the cap.
        """
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        (size,) = _HEADER.unpack_from(buffer)
        if not 0 < size <= self._max_frame:
            raise Refused(Reason.PROTOCOL_VIOLATION, f"a frame of {size} bytes, at most {self._max_frame}")
        if len(buffer) < size + 4:
            return None
        payload = bytes(memoryview(buffer)[4 : size + 4])
        del buffer[: size + 4]
        self.popped += 1
        return payload

    def taken(self, payload_size: int) -> int | None:
        """Note that the node has taken a payload; return the new credit if it is time to announce it."""
        self._taken += payload_size + 4
        if self._taken + CREDIT - self._granted < CREDIT_STEP:
            return None
        self._granted = self._taken + CREDIT
        return self._granted

    def clear(self) -> None:
        """Forget what is here and was not taken: its sender is gone, and would otherwise still hold our memory."""
        self._buffer = bytearray()

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > self._granted:
            raise Refused(Reason.PROTOCOL_VIOLATION, "more bytes than the credit allows")
