"""What the runs of several seeds showed."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from testnet.sim.agenda import SECOND
from testnet.sim.checks import Violation
from testnet.sim.faults import Kind
from testnet.sim.simulation import REAL_KEYS_EVERY, Outcome, Setup, Simulation

SECONDS_PER_HOUR: Final = 3600


class Failure(msgspec.Struct, frozen=True):
    """A seed that showed a bug: what was wrong, at which simulated second, and how to see it again."""

    seed: int
    what: str
    simulated_seconds: float
    command: str


class Report(msgspec.Struct):
    """Totals over all seeds. `heights` counts committed blocks, `steps` events; times say what their names say."""

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
    wall_seconds: float = 0.0
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    digests: dict[int, str] = msgspec.field(default_factory=dict)
    failures: list[Failure] = msgspec.field(default_factory=list)

    def add(self, setup: Setup, outcome: Outcome) -> None:
        """Add one run."""
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
        self.faults = dict(sorted((Counter(self.faults) + Counter(outcome.faults)).items()))
        self.digests[setup.seed] = outcome.digest


def command_of(setup: Setup) -> str:
    """Return the command that runs a seed again."""
    names = "all" if set(setup.kinds) == set(Kind) else ",".join(setup.kinds) or "none"
    return f"nexus sim --seed {setup.seed} --nodes {setup.nodes} --heights {setup.heights} --faults {names}"


def run_seeds(
    seeds: Sequence[int], nodes: int, heights: int, kinds: tuple[Kind, ...], clock: Callable[[], float],
    told: Callable[[Report], None],
) -> Report:
    """Run seed after seed.

    Args:
        seeds: which.
        nodes: validators.
        heights: blocks to make under faults.
        kinds: of faults.
        clock: gives seconds.
        told: is called after each seed.
    """
    report, begun = Report(), clock()
    for seed in seeds:
        setup = Setup(seed, nodes, heights, kinds, real_keys=seed % REAL_KEYS_EVERY == 0)
        simulation = Simulation(setup)
        try:
            simulation.run()
        except Violation as violation:
            seconds = round(simulation.agenda.now / SECOND, 3)
            report.failures.append(Failure(seed, str(violation), seconds, command_of(setup)))
        report.add(setup, simulation.outcome())
        report.wall_seconds = round(clock() - begun, 2)
        told(report)
    return report
