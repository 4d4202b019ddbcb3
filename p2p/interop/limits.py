"""What strangers may take of a listener that anybody may dial: counts, bytes and rates."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import Reason, Refused

REMEMBERED: Final = 1024
"""Keys whose buckets are kept: of more, whoever was quiet for longest is forgotten, and begins with a full bucket."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and so many at once."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, bytes and seconds. A datagram beyond its rate is dropped, which to QUIC is a loss: it slows down."""

    connections: int = 64
    """Live connections."""
    per_prefix: int = 8
    """Of these and of handshakes, from one /64; each program on the loopback counts by itself."""
    handshakes: int = 32
    """At one time."""
    datagrams: Rate = field(default=Rate(2000, 4000))
    """From everybody together."""
    datagrams_each: Rate = field(default=Rate(300, 600))
    """From one /64."""
    dials: Rate = field(default=Rate(10, 30))
    """New handshakes from everybody together: each costs some 10 ms."""
    questions: Rate = field(default=Rate(50, 100))
    """From everybody together."""
    questions_each: Rate = field(default=Rate(10, 20))
    """From one peer."""
    questions_at_once: int = 16
    """That are being answered: so many answers are in memory."""
    messages_each: Rate = field(default=Rate(20, 60))
    """Pubsub's control messages from one peer; who sends more is let go."""
    message: int = 8 << 10
    """Bytes of one of them."""
    streams: int = 16
    """Open streams of one connection that the peer opened."""
    idle: float = 30.0
    """A connection that says nothing for so long is over."""


class Buckets:
    """Token buckets by key, all of one rate; at most REMEMBERED of them."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: object, now: float) -> bool:
        """Take one token of a key's bucket; False if it is empty.

        Args:
            key: whose.
            now: of any steady clock, in seconds.
        """
        left, at = self._left.pop(key, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - at) * self._rate.per_second)
        taken = left >= 1
        self._left[key] = (left - 1 if taken else left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return taken


class Doors:
    """Two limits that must both hold: of one, and of all together."""

    def __init__(self, each: Rate, together: Rate) -> None:
        self._each = Buckets(each)
        self._together = Buckets(together)

    def check(self, key: object, now: float, what: str) -> None:
        """Take one of both. Raises Refused(RATE_LIMITED)."""
        if not self._each.take(key, now):
            raise Refused(Reason.RATE_LIMITED, f"too many {what} from you; wait a moment")
        if not self._together.take(None, now):
            raise Refused(Reason.RATE_LIMITED, f"too many {what} from everybody; wait a moment")
