"""One run: faults first, then a healed network that must make progress.

Everything follows from the seed: a second run with the same arguments does the same things at the same microseconds,
and ends with the same digest.
"""

import hashlib
from dataclasses import dataclass
from random import Random
from typing import Final

from msgspec.structs import astuple

from consensus.round_machine import RoundStep
from consensus.timing import timeout
from consensus.types import ConsensusParams
from crypto.errors import Reason
from crypto.schemes import address_of
from node.compose import CoreSettings
from node.driver import NoSigner
from node.events import BlockCommitted
from node.logic import Wrap, unwrapped
from node.mempool import Limits
from p2p.network import Channel
from state.chainstore import ChainOptions
from state.genesis import Genesis
from state.params import Timing
from state.tree import TreeLimits
from state.types import Address
from testnet.byzantine.behaviours import lying
from testnet.sim.agenda import MS, SECOND, Agenda
from testnet.sim.checks import Auditor, Checks, Violation
from testnet.sim.disk import Disk, PowerLoss
from testnet.sim.faults import GROUPS, Injector, Kind, plan
from testnet.sim.genesis import make_genesis
from testnet.sim.keys import FalconKeys, HashKeys, Keys
from testnet.sim.liars import Liars
from testnet.sim.load import PEOPLE, Load, make_people
from testnet.sim.machine import Machine, RolledBack, Rules, Seat, Surroundings, Wiped
from testnet.sim.naming import peer_name
from testnet.sim.network import Network
from testnet.sim.process import Killed
from testnet.sim.stakes import Stakes

FINAL_HEIGHTS: Final = 5
"""What a healed network must add to the highest height it had."""
DOWN_FOR: Final = (50 * MS, 4 * SECOND)
"""How long a machine stays off."""
FAULTS_AT_MOST: Final = 30 * SECOND
"""Simulated time of faults for each height that was asked for, at most."""
STEPS_PER_HEIGHT: Final = 80
"""Events that one height of a healed network takes for each pair of machines, at most (measured: a tenth)."""
STEPS_TO_HEAL: Final = 20_000
"""Events after which a healed network must be back to normal."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What determines a run.

    Attributes:
        seed: everything is drawn from it.
        nodes: validators.
        heights: blocks to make under faults.
        kinds: of faults.
        real_keys: sign with Falcon.
        followers: machines besides, that do not vote.
        liars: validators that lie, and how; no check holds it against them.
        liars_wanted: the words that the liars were drawn from.
    """

    seed: int
    nodes: int = 4
    heights: int = 100
    kinds: tuple[Kind, ...] = tuple(Kind)
    real_keys: bool = False
    followers: int = 0
    liars: Liars = ()
    liars_wanted: str = ""


@dataclass(slots=True)
class Outcome:
    """What a run did. Times are in simulated microseconds.

    Attributes:
        height: the highest committed one.
        steps: events.
        simulated: how long it took.
        recovery: from the end of the faults until every honest node has a new block.
        recovery_bound: two timeouts of the round that the nodes had reached then.
        transactions: in blocks.
        failed: those of them that failed there.
        highest_round: that decided a block.
        starts: of node processes.
        digest: of everything that was sent and committed.
        validator_sets: how often the set changed.
        evidence: accusations in blocks.
        faults: how often each kind happened.
    """

    height: int = 0
    steps: int = 0
    simulated: int = 0
    recovery: int = 0
    recovery_bound: int = 0
    transactions: int = 0
    failed: int = 0
    highest_round: int = 0
    starts: int = 0
    digest: str = ""
    validator_sets: int = 0
    evidence: int = 0
    faults: tuple[tuple[Kind, int], ...] = ()


class Simulation:
    """One run, from genesis to the end.

    Args:
        setup: what determines it.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.agenda = Agenda()
        self.network = Network(self.agenda, self._random("network"))
        keys: Keys = FalconKeys(setup.seed) if setup.real_keys else HashKeys(setup.seed)
        signers = [keys.signer(f"validator {place}") for place in range(setup.nodes)]
        operators = make_people(keys, "operator", setup.nodes)
        people = (*make_people(keys, "person", PEOPLE), *operators)
        genesis = make_genesis(signers, operators, people, bool(setup.liars), self._random("genesis"))
        liars = {place: Address(address_of(signers[place].public_key)) for place, _ in setup.liars}
        self.checks = Checks(Auditor(genesis, keys.verifier), liars)
        surroundings = Surroundings(self.agenda, self.network, self)
        rules = self._rules(genesis)
        for place, signer in enumerate([*signers, *(NoSigner() for _ in range(setup.followers))]):
            seat = Seat(place, signer, keys.verifier, self.wrap_of(place))
            surroundings.machines.append(Machine(seat, rules, self.new_disk(place), surroundings))
        self.machines = surroundings.machines
        addresses = [operator.address for operator in operators]
        trusted = [address for place, address in enumerate(addresses) if place not in liars]
        stakes = Stakes(addresses, trusted, self._random("stakes"))
        self.load = Load(people, stakes, self.machines, self.agenda, self._random("load"))
        faults = plan(self._random("faults"), len(self.machines), setup.kinds)
        self.injector = Injector(faults, self.machines, self.network, self.agenda)
        self._downtime = self._random("downtime")
        self._trace = hashlib.sha256()
        self._recovery = (0, 0)

    def _random(self, name: str) -> Random:
        """Return a source of its own, so that a draw in one place moves nothing in another."""
        return Random(f"{self.setup.seed}/{name}")

    def new_disk(self, place: int) -> Disk:
        """Return an empty disk for a machine."""
        return Disk(self._random(f"disk {place}"))

    def wrap_of(self, place: int) -> Wrap:
        """Return what stands around the core of a machine."""
        liars = dict(self.setup.liars)
        return lying(*liars[place], accomplices=frozenset(map(peer_name, liars))) if place in liars else unwrapped

    def _rules(self, genesis: Genesis) -> Rules:
        random = self._random("rules")
        # small caches now and then only: most of their time goes into reading the same pages again
        pages = random.choice((4 << 10, 32 << 10, 96 << 20, 96 << 20, 96 << 20, 96 << 20))
        values = random.choice((4 << 10, 24 << 20, 24 << 20, 24 << 20))
        tree = TreeLimits(page_bytes=pages, heights=random.randint(2, 8))
        options = ChainOptions(keep_undo=random.randint(8, 64), value_bytes=values, tree=tree)
        limits = Limits(transactions=random.choice((20, 20_000)))
        return Rules(genesis, options, CoreSettings(limits, relay_delay=5, forward=not random.randrange(4)))

    # ---- the run

    def run(self) -> Outcome:
        """Run to the end.

        Raises:
            Violation: something happened that must never happen.
        """
        for machine in self.machines:
            machine.boot()
        self.network.begin(self.machines)
        self.load.begin()
        self.injector.begin()
        if self.setup.kinds:
            self._run_faults()
        self.heal()
        begun, bound = self.agenda.now, self._recovery_bound()
        goal = self.highest + FINAL_HEIGHTS
        self._reach(self.highest + 1)
        self._recovery = self.agenda.now - begun, bound
        if self._partitions_only and self._recovery[0] > bound:
            raise Violation(f"a block took {self._recovery[0]} us after the partitions; two timeouts are {bound} us")
        self._reach(max(self.setup.heights, goal))
        self._rest()
        return self.outcome()

    @property
    def highest(self) -> int:
        """The highest committed height."""
        return self.checks.auditor.height

    def _honest(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.seat.index not in self.checks.liars]

    def _run_faults(self) -> None:
        deadline = self.setup.heights * FAULTS_AT_MOST
        while self.highest < self.setup.heights and self.agenda.now < deadline:
            self._step()

    def heal(self) -> None:
        """End all faults: from here on the network must make progress."""
        self._note("heal", b"")
        self.injector.heal()
        for machine in self.machines:
            if not machine.alive:
                machine.boot()

    @property
    def _partitions_only(self) -> bool:
        return set(self.setup.kinds) <= set(GROUPS["partitions"]) and not self.setup.liars

    def _recovery_bound(self) -> int:
        """Return two timeouts of the highest round that a living node is in."""
        params = ConsensusParams(*astuple(Timing()))
        rounds = [machine.process.round for machine in self.machines if machine.alive]
        return 2 * MS * timeout(params, RoundStep.PROPOSE, max(rounds, default=0))

    def _reach(self, goal: int) -> None:
        """Let every honest node reach a height."""
        honest_ones = self._honest()
        missing = goal - min(self.checks.promised.get(machine.seat.index, 0) for machine in honest_ones)
        bound = self.agenda.steps + STEPS_TO_HEAL + missing * STEPS_PER_HEIGHT * self.setup.nodes**2
        while any(self.checks.promised.get(machine.seat.index, 0) < goal for machine in honest_ones):
            self._step()
            if self.agenda.steps > bound:
                raise Violation(f"the healed network does not reach height {goal}: {self._where()}")

    def _rest(self) -> None:
        """Let nobody send anything more, and the nodes come to rest at one height."""
        self.load.flows = False
        bound = self.agenda.steps + STEPS_TO_HEAL
        while len({machine.chain.tip.block_id for machine in self._honest()}) > 1:
            self._step()
            if self.agenda.steps > bound:
                raise Violation(f"the network does not come to rest: {self._where()}")

    def _where(self) -> str:
        return ", ".join(
            f"{machine} at {machine.chain.height}" if machine.alive else f"{machine} off" for machine in self.machines
        )

    def _step(self) -> None:
        self.agenda.step()
        for machine in self.machines:
            if machine.disk.failed:
                self.checks.went_on(machine)

    def outcome(self) -> Outcome:
        """Return what has happened so far."""
        auditor = self.checks.auditor
        faults = tuple(sorted(self.injector.injected.items()))
        return Outcome(
            auditor.height, self.agenda.steps, self.agenda.now, *self._recovery, auditor.transactions, auditor.failed,
            auditor.rounds, sum(machine.starts for machine in self.machines), self._trace.hexdigest(),
            auditor.validator_sets, auditor.evidence, faults,
        )

    # ---- what machines tell

    def booted(self, machine: Machine) -> None:
        """A node has opened its chain."""
        self._note(f"boot {machine} {machine.chain.height}", b"")
        self.checks.booted(machine)

    def sent(self, machine: Machine, channel: Channel, payload: bytes) -> None:
        """A frame leaves."""
        self._note(f"send {machine} {channel}", payload)
        self.checks.sent(machine, channel, payload)

    def committed(self, machine: Machine, event: BlockCommitted) -> None:
        """A node says that a block is committed."""
        self._note(f"commit {machine} {event.height}", event.block_id)
        self.checks.committed(machine, event)

    def accused(self, machine: Machine, other: int, reason: Reason, detail: str) -> None:
        """A node lets a peer go."""
        self.checks.accused(machine, other, reason, detail)

    def stopped(self, machine: Machine, error: BaseException) -> None:
        """A process ended: it is started again after a while."""
        self._note(f"stop {machine}", b"")
        self.checks.stopped(machine, error)
        kinds = {PowerLoss: Kind.POWER, Killed: Kind.KILL, Wiped: Kind.WIPE, RolledBack: Kind.ROLLBACK}
        self.injector.injected[kinds.get(type(error), Kind.WRITE)] += 1
        self.agenda.after(self._downtime.randint(*DOWN_FOR), lambda: self._restart(machine))

    def _restart(self, machine: Machine) -> None:
        if not machine.alive:
            machine.boot()

    def _note(self, what: str, payload: bytes) -> None:
        self._trace.update(f"{self.agenda.now} {what} ".encode())
        self._trace.update(payload)
