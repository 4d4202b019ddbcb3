"""Catching up: which blocks to ask of whom, and in which order they come out. Pure; the core sends and verifies.

Several peers are asked at once, one run of heights each, within a window above the tip. Blocks leave in order of
height; each is verified by its own commit before it is executed, so it does not matter who sent it, except that
who sent a wrong one is let go.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from p2p.network import PeerId
from p2p.wire import BlockAssembly, GetBlocks, SyncedBlock
from state.types import Height

RUN: Final = 8
"""Blocks in one request."""
WINDOW: Final = 32
"""Heights above the tip that are asked for: bounds the memory that blocks take before their turn."""
PARALLEL: Final = 4
"""Requests at one time."""


@dataclass(slots=True)
class _Running:
    peer_id: PeerId
    expected: Height
    last: Height
    assembly: BlockAssembly = field(default_factory=BlockAssembly)


class CatchUp:
    """The plan of catching up with the peers.

    Attributes:
        seconds_left: until we are in step, at the pace so far; 0 if we are, or if it is not known yet.
    """

    def __init__(self) -> None:
        self._heights: dict[PeerId, Height] = {}
        self._unserved: dict[PeerId, Height] = {}
        self._running: dict[int, _Running] = {}
        self._arrived: dict[Height, tuple[SyncedBlock, PeerId]] = {}
        self._began: tuple[int, Height] = (0, Height(0))
        self.seconds_left = 0

    def advanced(self, tip: Height, now: int) -> None:
        """A block was taken over: see how fast it goes.

        Args:
            tip: our height now.
            now: ms since 1970.
        """
        if tip >= self.best:
            self._began, self.seconds_left = (0, Height(0)), 0
            return
        began, first = self._began
        if not began:
            self._began = (now, tip)
        elif tip > first:
            self.seconds_left = round((now - began) * (self.best - tip) / (tip - first) / 1000)

    @property
    def best(self) -> Height:
        """The highest committed height that a peer speaks of; 0 for none."""
        return max(self._heights.values(), default=Height(0))

    @property
    def unserved(self) -> Height:
        """The highest committed height of a peer that has deleted the block we need next; 0 for none."""
        return max(self._unserved.values(), default=Height(0))

    @property
    def served(self) -> Height:
        """The highest committed height of a peer that may have the block we need next; 0 for none.

        Not `best`: who has deleted that block goes on speaking of its height, and is believed until it is asked again.
        """
        return max((one for peer_id, one in self._heights.items() if not self.has_deleted(peer_id)), default=Height(0))

    def has_deleted(self, peer_id: PeerId) -> bool:
        """Tell whether a peer, when it was asked last, had deleted the block that we needed next."""
        return peer_id in self._unserved

    @property
    def active(self) -> bool:
        """Blocks are on their way."""
        return bool(self._arrived) or any(one.expected <= one.last for one in self._running.values())

    def note(self, peer_id: PeerId, height: Height) -> None:
        """A peer says that it has committed this height."""
        self._heights[peer_id] = height

    def forget(self, peer_id: PeerId) -> None:
        """A peer is gone, or not to be believed: drop its word and its blocks."""
        self._heights.pop(peer_id, None)
        self._unserved.pop(peer_id, None)
        self._arrived = {height: item for height, item in self._arrived.items() if item[1] != peer_id}

    def next_requests(self, tip: Height) -> Iterator[tuple[PeerId, GetBlocks]]:
        """Yield what to ask now, one peer each. Call `started` with the ticket of each before the next."""
        while len(self._running) < PARALLEL:
            busy = {running.peer_id for running in self._running.values()}
            first = self._first_wanted(tip)
            idle = [peer_id for peer_id, height in self._heights.items() if height >= first and peer_id not in busy]
            if first > min(self.best, tip + WINDOW) or not idle:
                return
            peer_id = idle[0]
            last = min(first + RUN - 1, self._heights[peer_id], tip + WINDOW)
            taken = [height for height in self._taken() if height > first]
            last = min(last, *(height - 1 for height in taken)) if taken else last
            yield peer_id, GetBlocks(first, Height(last))

    def started(self, ticket: int, peer_id: PeerId, request: GetBlocks) -> None:
        """A request went out under this ticket."""
        self._running[ticket] = _Running(peer_id, request.first, request.last)

    def is_ours(self, ticket: int) -> bool:
        """Tell whether a ticket names a request for blocks."""
        return ticket in self._running

    def frame(self, ticket: int, frame: bytes) -> SyncedBlock | None:
        """Take a frame of an answer; return a block that is whole with it and was asked for.

        Raises:
            Refused: as `BlockAssembly.feed`.
        """
        running = self._running[ticket]
        synced = running.assembly.feed(frame)
        if synced is not None and running.expected <= synced.block.header.height <= running.last:
            self._arrived[synced.block.header.height] = (synced, running.peer_id)
            running.expected = Height(synced.block.header.height + 1)
            return synced
        return None

    def over(self, ticket: int, *, deleted: bool = False) -> None:
        """An answer has ended, well or not; whatever it did not hold is asked for again.

        Args:
            ticket: of the request.
            deleted: the peer says that it has these blocks no more.
        """
        running = self._running.pop(ticket)
        if deleted and running.peer_id in self._heights:
            self._unserved[running.peer_id] = self._heights[running.peer_id]
        else:
            self._unserved.pop(running.peer_id, None)
        if running.expected <= running.last and running.peer_id in self._heights:
            # It did not keep its word: believe it only as far as it went, until it speaks again.
            self._heights[running.peer_id] = Height(running.expected - 1)

    def ready(self, tip: Height) -> bool:
        """The block after the tip is here."""
        return Height(tip + 1) in self._arrived

    def take(self, tip: Height) -> tuple[SyncedBlock, PeerId] | None:
        """Return the block after the tip and who sent it, if it is here; blocks at or below the tip are dropped."""
        for height in [height for height in self._arrived if height <= tip]:
            del self._arrived[height]
        return self._arrived.pop(Height(tip + 1), None)

    def _taken(self) -> list[int]:
        asked = [
            height for running in self._running.values() for height in range(running.expected, running.last + 1)
        ]
        return [*asked, *self._arrived]

    def _first_wanted(self, tip: Height) -> Height:
        taken = set(self._taken())
        height = tip + 1
        while height in taken:
            height += 1
        return Height(height)
