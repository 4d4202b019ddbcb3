"""Peers that begin frames and do not end them: what they hold of our memory is bounded in time, and all together.

An unfinished frame is at most a MiB on each of four channels of a peer; a crowd of strangers would make that hundreds
of MiB, and a byte now and then would keep it so for ever. A frame that is still the same one after SLOWEST seconds ends
its connection. While all unfinished frames together take more than BUDGET, two looks are enough, the largest first.
Peers that the operator wants are spared the second rule, and nobody is blamed for frames that the node itself is too
slow to take.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from p2p.network import Channel, PeerId

LOOK: Final = 0.25
"""Seconds between two looks."""
SLOWEST: Final = 30.0
"""Seconds that a frame may take: a MiB at 35 kB/s."""
BUDGET: Final = 32 << 20
"""Bytes of unfinished frames, of all peers together."""


class Unfinished(NamedTuple):
    """The frame that a channel waits for: how many came whole before it, and the bytes of it that are here."""

    before: int
    size: int


class Stalls:
    """Remembers since when which frame is unfinished."""

    def __init__(self) -> None:
        self._since: dict[tuple[PeerId, Channel, int], float] = {}

    def look(
        self, now: float, found: Mapping[PeerId, Mapping[Channel, Unfinished]], spared: Iterable[PeerId]
    ) -> tuple[PeerId, ...]:
        """Return whose connections have to end.

        Args:
            now: seconds.
            found: every peer's unfinished frames.
            spared: peers that are cut for slowness alone.
        """
        kept = frozenset(spared)
        since: dict[tuple[PeerId, Channel, int], float] = {}
        slow: dict[PeerId, None] = {}
        stuck: dict[PeerId, int] = {}
        for peer_id, channels in found.items():
            for channel, (before, size) in channels.items():
                key = (peer_id, channel, before)
                since[key] = self._since.get(key, now)
                if now - since[key] >= SLOWEST:
                    slow[peer_id] = None
                elif now > since[key] and peer_id not in kept:
                    stuck[peer_id] = stuck.get(peer_id, 0) + size
        self._since = since
        total = sum(size for channels in found.values() for _, size in channels.values())
        for peer_id in sorted(stuck, key=lambda one: -stuck[one]):
            if total <= BUDGET:
                break
            slow[peer_id] = None
            total -= stuck[peer_id]
        return tuple(slow)
