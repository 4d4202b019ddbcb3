"""Pending evidence: checked before it is taken, kept over a restart, gone when it is on chain or too old."""

from functools import cache
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from consensus.evidence import duplicate_proposal, duplicate_vote, height_of
from consensus.types import (
    NIL,
    DuplicateProposal,
    DuplicateVote,
    Evidence,
    SignedOffer,
    Vote,
    VoteKind,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from crypto.errors import Reason, Refused
from node.actions import Disconnect, SendAll
from node.chain import Chain, open_chain
from node.document import DiskDocument
from node.evidence_pool import MAX_PER_ACCUSED, EvidencePool, evidence_document
from p2p.network import PeerId
from p2p.wire import EvidenceMessage
from state.encoding import encode
from state.genesis import genesis_hash
from state.memory import MemoryStore
from state.types import Address, BlockId, Height, Round
from tests.node.lab import Lab
from tests.node.world import FakeVerifier, MemoryDocument, World, fake_signature

VALUES = (BlockId(b"\x01" * 32), BlockId(b"\x02" * 32))


@cache
def lab() -> Lab:
    return Lab(Path("/nonexistent"), size=4)


def pool(file: MemoryDocument | DiskDocument | None = None) -> EvidencePool:
    made = EvidencePool(file or MemoryDocument(), open_chain(MemoryStore(), lab().genesis), FakeVerifier())
    made.load()
    return made


def accused(place: int) -> tuple[Address, int, bytes]:
    """Return the address, index and key of a validator."""
    key = lab().consensus_keys[place]
    ordered = sorted(one.address for one in lab().consensus_keys)
    return Address(key.address), ordered.index(key.address), key.public_key


def double_vote(height: int, place: int = 0, round: int = 0, kind: VoteKind = VoteKind.PREVOTE) -> DuplicateVote:
    address, index, key = accused(place)
    chain_id = genesis_hash(lab().genesis)
    votes = [
        Vote(kind, Height(height), Round(round), value, index, fake_signature(
            key, vote_sign_bytes(chain_id, kind, Height(height), Round(round), value)
        ))
        for value in (NIL, VALUES[0])
    ]
    return duplicate_vote(address, votes[0], votes[1])


def double_proposal(height: int, place: int = 0) -> DuplicateProposal:
    address, _, key = accused(place)
    chain_id = genesis_hash(lab().genesis)
    offers = [
        SignedOffer(Height(height), Round(0), -1, value, fake_signature(
            key, proposal_sign_bytes(chain_id, Height(height), Round(0), -1, value)
        ))
        for value in VALUES
    ]
    return duplicate_proposal(address, offers[0], offers[1])


@pytest.mark.parametrize("evidence", [double_vote(1), double_proposal(1)])
def test_it_is_news_once(evidence: Evidence) -> None:
    made = pool()
    assert made.add(evidence)
    assert not made.add(evidence)
    assert (made.pending(), made.known) == ((evidence,), 1)


def test_the_same_offence_with_other_signatures_is_no_news() -> None:
    made = pool()
    made.add(double_vote(1))
    again = double_vote(1)
    other = replace(again, first=replace(again.first, signature=again.first.signature + b"2"))
    assert not made.add(other)


def spoiled() -> list[tuple[Evidence, Reason]]:
    good = double_vote(1)
    offers = double_proposal(1)
    return [
        (replace(good, second=replace(good.second, signature=b"fake" + bytes(32))), Reason.BAD_SIGNATURE),
        (replace(good, first=good.second), Reason.BAD_EVIDENCE),
        (replace(good, validator=accused(1)[0]), Reason.BAD_EVIDENCE),
        (replace(good, validator=Address(bytes(32))), Reason.UNKNOWN_VALIDATOR),
        (replace(good, first=replace(good.first, round=Round(3))), Reason.BAD_EVIDENCE),
        (replace(offers, round=Round(1)), Reason.BAD_SIGNATURE),
        (replace(offers, first=offers.second, second=offers.first), Reason.BAD_EVIDENCE),
    ]


@pytest.mark.parametrize(("evidence", "reason"), spoiled())
def test_what_proves_nothing_is_refused(evidence: Evidence, reason: Reason) -> None:
    made = pool()
    with pytest.raises(Refused) as refused:
        made.add(evidence)
    assert refused.value.reason is reason
    assert reason.permanent
    assert len(made) == 0


@pytest.mark.parametrize(("evidence", "reason"), spoiled())
def test_who_sends_it_is_let_go(evidence: Evidence, reason: Reason) -> None:
    world = World(lab().genesis, [key.public_key for key in lab().consensus_keys])
    world.start(world.machines[0])
    frame = encode(EvidenceMessage(evidence))
    (action,) = world.machines[0].core.consensus_frame(PeerId(b"p"), frame, world.now)
    assert isinstance(action, Disconnect)
    assert action.reason is reason


def test_it_is_passed_on_once_by_a_node_that_only_follows() -> None:
    world = World(lab().genesis, [None])
    world.start(world.machines[0])
    frame = encode(EvidenceMessage(double_vote(1)))
    core = world.machines[0].core
    passed = [action for action in core.consensus_frame(PeerId(b"p"), frame, world.now) if isinstance(action, SendAll)]
    assert [action.payload for action in passed] == [frame]
    assert core.consensus_frame(PeerId(b"q"), frame, world.now) == []
    assert any(getattr(action, "payload", b"") == frame for action in core.peer_connected(PeerId(b"r"), world.now))


def test_a_block_holds_the_oldest_offence_of_each_before_it() -> None:
    made = pool()
    for evidence in (double_vote(2), double_vote(1), double_vote(1, place=1), double_vote(2, place=2)):
        assert made.add(evidence)
    assert made.for_block() == ()  # the chain has no block yet: height 1 is in progress
    assert [height_of(evidence) for evidence in made.pending()] == [1, 1, 2, 2]


def test_a_height_whose_validators_are_not_known_yet_is_neither_taken_nor_anybodys_fault() -> None:
    made = pool()
    assert made.add(double_vote(2))
    assert not made.add(double_vote(3))


def test_one_liar_fills_little_of_it() -> None:
    made = pool()
    taken = [made.add(double_vote(1, round=round)) for round in range(MAX_PER_ACCUSED + 3)]
    assert sum(taken) == MAX_PER_ACCUSED
    assert made.add(double_vote(1, place=1))


def test_it_survives_a_restart_on_a_disk(tmp_path: Path) -> None:
    first = pool(evidence_document(tmp_path / "evidence"))
    first.add(double_vote(1))
    first.add(double_proposal(1, place=1))
    second = pool(evidence_document(tmp_path / "evidence"))
    assert second.pending() == first.pending()
    assert second.known == 0


def test_damage_at_any_byte_leaves_nothing_that_is_not_proven() -> None:
    file = MemoryDocument()
    evidence = double_vote(1)
    pool(file).add(evidence)
    whole = file.content
    for at in range(0, len(whole), 3):
        file.content = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        assert set(pool(file).pending()) <= {evidence}


def test_it_makes_a_block_and_leaves_when_that_is_committed() -> None:
    """An idle chain makes blocks for evidence alone: that of the offence, that of the accusation, and one as proof."""
    world = World(lab().genesis, [key.public_key for key in lab().consensus_keys])
    for machine in world.machines:
        world.start(machine)
    evidence = double_vote(1)
    world.tell(world.machines[0], encode(EvidenceMessage(evidence)))
    world.run(lambda: all(machine.core.chain.height >= 3 for machine in world.machines))
    block = world.machines[0].core.chain.block(Height(2)).block
    assert block.evidence == (evidence,)
    assert [len(machine.core.agreement.pool) for machine in world.machines] == [0] * 4
    world.tell(world.machines[0], encode(EvidenceMessage(double_vote(1, round=5))))
    assert len(world.machines[0].core.agreement.pool) == 0  # who is out for ever may not keep the chain busy
    assert all(not machine.evidence.content or b"fake" not in machine.evidence.content for machine in world.machines)
    until = world.now + 3000
    world.later(until)
    world.run(lambda: world.now >= until)
    assert [machine.core.chain.height for machine in world.machines] == [3] * 4


@pytest.mark.parametrize("seed", range(6))
def test_no_honest_node_refuses_what_another_one_accuses(seed: int) -> None:
    """Whatever each has heard, in whatever order: every block is final in its first round, and no peer is let go."""
    random = Random(seed)
    world = World(lab().genesis, [key.public_key for key in lab().consensus_keys])
    for machine in world.machines:
        world.start(machine)
    for _ in range(25):
        evidence: Evidence = double_vote(
            random.choice((1, 2)), random.choice((0, 0, 0, 1, 2)), random.randrange(4), random.choice(list(VoteKind))
        )
        if not random.randrange(4):
            evidence = double_proposal(random.choice((1, 2)), random.choice((0, 1, 2)))
        world.tell(random.choice(world.machines), encode(EvidenceMessage(evidence)))
        until = world.now + random.choice((0, 1, 30, 400))
        world.later(until)
        world.run(lambda until=until: world.now >= until)  # type: ignore[misc]
    until = world.now + 5000
    world.later(until)
    world.run(lambda: world.now >= until)
    (height,) = {machine.core.chain.height for machine in world.machines}
    chain = world.machines[0].core.chain
    blocks = [chain.block(Height(at)) for at in range(1, height + 1)]
    assert [one.commit.round for one in blocks] == [0] * height
    accused = [evidence.validator for one in blocks for evidence in one.block.evidence]
    assert sorted(accused) == sorted(key.address for key in lab().consensus_keys[:3])
    assert world.let_go == []
    assert [len(machine.core.agreement.pool) for machine in world.machines] == [0] * 4


class TwoKeys(Chain):
    """A chain on which the keys of the first two validators are one operator's, before and after a rotation."""

    def check_accusation(self, evidence: Evidence, height: Height) -> Address:
        operator = super().check_accusation(evidence, height)
        return Address(bytes(32)) if evidence.validator in (accused(0)[0], accused(1)[0]) else operator


def test_a_block_accuses_an_operator_of_one_offence_of_all_its_keys() -> None:
    world = World(lab().genesis, [key.public_key for key in lab().consensus_keys])
    for machine in world.machines:
        world.start(machine)
    world.tell(world.machines[0], encode(EvidenceMessage(double_vote(1, place=3))))
    world.run(lambda: world.machines[0].core.chain.height >= 2)
    chain = world.machines[0].core.chain
    made = EvidencePool(
        MemoryDocument(), TwoKeys(chain.store, chain.genesis, chain.tip, chain.versions), FakeVerifier()
    )
    first, second, third = double_vote(1, place=1), double_vote(2, place=0), double_vote(2, place=2)
    for evidence in (second, third, first):
        assert made.add(evidence)
    assert made.for_block() == (first, third)
    assert len(made) == 3  # the second waits until the first is on chain, which makes it useless
