"""Liars on the clock that jumps: with a third of them the chain is safe and live, and who signs twice is caught."""

from collections import defaultdict
from random import Random

import pytest

from consensus.accountability import Fault, examine
from consensus.types import Evidence, Vote, VoteKind
from node.actions import Action, Send
from p2p.network import Channel
from p2p.wire import ProposalMessage, VoteMessage, consensus_message_codec
from state.types import Height
from testnet.byzantine.behaviours import BEHAVIOURS, EQUIVOCATIONS
from tests.node.world import FakeVerifier, Machine
from tests.testnet.arena import Arena

SIZES = ((4, 1), (7, 2), (10, 3))
PAYMENTS = 4
KNOWN_WITHIN = 1000
"""ms from two honest nodes having a conflict between them to every honest node knowing it."""
ON_CHAIN_WITHIN = 2
"""Heights."""


@pytest.mark.parametrize(("size", "liars", "loss"), [(4, 1, 0.0), (7, 2, 0.0), (10, 3, 0.0), (4, 1, 0.2), (7, 2, 0.1)])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_third_of_liars_neither_splits_nor_stops_the_chain(
    behaviour: str, size: int, liars: int, loss: float
) -> None:
    arena = Arena(size, liars, [behaviour], seed=size)
    random = Random(1)
    arena.world.loses = lambda _one, _other, channel, _payload: (
        channel is Channel.CONSENSUS and random.random() < loss
    )
    if behaviour == "withheld_bodies":
        arena.pay(0, arena.liars[0], account=1)
    for nonce in range(PAYMENTS):
        arena.pay(nonce, arena.honest[nonce % len(arena.honest)])
        arena.run_until_paid(nonce + 1)
    arena.check_safe()


class Watch:
    """Notes when the liars of an arena first say two things to honest nodes."""

    def __init__(self, arena: Arena) -> None:
        self.at = 0
        self.height = Height(0)
        self.liar = arena.liars[0]
        self._arena = arena
        self._said: defaultdict[tuple[object, ...], set[bytes]] = defaultdict(set)
        arena.world.on_action = self._look

    def run_to_offence(self) -> None:
        """Pay until it happens."""
        payments = 0
        while not self.at:
            self._arena.pay(payments, self._arena.honest[0])
            payments += 1
            goal = payments
            self._arena.world.run(lambda: self.at > 0 or self._arena.paid(goal), 20_000)  # noqa: B023

    def _look(self, machine: Machine, action: Action) -> bool:
        honest = {other.name for other in self._arena.honest}
        if machine in self._arena.liars and isinstance(action, Send) and action.channel is Channel.CONSENSUS:
            message = consensus_message_codec.decode(action.payload)
            if isinstance(message, VoteMessage | ProposalMessage) and action.peer_id in honest and not self.at:
                said = message.vote if isinstance(message, VoteMessage) else message.proposal
                kind = said.kind if isinstance(said, Vote) else "proposal"
                values = self._said[machine.name, kind, said.height, said.round]
                values.add(said.block_id)
                if len(values) == 2:
                    self.at, self.height, self.liar = self._arena.world.now, said.height, machine
        return False


def evidence_of(machine: Machine, height: Height) -> list[Evidence]:
    return list(machine.core.chain.block(height).block.evidence)


@pytest.mark.parametrize(("size", "liars"), SIZES)
@pytest.mark.parametrize("behaviour", EQUIVOCATIONS)
def test_everybody_knows_an_equivocation_at_once_and_it_is_soon_on_chain(
    behaviour: str, size: int, liars: int
) -> None:
    for seed in range(3):
        arena = Arena(size, liars, [behaviour], seed=seed)
        watch = Watch(arena)
        watch.run_to_offence()
        arena.run_until_known()
        assert arena.world.now <= watch.at + 40 + KNOWN_WITHIN
        arena.run_to(watch.height + ON_CHAIN_WITHIN)
        found = [
            evidence for height in range(1, watch.height + ON_CHAIN_WITHIN + 1)
            for evidence in evidence_of(arena.honest[0], Height(height))
        ]
        assert arena.addresses([watch.liar]) <= {evidence.validator for evidence in found}
        arena.check_safe()


@pytest.mark.parametrize("behaviour", [name for name in BEHAVIOURS if name not in EQUIVOCATIONS])
def test_more_than_a_third_of_other_liars_alone_split_nothing(behaviour: str) -> None:
    """Each of these may stop the chain when two of four do it; to split it they need a network that helps them."""
    arena = Arena(4, 2, [behaviour], seed=3)
    arena.pay(0, arena.honest[0])
    arena.wait(6_000)
    arena.check_safe()


def two_faced(size: int, liars: int, latency: int) -> Arena:
    """Let the liars talk to two halves of the honest, who cannot hear each other; then let these meet."""
    arena = Arena(size, range(liars), EQUIVOCATIONS)
    arena.world.latency = lambda: latency  # the same for all, so that the liars know both blocks before they vote
    half = (len(arena.honest) + 1) // 2
    side = {machine.name: number < half for number, machine in enumerate(arena.honest)}
    arena.world.loses = lambda one, other, channel, _: (
        channel is Channel.CONSENSUS and one.name in side and other.name in side
        and side[one.name] is not side[other.name]
    )
    arena.pay(0, arena.honest[0])
    arena.wait(3_000)
    arena.world.loses = lambda *_: False
    arena.wait(1_500)
    return arena


@pytest.mark.parametrize(("size", "liars"), [(4, 2), (7, 3), (10, 4)])
def test_more_than_a_third_with_two_faces_stop_the_chain_or_split_it_and_are_named(size: int, liars: int) -> None:
    for latency in (3, 5, 8, 13, 21):
        arena = two_faced(size, liars, latency)
        if arena.forked():
            break
    else:
        raise AssertionError("with more than a third of liars, this splits the chain sooner or later")
    named = set.union(*(arena.accused(machine) for machine in arena.honest))
    assert named <= arena.addresses(arena.liars)
    assert 3 * len(named) >= size
    verdicts = examine([arena.log(machine) for machine in arena.honest], FakeVerifier())
    found = {finding.validator for verdict in verdicts for finding in verdict.findings}
    assert found <= arena.addresses(arena.liars)
    split = [verdict for verdict in verdicts if len(verdict.decided) > 1]
    assert split
    assert split[0].enough


def test_more_than_a_third_that_forget_their_locks_are_named_by_the_logs() -> None:
    """0 and 2 let 3 alone decide in round 0, hide that from 1, and decide something else with it in round 1."""
    arena = Arena(4, (0, 2), ["amnesia"])
    dupe, victim = arena.honest

    def loses(one: Machine, other: Machine, channel: Channel, payload: bytes) -> bool:
        if channel is not Channel.CONSENSUS:
            return False
        if victim in (one, other) and (dupe in (one, other) or victim.core.chain.height > 0):
            return True
        message = consensus_message_codec.decode(payload)
        said = getattr(message, "vote", None) or getattr(message, "proposal", None)
        if said is None:
            return victim is one
        if isinstance(said, Vote):
            betrays = other is dupe and said.validator == 3
            return betrays or (one is victim and said.kind is VoteKind.PRECOMMIT)
        return other is dupe and said.round == 0

    arena.world.loses = loses
    arena.pay(0, victim)
    arena.run_to(1)
    assert arena.forked()
    (verdict,) = examine([arena.log(machine) for machine in arena.honest], FakeVerifier())
    assert {finding.fault for finding in verdict.findings} == {Fault.AMNESIA}
    assert {finding.validator for finding in verdict.findings} == arena.addresses(arena.liars)
    assert (len(verdict.decided), verdict.enough) == (2, True)
    assert not any(arena.accused(machine) for machine in arena.honest)
