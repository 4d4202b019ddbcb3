"""What the node's core counts. Plain numbers: node/metrics.py turns them into Prometheus families when asked."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from crypto.errors import Reason

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""
WINDOW: Final = 10_000
"""ms over which throughput is measured."""
RECENT: Final = 512
"""Blocks that throughput is computed from."""


@dataclass(slots=True)
class Timing:
    """A histogram of durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        place = next((place for place, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self.counts[place] += 1
        self.total += seconds


@dataclass(slots=True)
class Counters:
    """Totals since start.

    Attributes:
        blocks: committed.
        transactions: in them.
        synced: those of the blocks that came by catching up.
        executing: time to execute a proposed block.
        committing: time to write a decided block.
        timeouts: of consensus, by step.
        rejected: proposals that we did not vote for, by reason.
        misbehaviour: what peers did wrong, by reason.
        withheld: votes and proposals not signed, because the last-sign state is at or above them.
        recent: time in ms and transactions of the last blocks.
    """

    blocks: int = 0
    transactions: int = 0
    synced: int = 0
    withheld: int = 0
    executing: Timing = field(default_factory=Timing)
    committing: Timing = field(default_factory=Timing)
    timeouts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[Reason] = field(default_factory=Counter)
    misbehaviour: Counter[Reason] = field(default_factory=Counter)
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def committed(self, time: int, transactions: int) -> None:
        """Count a block with its time in ms."""
        self.blocks += 1
        self.transactions += transactions
        self.recent.append((time, transactions))

    def throughput(self, now: int) -> float:
        """Return the transactions per second of the last WINDOW ms before `now`."""
        return sum(transactions for time, transactions in self.recent if now - WINDOW < time) * 1000 / WINDOW


@contextmanager
def timed(timing: Timing) -> Iterator[None]:
    """Count how long the body of a `with` takes."""
    start = perf_counter()
    try:
        yield
    finally:
        timing.add(perf_counter() - start)
