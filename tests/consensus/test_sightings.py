"""What nodes saw, told to each other: two halves that were told two things find out; the honest stay silent."""

from msgspec.structs import replace

from consensus.effects import (
    BlockChecked,
    CheckBlock,
    Decide,
    Effect,
    Misbehaved,
    OfferReceived,
    ProposalReceived,
    RecordEvidence,
    StartHeight,
    VoteReceived,
)
from consensus.engine import HEIGHTS_BEFORE, Engine
from consensus.evidence import verify_evidence
from consensus.relay import VoteSet
from consensus.sightings import MAX_CONTRADICTIONS, Sightings, offer_of
from consensus.types import NIL, ConsensusParams, Proposal, SignedOffer, Tip, Vote, VoteKind
from crypto.errors import Reason
from state.encoding import encode
from state.types import BlockId, Height, Round
from tests.consensus.parts import (
    CHAIN,
    KeyedHash,
    commit_of,
    genesis_tip,
    hash32,
    make_validators,
    offered,
    sign_proposal,
    signed_vote,
    tip_after,
)

PREVOTE, PRECOMMIT = VoteKind.PREVOTE, VoteKind.PRECOMMIT
TIP = genesis_tip(make_validators([10] * 4))
NOW = TIP.time + 10_000
ONE, OTHER = offered(TIP, 0, time=NOW), offered(TIP, 0, time=NOW + 1)
PEER = b"peer"


def engine(*messages: Proposal | Vote | SignedOffer, tip: Tip = TIP) -> Engine:
    made = Engine(CHAIN, ConsensusParams(), KeyedHash(), None)
    made.handle(StartHeight(tip), NOW)
    give(made, *messages)
    return made


def give(to: Engine, *messages: Proposal | Vote | SignedOffer) -> list[Effect]:
    effects: list[Effect] = []
    for message in messages:
        if isinstance(message, Vote):
            effects += to.handle(VoteReceived(message, PEER), NOW)
        elif isinstance(message, SignedOffer):
            effects += to.handle(OfferReceived(message, PEER), NOW)
        else:
            effects += to.handle(ProposalReceived(message, PEER), NOW)
    for effect in list(effects):
        if isinstance(effect, CheckBlock):
            proposal = effect.proposal
            effects += to.handle(BlockChecked(proposal.height, proposal.block_id, True), NOW)
    return effects


def evidence(effects: list[Effect]) -> list[RecordEvidence]:
    found = [effect for effect in effects if isinstance(effect, RecordEvidence)]
    for one in found:
        verify_evidence(CHAIN, TIP.validators, one.evidence, KeyedHash())
    return found


def votes(value: bytes, *voters: int, kind: VoteKind = PREVOTE, round: int = 0) -> list[Vote]:
    return [signed_vote(TIP, index, kind, round, value) for index in voters]


def test_honest_nodes_that_saw_different_parts_have_nothing_to_say() -> None:
    one = engine(ONE, *votes(ONE.block_id, 0, 1))
    other = engine(ONE, *votes(ONE.block_id, 2), *votes(NIL, 3))
    for here, there in ((one, other), (other, one)):
        assert [there.contradicting(seen) for seen in here.news()] == [()]


def test_two_halves_of_a_double_vote_become_evidence() -> None:
    one, other = engine(*votes(ONE.block_id, 0, 3)), engine(*votes(NIL, 1, 3))
    (seen,) = one.news()
    (contradiction,) = other.contradicting(seen)
    assert contradiction == votes(NIL, 3)[0]
    (found,) = evidence(give(one, contradiction))
    assert found.evidence.validator == TIP.validators.validators[3].address
    assert other.contradicting(one.news()[0]) == ()  # both are held there now: that proof goes its own way


def test_two_halves_of_a_double_proposal_become_evidence_without_the_block() -> None:
    one, other = engine(ONE), engine(OTHER)
    (contradiction,) = other.contradicting(one.news()[0])
    assert contradiction == offer_of(OTHER)
    assert len(encode(contradiction)) < 200
    (found,) = evidence(give(one, contradiction))
    assert found.evidence.validator == TIP.validators.validators[0].address
    assert evidence(give(one, contradiction)) == []


def test_an_offer_that_its_round_did_not_sign_is_the_senders_fault() -> None:
    made = engine(ONE)
    (effect,) = give(made, replace(offer_of(OTHER), pol_round=0))
    assert isinstance(effect, Misbehaved)
    assert (effect.reason, effect.peer) == (Reason.BAD_SIGNATURE, PEER)


def test_an_offer_of_what_is_known_or_of_nothing_does_nothing() -> None:
    made = engine(ONE)
    later = sign_proposal(TIP, replace(OTHER, round=Round(1)), 1)
    assert give(made, offer_of(ONE), offer_of(later)) == []
    assert give(made, replace(offer_of(OTHER), height=Height(9))) == []


def test_news_are_told_once() -> None:
    made = engine(ONE)
    assert made.has_news
    assert [(seen.height, len(seen.offers)) for seen in made.news()] == [(1, 1)]
    assert not made.has_news
    assert made.news() == ()
    give(made, *votes(NIL, 1))
    assert made.has_news
    give(made, *votes(NIL, 1))
    assert len(made.news()) == 1


def decided() -> tuple[Engine, Tip]:
    made = engine(ONE, *votes(ONE.block_id, 0, 1, 2), *votes(ONE.block_id, 0, 1, kind=PRECOMMIT))
    effects = give(made, *votes(ONE.block_id, 2, kind=PRECOMMIT))
    assert any(isinstance(effect, Decide) for effect in effects)
    tip = tip_after(TIP, ONE, commit_of(TIP, ONE, [0, 1, 2]))
    made.handle(StartHeight(tip), NOW)
    return made, tip


def test_it_comes_out_after_the_decision_too() -> None:
    made, _ = decided()
    late = engine(*votes(NIL, 2))
    (contradiction,) = made.contradicting(late.news()[0])
    assert contradiction == votes(ONE.block_id, 2)[0]
    assert len(evidence(give(made, *votes(NIL, 1)))) == 1
    assert len(evidence(give(made, OTHER))) == 1


def test_heights_long_past_are_forgotten() -> None:
    made, tip = decided()
    seen = engine(*votes(NIL, 2)).news()[0]
    for _ in range(HEIGHTS_BEFORE):
        assert made.contradicting(seen)
        proposal = offered(tip, 0, time=tip.time + 1000)
        tip = tip_after(tip, proposal, commit_of(tip, proposal, [0, 1, 2]))
        made.handle(StartHeight(tip), NOW)
    assert made.contradicting(seen) == ()


def test_one_answer_is_bounded_whatever_the_bitmaps_claim() -> None:
    tip = genesis_tip(make_validators([10] * 100))
    cast = [signed_vote(tip, index, PREVOTE, 0, NIL) for index in range(100)]
    made = engine(*cast, tip=tip)
    claims = tuple(VoteSet(PREVOTE, Round(0), BlockId(hash32(str(number))), b"\xff" * 32) for number in range(3))
    assert len(made.contradicting(Sightings(Height(1), (), claims))) == MAX_CONTRADICTIONS


def test_rounds_that_most_power_voted_in_are_told_first() -> None:
    made = engine(*votes(NIL, 3, round=1), *votes(NIL, 0, 1, 2), *votes(NIL, 3, round=4))
    assert [one.round for one in made.news()[0].votes] == [0, 1, 4]


def test_late_votes_for_many_rounds_are_bounded() -> None:
    made, _ = decided()
    for round in range(1, 40):
        give(made, *votes(NIL, 3, round=round))
    (past,) = [seen for seen in made.news() if seen.height == 1]
    assert len({one.round for one in past.votes}) <= 7
