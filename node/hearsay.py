"""What gossip says of blocks, and when to ask the peers for them. Pure.

An announcement proves who says that it has a block, not that it is so, and anybody can make a key. So it costs a liar's
audience one small frame to each peer at most every ASK_EVERY, and nothing after ASKS looks.
"""

from typing import Final

from state.types import Height

ASK_EVERY: Final = 100
"""ms between two rounds of asking that announcements lead to."""
ASKS: Final = 6
"""Times that the peers are asked again for an announced block that none of them has: three seconds."""


class Hearsay:
    """The last block that was announced, and how often the peers were asked for it."""

    def __init__(self) -> None:
        self._height = Height(0)
        self._asks = 0
        self._asked_at = 0

    def heard(self, height: Height, tip: Height, in_round: bool, now: int) -> bool:
        """Take an announcement; return whether to ask the peers now.

        Args:
            height: announced.
            tip: our last committed height.
            in_round: a round of that height is under way here, so its block is mostly about to be decided.
            now: ms since 1970.
        """
        if height <= tip:
            return False
        self._height, self._asks = height, ASKS
        if in_round or now - self._asked_at < ASK_EVERY:
            return False
        self._asked_at = now
        return True

    def unanswered(self, tip: Height) -> bool:
        """Return whether to ask again, as every look at where we stand does; after ASKS times no more."""
        if not self.expects(tip):
            return False
        self._asks -= 1
        return True

    def expects(self, tip: Height) -> bool:
        """Return whether a block above the tip was announced, and is to be asked for at once."""
        return self._height > tip and self._asks > 0
