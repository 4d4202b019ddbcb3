"""What goes wrong and when: a plan that depends on the seed alone, and the hand that carries it out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from random import Random
from typing import Final

from crypto.schemes import address_of
from state.types import Address, Height
from testnet.sim.agenda import MS, SECOND, Agenda
from testnet.sim.disk import Trouble
from testnet.sim.machine import Machine
from testnet.sim.network import Network, Weather


class Kind(StrEnum):
    """Kinds of faults."""

    LOSS = "loss"
    """Frames do not arrive."""
    DELAY = "delay"
    """Frames take up to seconds."""
    REORDER = "reorder"
    """Frames overtake each other."""
    DUPLICATE = "duplicate"
    """Frames arrive twice."""
    ONE_WAY = "one-way"
    """One machine hears another, but not the other way round."""
    HALF = "half"
    """The network falls in two parts."""
    RING = "ring"
    """Each machine reaches its two neighbours only."""
    BRIDGE = "bridge"
    """Two parts that only one machine sees both of."""
    KILL = "kill"
    """A process ends between two of its actions; what it wrote stays."""
    POWER = "power"
    """A machine loses power at a disk operation; unsynced writes are lost or torn."""
    BLACKOUT = "blackout"
    """All machines lose power at once."""
    WRITE = "write"
    """A disk operation fails."""
    WIPE = "wipe"
    """A machine loses its data folder, and keeps its keys and the sign state."""
    ROLLBACK = "rollback"
    """A machine's last blocks are undone: kept in its log, or thrown away."""
    CLOCK = "clock"
    """A machine's clock is wrong, by more than the chain tolerates or less."""
    SLOW = "slow"
    """A machine takes milliseconds for what should take microseconds."""
    PAUSE = "pause"
    """A process stops for a while, and goes on as if nothing had been."""


GROUPS: Final[dict[str, tuple[Kind, ...]]] = {
    "all": tuple(Kind),
    "none": (),
    "links": (Kind.LOSS, Kind.DELAY, Kind.REORDER, Kind.DUPLICATE),
    "partitions": (Kind.ONE_WAY, Kind.HALF, Kind.RING, Kind.BRIDGE),
    "crashes": (Kind.KILL, Kind.POWER, Kind.BLACKOUT),
    "disks": (Kind.POWER, Kind.BLACKOUT, Kind.WRITE),
    "operators": (Kind.WIPE, Kind.ROLLBACK),
    "machines": (Kind.CLOCK, Kind.SLOW, Kind.PAUSE),
}
"""Names for several kinds."""
PAUSE_BETWEEN: Final = (100 * MS, 4 * SECOND)
LASTING: Final = (200 * MS, 10 * SECOND)
MOST_SLOW: Final = 30 * MS
MOST_SKEW: Final = 1500
"""ms; the chain's precision is 500."""
MOST_UNDONE: Final = 4
FEW: Final = 40
"""A kill or a disk fault comes at one of this many next actions or operations."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: what.
        pause: microseconds after the one before.
        lasting: microseconds until it is over.
        order: all machines; the first ones are hit.
        size: how bad, 0 to 99.
    """

    kind: Kind
    pause: int
    lasting: int
    order: tuple[int, ...]
    size: int


def plan(random: Random, machines: int, kinds: Sequence[Kind]) -> Iterator[Fault]:
    """Yield faults without end. A run draws which of the kinds it sees: some bugs need others to be absent."""
    drawn = [kind for kind in kinds if random.randrange(3)] or list(kinds)
    if machines == 1:
        drawn = [kind for kind in drawn if kind not in GROUPS["partitions"]]
    places = list(range(machines))
    while drawn:
        random.shuffle(places)
        yield Fault(
            random.choice(drawn), random.randint(*PAUSE_BETWEEN), random.randint(*LASTING), tuple(places),
            random.randrange(100),
        )


class Injector:
    """Carries out a plan.

    Args:
        faults: the plan.
        machines: whom it hits.
        network: between them.
        agenda: the clock.

    Attributes:
        injected: how often each kind has happened.
    """

    def __init__(
        self, faults: Iterator[Fault], machines: Sequence[Machine], network: Network, agenda: Agenda
    ) -> None:
        self.injected: Counter[Kind] = Counter()
        self._faults = faults
        self._machines = machines
        self._network = network
        self._agenda = agenda
        self._numbers = count()
        self._present: dict[int, tuple[Fault, Callable[[], None]]] = {}
        self._active = True
        self._forgetful: tuple[Height, frozenset[Address]] = (Height(0), frozenset())
        """The height in progress less one, and who lost the log of it."""

    def begin(self) -> None:
        """Carry out the plan from now on."""
        for fault in self._faults:
            self._agenda.after(fault.pause, lambda fault=fault: self._happen(fault))  # type: ignore[misc]
            return

    def heal(self) -> None:
        """End every fault, and let no other come."""
        self._active = False
        for _, undo in self._present.values():
            undo()
        self._present.clear()
        self._network.weather = Weather()
        self._network.cut.clear()
        for machine in self._machines:
            machine.disk.disarm()
            if machine.alive:
                machine.process.fuse = None

    def _happen(self, fault: Fault) -> None:
        if not self._active:
            return
        number = next(self._numbers)
        undo = self._inject(fault)
        if undo is not None:
            self._present[number] = (fault, undo)
            self._agenda.after(fault.lasting, lambda: self._pass(number))
        self.begin()

    def _pass(self, number: int) -> None:
        entry = self._present.pop(number, None)
        if entry is not None:
            entry[1]()

    def _inject(self, fault: Fault) -> Callable[[], None] | None:
        """Begin a fault; return what ends it, or None if it ends by itself."""
        victim = self._machines[fault.order[0]]
        match fault.kind:
            case Kind.LOSS | Kind.DELAY | Kind.REORDER | Kind.DUPLICATE:
                self.injected[fault.kind] += 1
                return self._change_weather(fault)
            case Kind.ONE_WAY | Kind.HALF | Kind.RING | Kind.BRIDGE:
                self.injected[fault.kind] += 1
                return self._cut(fault)
            case Kind.KILL:
                if victim.alive:
                    victim.process.fuse = fault.size % FEW
            case Kind.POWER:
                victim.disk.arm(Trouble.POWER, fault.size % FEW)
            case Kind.WRITE:
                victim.disk.arm(Trouble.FAILURE, fault.size % FEW)
            case Kind.BLACKOUT:
                self.injected[fault.kind] += 1
                for machine in self._machines:
                    machine.fail_power()
            case Kind.WIPE if self._level() and self._may_forget(victim):
                victim.wipe()
            case Kind.ROLLBACK if self._level() and self._may_forget(victim):
                victim.disk.disarm()
                victim.roll_back(1 + fault.size % MOST_UNDONE, discard=fault.size % 2 == 0)
            case Kind.CLOCK:
                self.injected[fault.kind] += 1
                victim.skew = (fault.size - 50) * MOST_SKEW // 50
                return lambda: setattr(victim, "skew", 0)
            case Kind.SLOW:
                self.injected[fault.kind] += 1
                victim.slow_down(MOST_SLOW * (fault.size + 1) // 100)
                return lambda: victim.slow_down(0)
            case Kind.PAUSE:
                if victim.alive:
                    self.injected[fault.kind] += 1
                    process = victim.process
                    process.paused = True
                    return process.resume
        return None

    def _level(self) -> bool:
        """All machines run and have the same last block: what one of them deletes is elsewhere."""
        living = [machine for machine in self._machines if machine.alive]
        return len(living) == len(self._machines) and len({machine.chain.tip.block_id for machine in living}) == 1

    def _may_forget(self, victim: Machine) -> bool:
        """Those who remember all that they signed at the height in progress stay a quorum without the victim.

        Else a lock may name a block, or a quorum may need a vote, that nobody has any more: nothing is signed twice,
        but the chain stops until an operator decides (docs/standby.md).
        """
        tip = victim.chain.tip
        if self._forgetful[0] != tip.height:
            self._forgetful = (tip.height, frozenset())
        forgetful = self._forgetful[1] | {Address(address_of(victim.seat.signer.public_key))}
        left = sum(one.power for one in tip.validators.validators if one.address not in forgetful)
        if not tip.validators.is_quorum(left):
            return False
        self._forgetful = (tip.height, forgetful)
        return True

    def _change_weather(self, fault: Fault) -> Callable[[], None]:
        weather = self._network.weather
        match fault.kind:
            case Kind.LOSS:
                weather.loss = 1 + fault.size // 2
            case Kind.DELAY:
                weather.delay = (1 * MS, 50 * MS + fault.size * 25 * MS)
            case Kind.REORDER:
                weather.reordered = 1 + fault.size
            case _:
                weather.repeated = 1 + fault.size
        return lambda: self._clear_weather(fault.kind)

    def _clear_weather(self, kind: Kind) -> None:
        calm, weather = Weather(), self._network.weather
        match kind:
            case Kind.LOSS:
                weather.loss = calm.loss
            case Kind.DELAY:
                weather.delay = calm.delay
            case Kind.REORDER:
                weather.reordered = calm.reordered
            case _:
                weather.repeated = calm.repeated

    def _cut(self, fault: Fault) -> Callable[[], None]:
        """Cut paths, and return what makes them whole again unless another partition cuts them too."""
        paths = cut_paths(fault)
        self._network.cut |= paths
        return self._mend

    def _mend(self) -> None:
        self._network.cut.clear()
        for fault, undo in self._present.values():
            if undo == self._mend:
                self._network.cut |= cut_paths(fault)


def cut_paths(fault: Fault) -> set[tuple[int, int]]:
    """Return the (from, to) that a partition cuts."""
    order = fault.order
    pairs = {(one, other) for one in order for other in order if one != other}
    if fault.kind is Kind.ONE_WAY:
        return {(order[0], order[1])}
    if fault.kind is Kind.RING:
        near = {(one, order[place - 1]) for place, one in enumerate(order)}
        return {(one, other) for one, other in pairs if (one, other) not in near and (other, one) not in near}
    bridge = order[:1] if fault.kind is Kind.BRIDGE else ()
    rest = order[len(bridge) :]
    part = set(rest[: 1 + fault.size % max(1, len(rest) - 1)])
    return {pair for pair in pairs if len(part.intersection(pair)) == 1 and not set(bridge).intersection(pair)}
