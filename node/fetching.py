"""Which chunk of a snapshot to ask of whom. Pure; `node.joining` sends, checks and writes."""

from collections import Counter
from collections.abc import Iterator, Sequence

from p2p.network import PeerId


class ChunkPlan:
    """The plan of fetching some chunks.

    Args:
        missing: their numbers.
        per_peer: requests that one peer may have open.

    Attributes:
        holders: peers that have the snapshot, as known at present.
    """

    def __init__(self, missing: Sequence[int], per_peer: int) -> None:
        self.holders: Sequence[PeerId] = ()
        self._waiting = list(reversed(missing))
        self._running: set[tuple[PeerId, int]] = set()
        self._missing = set(missing)
        self._per_peer = per_peer

    @property
    def left(self) -> int:
        """How many have not arrived."""
        return len(self._missing)

    def next_requests(self) -> Iterator[tuple[PeerId, int]]:
        """Yield what to ask now, the least busy peer first; each counts as asked when it is yielded."""
        while self._waiting:
            busy = Counter(peer_id for peer_id, _ in self._running)
            peer_id = min(self.holders, key=lambda one: busy[one], default=None)
            if peer_id is None or busy[peer_id] >= self._per_peer:
                return
            index = self._waiting.pop()
            self._running.add((peer_id, index))
            yield peer_id, index

    def arrived(self, peer_id: PeerId, index: int) -> None:
        """A chunk is here."""
        self._running.discard((peer_id, index))
        self._missing.discard(index)

    def failed(self, peer_id: PeerId, index: int) -> None:
        """A chunk did not come, or not as it should: somebody is asked again."""
        self._running.discard((peer_id, index))
        self._waiting.append(index)
