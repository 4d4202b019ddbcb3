"""Engines against each other: agreement always, progress once the network heals, evidence where it is due."""

import pytest

from consensus.types import DuplicateProposal, DuplicateVote, VoteKind
from tests.consensus.simnet import Faults, Network

STEPS = 60_000
"""Inputs within which a healed network of seven must reach its goal: a bound, so that a stall fails the test."""


def healed(net: Network) -> None:
    net.faults.loss = 0.0
    net.faults.delay = (1, 20)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_quiet_network_makes_a_block_each_interval_in_round_zero(size: int) -> None:
    net = Network(size, seed=size)
    assert net.run_until(lambda: min(net.heights()) >= 10, STEPS)
    assert {commit.round for node in net.nodes for _, commit in node.decided.values()} == {0}
    proposers = [net.nodes[0].decided[height][0].header.proposer for height in range(1, size + 1)]
    assert len(set(proposers)) == size


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("seed", range(6))
def test_lost_and_reordered_messages_neither_split_nor_stop_it(size: int, seed: int) -> None:
    net = Network(size, seed, Faults(loss=0.25, delay=(1, 400)))
    net.run_for(15_000)
    healed(net)
    goal = max(net.heights()) + 5
    assert net.run_until(lambda: min(net.heights()) >= goal, STEPS)


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("seed", range(6))
def test_crashes_and_restarts_from_the_log(size: int, seed: int) -> None:
    net = Network(size, seed, Faults(loss=0.1, delay=(1, 100)))
    for _ in range(40):
        net.run_for(net.random.randint(1, 300))
        node = net.random.choice(net.nodes)
        if node.alive:
            node.crash()
        else:
            node.boot()
    for node in net.nodes:
        if not node.alive:
            node.boot()
    healed(net)
    goal = max(net.heights()) + 5
    assert net.run_until(lambda: min(net.heights()) >= goal, STEPS)


@pytest.mark.parametrize("size", [4, 7])
def test_all_crash_at_once(size: int) -> None:
    net = Network(size, seed=11)
    for _ in range(8):
        net.run_for(net.random.randint(20, 400))
        for node in net.nodes:
            node.crash()
        for node in net.nodes:
            node.boot()
    goal = max(net.heights()) + 5
    assert net.run_until(lambda: min(net.heights()) >= goal, STEPS)


@pytest.mark.parametrize(("size", "silent"), [(4, {1}), (7, {0, 3})])
def test_silent_validators_cost_a_round_and_no_more(size: int, silent: set[int]) -> None:
    net = Network(size, seed=3, faults=Faults(silent=silent))
    assert net.run_until(lambda: min(net.heights()) >= 2 * size, STEPS)
    rounds = [commit.round for _, commit in net.honest()[0].decided.values()]
    assert 0 < max(rounds) <= len(silent)


@pytest.mark.parametrize(("size", "liars"), [(4, {2}), (7, {1, 4})])
@pytest.mark.parametrize("seed", range(4))
def test_equivocation_stays_safe_live_and_is_proven_to_every_honest_node(
    size: int, liars: set[int], seed: int
) -> None:
    net = Network(size, seed, Faults(loss=0.05, delay=(1, 60), equivocating=liars))
    assert net.run_until(lambda: min(net.heights()) >= 2 * size, 4 * STEPS)
    addresses = {net.genesis.validators.validators[index].address for index in liars}
    for node in net.honest():
        assert {evidence.validator for evidence in node.evidence} == addresses
        votes = [evidence for evidence in node.evidence if isinstance(evidence, DuplicateVote)]
        assert {vote.first.kind for vote in votes} == set(VoteKind)
    assert any(isinstance(evidence, DuplicateProposal) for node in net.honest() for evidence in node.evidence)


def test_without_two_thirds_it_stops_and_goes_on_when_they_return() -> None:
    net = Network(4, seed=5)
    assert net.run_until(lambda: min(net.heights()) >= 3, STEPS)
    for node in net.nodes[:2]:
        node.crash()
    net.run_for(1_000)
    stuck = net.heights()
    net.run_for(20_000)
    assert net.heights() == stuck
    for node in net.nodes[:2]:
        node.boot()
    goal = max(stuck) + 5
    assert net.run_until(lambda: min(net.heights()) >= goal, STEPS)


def test_no_work_makes_no_blocks_beyond_the_proof_block() -> None:
    net = Network(4, seed=6)
    net.run_for(2_000)
    net.work = False
    net.run_for(2_000)
    rest = net.heights()
    assert len(set(rest)) == 1
    last = [proposal.wtxids for proposal, _ in net.nodes[0].decided.values()][-2:]
    assert last[0] and not last[1], "the last transactions are followed by one empty block"
    net.run_for(60_000)
    assert net.heights() == rest


def test_one_seed_is_one_run() -> None:
    runs = [Network(4, seed=9, faults=Faults(loss=0.2, delay=(1, 200))) for _ in range(2)]
    for net in runs:
        net.run_for(10_000)
    first, second = ([node.tip.block_id for node in net.nodes] + [net.steps] for net in runs)
    assert first == second
