"""How much verification of zero-knowledge proofs a sender can cause before it is let go. No clock, no I/O.

A wrong proof takes a node as long as a good one, milliseconds, and costs its maker nothing. Whoever sends one over STOQ
is let go; what it sent besides must not be verified any more. So of each sender PARALLEL slices at a time are verified,
what comes after waits unread, and is dropped with its sender.

What gossip brings has no sender to blame: who forwards it judged it by its bytes alone, and most proofs are about
outputs as well. So wrong proofs of gossip are counted all together, and while there are too many of them nothing with a
proof is taken from gossip: it comes with the block, or from a peer over STOQ.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from p2p.network import PeerId

PARALLEL: Final = 2
"""Slices with proofs of one sender that are verified at a time: the second fills the gap between two."""
MAX_WAITING: Final = 4 << 20
"""Bytes of one sender's transactions that wait behind them; what comes on top is dropped."""
OBJECT: Final = 64
"""Bytes that each of them takes beside its own: else two-byte transactions would take twenty times as much."""
MAX_WRONG: Final = 64
"""Wrong proofs of gossip that are put up with at a time."""
FORGIVEN_AFTER: Final = 1000
"""ms after which one of them is forgotten: a processor's share of a hundredth or so."""


class Turns:
    """Whose slices are being verified, and whose wait."""

    def __init__(self) -> None:
        self._running: Counter[PeerId] = Counter()
        self._waiting: dict[PeerId, deque[Sequence[bytes]]] = {}
        self._bytes: Counter[PeerId] = Counter()

    def is_free(self, sender: PeerId) -> bool:
        """Return whether a slice of this sender may be looked at now."""
        return self._running[sender] < PARALLEL

    def begin(self, sender: PeerId) -> None:
        """A slice of this sender with proofs goes to be verified."""
        self._running[sender] += 1

    def end(self, sender: PeerId) -> None:
        """One of them is verified."""
        self._running[sender] -= 1
        if not self._running[sender]:
            del self._running[sender]

    def wait(self, sender: PeerId, raws: Sequence[bytes]) -> bool:
        """Keep a slice until it is its turn; False if there is no room."""
        size = _held(raws)
        if self._bytes[sender] + size > MAX_WAITING:
            return False
        self._waiting.setdefault(sender, deque()).append(raws)
        self._bytes[sender] += size
        return True

    def next(self, sender: PeerId) -> Sequence[bytes]:
        """Return the slice whose turn it is, and forget it; empty if there is none, or none is free."""
        if sender not in self._waiting or not self.is_free(sender):
            return ()
        raws = self._waiting[sender].popleft()
        self._bytes[sender] -= _held(raws)
        if not self._waiting[sender]:
            self.forget(sender)
        return raws

    def forget(self, sender: PeerId) -> None:
        """Drop what a sender has waiting."""
        self._waiting.pop(sender, None)
        self._bytes.pop(sender, None)


class Patience:
    """How many wrong proofs gossip may still bring. Times are ms."""

    def __init__(self) -> None:
        self._wrong = 0.0
        self._at = 0

    def charge(self, wrong: int, now: int) -> None:
        """Note wrong proofs."""
        self._wrong = self._left(now) + wrong
        self._at = now

    def is_over(self, now: int) -> bool:
        """Return whether nothing with a proof is to be taken from gossip at present."""
        return self._left(now) >= MAX_WRONG

    def _left(self, now: int) -> float:
        return max(self._wrong - max(now - self._at, 0) / FORGIVEN_AFTER, 0.0)


def _held(raws: Sequence[bytes]) -> int:
    return sum(len(raw) + OBJECT for raw in raws)
