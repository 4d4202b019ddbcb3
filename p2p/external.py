"""Where the world sees this node: what peers say of the address from which our packets come to them.

Each peer that we dialled tells it with its answer about other peers. One socket sends and listens, so the address and
port that they see are those to dial, unless something in between gives each destination a port of its own. Peers may
lie, and one prefix may hold many of them: what counts is what several prefixes say alike.
"""

from collections import Counter, OrderedDict
from typing import Final

Seen = tuple[str, int]
"""IPv6 address and UDP port."""
QUORUM: Final = 3
"""Prefixes that must say the same, and be more than half of those that said anything."""
MAX_VIEWS: Final = 32
"""Prefixes whose last word is kept; the oldest is forgotten first."""


class OutsideView:
    """What the prefixes said last."""

    def __init__(self) -> None:
        self._views: OrderedDict[str, Seen] = OrderedDict()

    def note(self, group: str, seen: Seen) -> None:
        """Take the word of a peer.

        Args:
            group: its prefix, as `p2p.prefix.prefix_group` counts it.
            seen: where it sees us.
        """
        self._views.pop(group, None)
        self._views[group] = seen
        if len(self._views) > MAX_VIEWS:
            self._views.popitem(last=False)

    @property
    def place(self) -> tuple[Seen, ...]:
        """Where we are, if enough prefixes say the same; else nothing."""
        if not self._views:
            return ()
        place, votes = Counter(self._views.values()).most_common(1)[0]
        return (place,) if votes >= QUORUM and 2 * votes > len(self._views) else ()
