"""Whole runs: they pass, they are the same again, and every planted bug is caught."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, ClassVar

import pytest
import structlog

from apps.module import Context
from apps.registry import MESSAGES
from apps.token.messages import Transfer
from consensus.effects import Signer
from consensus.types import Block, ValidatorSet
from crypto.errors import Reason, Refused
from node.actions import Action, Disconnect, Timer
from node.chain import Chain, Executed
from node.core import Core
from node.logic import Wrap, unwrapped
from p2p.network import PeerId
from state.changes import Changes
from state.ledger import credit
from state.store import Write
from testnet.sim.checks import Violation
from testnet.sim.disk import Disk, SimDocument, SimStore
from testnet.sim.faults import GROUPS, Kind
from testnet.sim.report import command_of, run_seeds, setup_of
from testnet.sim.simulation import FINAL_HEIGHTS, Outcome, Setup, Simulation


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def run(setup: Setup) -> Outcome:
    return Simulation(setup).run()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nodes_with_all_faults_stay_right_and_come_back(seed: int) -> None:
    outcome = run(Setup(seed, 4, 30))
    assert outcome.height >= 30 + FINAL_HEIGHTS
    assert outcome.transactions > 0
    assert outcome.faults


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 7, 10])
def test_other_sizes(nodes: int) -> None:
    assert run(Setup(5, nodes, 30)).height >= 30 + FINAL_HEIGHTS


def test_without_faults_every_block_takes_one_round_and_nobody_restarts() -> None:
    outcome = run(Setup(1, 4, 20, ()))
    assert (outcome.highest_round, outcome.starts, outcome.faults) == (0, 4, ())


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_fault_happens_and_does_no_harm(kind: Kind) -> None:
    outcome = run(Setup(1, 4, 25, (kind,)))
    assert dict(outcome.faults)[kind] > 0


def test_one_who_follows_without_a_vote() -> None:
    simulation = Simulation(Setup(4, 4, 20, followers=1))
    simulation.run()
    assert len(simulation.machines) == 5
    assert simulation.machines[4].chain.height >= 20 + FINAL_HEIGHTS


def test_validators_come_and_go_with_their_stake() -> None:
    assert sum(run(Setup(seed, 4, 40, ())).validator_sets for seed in (1, 2)) > 1


@pytest.mark.parametrize("seed", [1, 2])
def test_liars_do_honest_nodes_no_harm(seed: int) -> None:
    assert run(setup_of(seed, 4, 20, tuple(Kind), "any")).height >= 20 + FINAL_HEIGHTS


def test_who_votes_twice_ends_up_in_a_block() -> None:
    assert run(setup_of(1, 4, 10, (), "double_prevote=1")).evidence == 1


def test_blocks_come_soon_after_partitions() -> None:
    outcome = run(Setup(3, 4, 15, GROUPS["partitions"]))
    assert 0 < outcome.recovery <= outcome.recovery_bound


def test_two_processes_find_what_one_finds() -> None:
    setups = [setup_of(seed, 4, 5, GROUPS["links"]) for seed in (1, 2)]
    alone, shared = (run_seeds(setups, jobs, lambda: 0.0, lambda: None) for jobs in (1, 2))
    assert alone.digests == shared.digests
    assert alone.faults == shared.faults


def test_real_falcon_keys() -> None:
    outcome = run(Setup(100, 4, 3, GROUPS["crashes"], real_keys=True))
    assert outcome.height >= 3 + FINAL_HEIGHTS


# ---- the same seed gives the same run


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = run(Setup(7, 4, 20)), run(Setup(7, 4, 20))
    assert first == second
    assert run(Setup(8, 4, 20)).digest != first.digest


def test_the_order_of_sets_and_dictionaries_of_bytes_does_not_matter() -> None:
    program = "from testnet.sim.simulation import *; print(Simulation(Setup(7, 4, 20)).run().digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True, text=True,
            capture_output=True,
        ).stdout.splitlines()[-1]
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_report_names_the_seed_that_failed_and_how_to_run_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mint_at_each_payment(monkeypatch)
    told: list[int] = []
    setups = [setup_of(seed, 4, 10, GROUPS["links"]) for seed in (1, 2, 3)]
    report = run_seeds(setups, 1, lambda: 0.0, lambda: told.append(0))
    assert len(told) == 3
    assert [failure.seed for failure in report.failures] == [1, 2, 3]
    last = report.failures[2]
    assert last.command == "nexus sim --seed 3 --nodes 4 --heights 10 --faults loss,delay,reorder,duplicate"
    again = run_seeds(setups[2:], 1, lambda: 0.0, lambda: None)
    assert again.failures == [last]
    assert again.digests[3] == report.digests[3]
    assert command_of(Setup(1)) == "nexus sim --seed 1 --nodes 4 --heights 100 --faults all"


# ---- planted bugs


class Bugged(Simulation):
    """A simulation of code with a bug in it."""

    disk: ClassVar[type[Disk]] = Disk
    wraps: ClassVar[tuple[Wrap, ...]] = (unwrapped,)

    def new_disk(self, place: int) -> Disk:
        return self.disk(Random(f"{self.setup.seed}/{place}"))

    def wrap_of(self, place: int) -> Wrap:
        return self.wraps[0]


def caught(kind: type[Simulation], faults: tuple[Kind, ...], heights: int = 25) -> str:
    """Return what the checks say in the first seed that shows the bug."""
    for seed in range(1, 11):
        try:
            kind(Setup(seed, 4, heights, faults)).run()
        except Violation as violation:
            return str(violation)
    raise AssertionError("no seed shows the bug")


class LazyStore(SimStore):
    """Says that a batch is on disk when it is not."""

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        super().write(batch, sync=False)


class LazyDisk(Disk):
    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.store = LazyStore(self)


class ForgetfulDisk(Disk):
    """Loses the consensus log and what the sign state said last, as if both had not been synced."""

    def document(self, name: str, reason: Reason) -> SimDocument:
        return self._documents.setdefault(name, ForgetfulDocument(self, reason))

    def lose_power(self) -> None:
        super().lose_power()
        for file in self._files.values():
            file.cut(0)
            file.sync()
        for document in self._documents.values():
            document.replace(document.before if isinstance(document, ForgetfulDocument) else b"")


class ForgetfulDocument(SimDocument):
    before = b""
    """The content when the machine was last without power."""

    def replace(self, content: bytes) -> None:
        if not self.before:
            self.before = content
        super().replace(content)


class Around:
    """Something around a core that passes everything on."""

    def __init__(self, core: Core, _signer: Signer, _chain: Chain) -> None:
        self.core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)


class Deaf(Around):
    """Hears no timer."""

    def timer_over(self, timer: Timer, now: int) -> list[Action]:
        return []


class Heedless(Around):
    """Goes on when a write fails."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.core, name)

        def call(*args: Any) -> Any:
            try:
                return method(*args)
            except (OSError, Refused):
                return []

        return call


class Rude(Around):
    """Lets every peer go that it meets."""

    def peer_connected(self, peer_id: PeerId, now: int) -> list[Action]:
        return [*self.core.peer_connected(peer_id, now), Disconnect(peer_id, Reason.BAD_SIGNATURE, "rude")]


class Different(Around):
    """Executes blocks in its own way from height 5 on."""

    def __init__(self, core: Core, signer: Signer, chain: Chain) -> None:
        super().__init__(core, signer, chain)
        execute = chain.execute

        def different(block: Block, *rest: Any) -> Executed:
            executed = execute(block, *rest)
            if block.header.height < 5 or int.from_bytes(signer.public_key[-30:], "big") % 2:
                return executed
            changes = Changes({**executed.result.changes.entries, b"chain/odd": (None, b"1")})
            return replace(executed, result=replace(executed.result, changes=changes))

        chain.execute = different  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(("disk", "said"), [(LazyDisk, "had committed"), (ForgetfulDisk, "signed two things")])
def test_a_disk_that_forgets_is_caught(disk: type[Disk], said: str) -> None:
    assert said in caught(type("Forgetful", (Bugged,), {"disk": disk}), GROUPS["crashes"])


@pytest.mark.parametrize(
    ("wrap", "faults", "said"),
    [
        (Deaf, (), "does not reach"),
        (Heedless, (Kind.WRITE,), "goes on"),
        (Rude, (), "lets go of honest"),
        (Different, (), "has another state"),
    ],
)
def test_a_node_with_a_bug_is_caught(wrap: Wrap, faults: tuple[Kind, ...], said: str) -> None:
    assert said in caught(type("Wrapped", (Bugged,), {"wraps": (wrap,)}), faults, heights=8)


def mint_at_each_payment(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = MESSAGES["token/transfer"]

    def mint(context: Context, pay: Transfer) -> None:
        kind.rule(context, pay)
        credit(context.state, pay.to, pay.asset, 1)

    monkeypatch.setitem(MESSAGES, "token/transfer", replace(kind, rule=mint))


def test_money_out_of_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    mint_at_each_payment(monkeypatch)
    assert "supply" in caught(Simulation, ())


def test_a_quorum_of_a_third_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 3 * power > self.total_power)
    assert "has block" in caught(Simulation, GROUPS["partitions"])
