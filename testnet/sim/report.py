"""What the runs of several seeds showed."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Final, NamedTuple

import msgspec
import structlog

from testnet.sim.agenda import SECOND
from testnet.sim.checks import Violation
from testnet.sim.faults import Kind
from testnet.sim.liars import draw_liars
from testnet.sim.simulation import Outcome, Setup, Simulation

SECONDS_PER_HOUR: Final = 3600
REAL_KEYS_EVERY: Final = 100
"""Every so manyth seed runs on real Falcon-1024 keys ..."""
FOLLOWER_EVERY: Final = 4
"""... and every so manyth has a machine that follows and does not vote."""


class Run(NamedTuple):
    """One seed's run: what it did, what was wrong with it (empty if nothing was), and the processor time it took."""

    setup: Setup
    outcome: Outcome
    wrong: str
    cpu_seconds: float


class Failure(msgspec.Struct, frozen=True):
    """A seed that showed a bug: what was wrong, at which simulated second, and how to see it again."""

    seed: int
    what: str
    simulated_seconds: float
    command: str


class Report(msgspec.Struct):
    """Totals over all seeds.

    `heights` counts committed blocks, `steps` events. A recovery is the simulated time from the end of the faults until
    every honest node has a new block; it is held against two timeouts of the round reached.
    """

    seeds: int = 0
    real_key_seeds: int = 0
    heights: int = 0
    transactions: int = 0
    failed_transactions: int = 0
    validator_sets: int = 0
    evidence: int = 0
    highest_round: int = 0
    starts: int = 0
    steps: int = 0
    simulated_hours: float = 0.0
    slowest_recovery_seconds: float = 0.0
    recoveries_over_two_timeouts: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    digests: dict[int, str] = msgspec.field(default_factory=dict)
    failures: list[Failure] = msgspec.field(default_factory=list)

    def add(self, run: Run) -> None:
        """Add one run."""
        setup, outcome = run.setup, run.outcome
        if run.wrong:
            seconds = round(outcome.simulated / SECOND, 3)
            self.failures.append(Failure(setup.seed, run.wrong, seconds, command_of(setup)))
        self.cpu_seconds += run.cpu_seconds
        self.seeds += 1
        self.real_key_seeds += setup.real_keys
        self.heights += outcome.height
        self.transactions += outcome.transactions
        self.failed_transactions += outcome.failed
        self.validator_sets += outcome.validator_sets
        self.evidence += outcome.evidence
        self.highest_round = max(self.highest_round, outcome.highest_round)
        self.starts += outcome.starts
        self.steps += outcome.steps
        self.simulated_hours += outcome.simulated / SECOND / SECONDS_PER_HOUR
        self.slowest_recovery_seconds = max(self.slowest_recovery_seconds, outcome.recovery / SECOND)
        self.recoveries_over_two_timeouts += outcome.recovery > outcome.recovery_bound
        self.faults = dict(sorted((Counter(self.faults) + Counter(dict(outcome.faults))).items()))
        self.digests[setup.seed] = outcome.digest


def command_of(setup: Setup) -> str:
    """Return the command that runs a seed again."""
    names = "all" if set(setup.kinds) == set(Kind) else ",".join(setup.kinds) or "none"
    liars = f" --byzantine {setup.liars_wanted}" if setup.liars_wanted else ""
    return f"nexus sim --seed {setup.seed} --nodes {setup.nodes} --heights {setup.heights} --faults {names}{liars}"


def run_seed(setup: Setup) -> Run:
    """Run one seed."""
    begun, wrong = time.process_time(), ""
    simulation = Simulation(setup)
    try:
        simulation.run()
    except Violation as violation:
        wrong = str(violation)
    return Run(setup, simulation.outcome(), wrong, time.process_time() - begun)


def setup_of(seed: int, nodes: int, heights: int, kinds: tuple[Kind, ...], liars: str = "") -> Setup:
    """Return the run of a seed: now and then on real keys, and now and then with a follower.

    Raises:
        Refused: USAGE if `liars` is not what `draw_liars` takes.
    """
    return Setup(
        seed, nodes, heights, kinds, real_keys=seed % REAL_KEYS_EVERY == 0, followers=int(seed % FOLLOWER_EVERY == 0),
        liars=draw_liars(seed, nodes, liars), liars_wanted=liars,
    )


def run_seeds(setups: Sequence[Setup], jobs: int, clock: Callable[[], float], told: Callable[[], None]) -> Report:
    """Run seed after seed.

    Args:
        setups: one for each seed.
        jobs: processes that share the work; 1 for this one alone.
        clock: gives seconds.
        told: is called after each seed.
    """
    report, begun = Report(), clock()
    with ExitStack() as stack:
        runs: Iterator[Run] = map(run_seed, setups)
        if jobs > 1:
            context = get_context("spawn")
            runs = stack.enter_context(ProcessPoolExecutor(jobs, context, quiet)).map(run_seed, setups)
        for run in runs:
            report.add(run)
            report.wall_seconds = round(clock() - begun, 2)
            told()
    return report


def quiet() -> None:
    """Let the nodes of this process log nothing: a thousand lives have nothing to say to a person."""
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent, cache_logger_on_first_use=True)
