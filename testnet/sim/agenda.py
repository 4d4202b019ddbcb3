"""What happens when: a clock that jumps from event to event."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final

MS: Final = 1000
"""Microseconds of a millisecond: simulated time is counted in whole microseconds."""
SECOND: Final = 1000 * MS


class Agenda:
    """Events in order of time; of two at the same time, the one that was entered first.

    Attributes:
        now: simulated microseconds since the run began.
        steps: events that have happened.
    """

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, delay: int, event: Callable[[], None]) -> None:
        """Let an event happen `delay` microseconds from now."""
        heappush(self._events, (self.now + delay, next(self._order), event))

    def step(self) -> bool:
        """Let the next event happen; False if there is none."""
        if not self._events:
            return False
        self.now, _, event = heappop(self._events)
        self.steps += 1
        event()
        return True
