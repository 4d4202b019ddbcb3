"""The network between the machines: connections that come and go, and links that lose, delay, reorder and repeat.

A frame goes from one machine to another if both hold the same connection when it leaves and when it arrives. Without
faults frames between two machines arrive in the order in which they left, as on a stream. A link that is cut, in one
direction or both, lets nothing through; after a while both ends notice and the connection is gone, and when the link
is whole again, they make a new one: what a transport does by itself, the core only sees as events.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Final, Protocol

from testnet.sim.agenda import MS, SECOND, Agenda

LOOK_EVERY: Final = 250 * MS
"""Between two looks at which connections are to be made or given up."""
IDLE: Final = (2 * SECOND, 8 * SECOND)
"""After this long without a way to the other side, a connection is given up."""
BANNED: Final = 5 * SECOND
"""After a machine let another go, no new connection is made for this long."""
ORDER_GAP: Final = 1
"""Least microseconds between two frames on one path."""


@dataclass(slots=True)
class Weather:
    """What all links are like now. Shares in percent, times in microseconds."""

    loss: int = 0
    delay: tuple[int, int] = (1 * MS, 10 * MS)
    reordered: int = 0
    repeated: int = 0


class Endpoint(Protocol):
    """A machine as the network sees it."""

    @property
    def alive(self) -> bool:
        """A node process runs."""
        ...

    def connected(self, other: int, connection: int) -> None:
        """A connection is there."""
        ...

    def disconnected(self, other: int) -> None:
        """The connection with a machine is gone."""
        ...

    def connection_with(self, other: int) -> int:
        """Return the number of the connection with a machine; 0 for none."""
        ...


class Network:
    """All links of a run.

    Args:
        agenda: the clock.
        random: draws what happens to each frame.

    Attributes:
        weather: what all links are like now.
        cut: (from, to) of the paths that let nothing through.
    """

    def __init__(self, agenda: Agenda, random: Random) -> None:
        self.weather = Weather()
        self.cut: set[tuple[int, int]] = set()
        self._agenda = agenda
        self._random = random
        self._endpoints: list[Endpoint] = []
        self._connections = 0
        self._arrivals: dict[tuple[int, int], int] = {}
        self._idle_since: dict[tuple[int, int], tuple[int, int]] = {}
        """Pair -> since when it has no way, and for how long that may last."""
        self._banned_until: dict[tuple[int, int], int] = {}

    def begin(self, endpoints: Iterable[Endpoint]) -> None:
        """Take over the machines, in order of their index, and connect them from now on."""
        self._endpoints = list(endpoints)
        self._look()

    # ---- connections

    def _look(self) -> None:
        now = self._agenda.now
        for one, other in combinations(range(len(self._endpoints)), 2):
            pair = (one, other)
            if self._has_way(one, other):
                self._idle_since.pop(pair, None)
                if self._connection(one, other) == 0 and self._banned_until.get(pair, 0) <= now:
                    self._connect(one, other)
                continue
            since, patience = self._idle_since.setdefault(pair, (now, self._random.randint(*IDLE)))
            if now - since >= patience:
                self._part(one, other)
        self._agenda.after(LOOK_EVERY, self._look)

    def _has_way(self, one: int, other: int) -> bool:
        alive = self._endpoints[one].alive and self._endpoints[other].alive
        return alive and (one, other) not in self.cut and (other, one) not in self.cut

    def _connection(self, one: int, other: int) -> int:
        """Return the connection that both hold; 0 for none."""
        here = self._endpoints[one].connection_with(other)
        return here if here == self._endpoints[other].connection_with(one) else 0

    def _connect(self, one: int, other: int) -> None:
        self._part(one, other)
        self._connections += 1
        number = self._connections
        self._endpoints[one].connected(other, number)
        self._endpoints[other].connected(one, number)

    def _part(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            if self._endpoints[here].connection_with(there):
                self._endpoints[here].disconnected(there)

    def let_go(self, one: int, other: int) -> None:
        """End a connection because one side wants no more of the other."""
        self._banned_until[min(one, other), max(one, other)] = self._agenda.now + BANNED
        self._part(one, other)

    # ---- frames

    def send(self, sender: int, receiver: int, deliver: Callable[[], None]) -> None:
        """Carry a frame: let `deliver` happen once, several times, or not at all."""
        weather, random = self.weather, self._random
        if (sender, receiver) in self.cut or (weather.loss and random.randrange(100) < weather.loss):
            return
        overtakes = weather.reordered and random.randrange(100) < weather.reordered
        self._carry(sender, receiver, deliver, ordered=not overtakes)
        if weather.repeated and random.randrange(100) < weather.repeated:
            self._carry(sender, receiver, deliver, ordered=False)

    def stream(self, sender: int, receiver: int, deliver: Callable[[], None]) -> bool:
        """Carry a part of an answer, in order and once; False if it does not arrive."""
        if (sender, receiver) in self.cut or self._random.randrange(100) < self.weather.loss:
            return False
        self._carry(sender, receiver, deliver, ordered=True)
        return True

    def _carry(self, sender: int, receiver: int, deliver: Callable[[], None], *, ordered: bool) -> None:
        now = self._agenda.now
        arrival = now + self._random.randint(*self.weather.delay)
        if ordered:
            path = (sender, receiver)
            arrival = max(arrival, self._arrivals.get(path, 0) + ORDER_GAP)
            self._arrivals[path] = arrival
        self._agenda.after(arrival - now, deliver)
