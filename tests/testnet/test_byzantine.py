"""Liars on the clock that jumps: with a third of them the chain is safe and live, and who signs twice is caught."""

from collections import defaultdict

import pytest

from consensus.evidence import height_of
from consensus.types import Evidence, Vote
from node.actions import Action, Send
from p2p.network import Channel
from p2p.wire import ProposalMessage, VoteMessage, consensus_message_codec
from state.types import Height
from testnet.byzantine.behaviours import BEHAVIOURS, EQUIVOCATIONS
from tests.node.world import Machine
from tests.testnet.arena import Arena

SIZES = ((4, 1), (7, 2), (10, 3))
PAYMENTS = 4
KNOWN_WITHIN = 1000
"""ms from two honest nodes having a conflict between them to every honest node knowing it."""
ON_CHAIN_WITHIN = 2
"""Heights."""


@pytest.mark.parametrize(("size", "liars"), SIZES)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_third_of_liars_neither_splits_nor_stops_the_chain(behaviour: str, size: int, liars: int) -> None:
    arena = Arena(size, liars, [behaviour], seed=size)
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
        self._arena = arena
        self._said: defaultdict[tuple[object, ...], set[bytes]] = defaultdict(set)
        arena.world.on_action = self._look

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
                    self.at, self.height = self._arena.world.now, said.height
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
        nonce = 0
        while not watch.at:
            arena.pay(nonce, arena.honest[0])
            nonce += 1
            arena.run_until_paid(nonce)
        arena.world.run(lambda: all(arena.accused(machine) for machine in arena.honest), 10_000)
        assert arena.world.now <= watch.at + 40 + KNOWN_WITHIN
        arena.run_to(watch.height + ON_CHAIN_WITHIN)
        found = [
            evidence for height in range(1, watch.height + ON_CHAIN_WITHIN + 1)
            for evidence in evidence_of(arena.honest[0], Height(height))
        ]
        assert watch.height in {height_of(evidence) for evidence in found}
        arena.check_safe()


@pytest.mark.parametrize(("size", "liars"), [(4, 2), (7, 3), (10, 4)])
def test_more_than_a_third_with_two_faces_stop_the_chain_or_are_named(size: int, liars: int) -> None:
    forks = 0
    for seed in range(4):
        arena = Arena(size, liars, EQUIVOCATIONS, seed=seed)
        half = (len(arena.honest) + 1) // 2
        sides = [{machine.name for machine in side} for side in (arena.honest[:half], arena.honest[half:])]
        arena.world.loses = lambda one, other, *_: any(  # noqa: B023
            one.name in here and other.name in there for here, there in (sides, reversed(sides))  # noqa: B023
        )
        arena.pay(0, arena.honest[0])
        arena.wait(20_000)
        arena.world.loses = lambda *_: False
        arena.wait(5_000)
        if arena.forked():
            forks += 1
            named = set.union(*(arena.accused(machine) for machine in arena.honest))
            assert named <= arena.addresses(arena.liars)
            assert 3 * len(named) >= size
    assert forks
