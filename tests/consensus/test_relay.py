"""What a peer lacks, by bitmaps of round, kind and block id."""

from msgspec.structs import replace

from consensus.effects import ProposalReceived, StartHeight, VoteReceived
from consensus.engine import Engine
from consensus.relay import MAX_LACKING, status_codec
from consensus.types import NIL, ConsensusParams, Proposal, Vote, VoteKind
from state.encoding import encode
from state.types import Round
from tests.consensus.parts import (
    CHAIN,
    KeyedHash,
    genesis_tip,
    hash32,
    make_validators,
    offered,
    sign_proposal,
    signed_vote,
)

PREVOTE, PRECOMMIT = VoteKind.PREVOTE, VoteKind.PRECOMMIT
TIP = genesis_tip(make_validators([10] * 4))
NOW = TIP.time + 10_000
ONE = offered(TIP, 0, time=NOW)


def engine(*messages: Proposal | Vote) -> Engine:
    made = Engine(CHAIN, ConsensusParams(), KeyedHash(), None)
    made.handle(StartHeight(TIP), NOW)
    give(made, messages)
    return made


def give(to: Engine, messages: tuple[Proposal | Vote, ...]) -> None:
    for message in messages:
        if isinstance(message, Vote):
            to.handle(VoteReceived(message, b"peer"), NOW)
        else:
            to.handle(ProposalReceived(message, b"peer"), NOW)


def exchange(one: Engine, other: Engine) -> int:
    """Pass on what each lacks until neither lacks anything; return the number of messages."""
    passed = 0
    for _ in range(10):
        there, back = one.lacking(other.round_status()), other.lacking(one.round_status())
        if not there and not back:
            return passed
        give(other, there)
        give(one, back)
        passed += len(there) + len(back)
    raise AssertionError("they never end")


def test_equal_engines_lack_nothing() -> None:
    messages = (ONE, signed_vote(TIP, 0, PREVOTE, 0, ONE.block_id))
    assert exchange(engine(*messages), engine(*messages)) == 0


def test_proposal_and_votes_go_over_and_only_what_is_missing() -> None:
    shared = signed_vote(TIP, 0, PREVOTE, 0, ONE.block_id)
    mine = signed_vote(TIP, 1, PREVOTE, 0, ONE.block_id)
    theirs = signed_vote(TIP, 2, PRECOMMIT, 0, NIL)
    one, other = engine(ONE, shared, mine), engine(shared, theirs)
    assert one.lacking(other.round_status()) == (ONE, mine)
    assert other.lacking(one.round_status()) == (theirs,)
    assert exchange(one, other) == 3


def test_two_halves_of_an_equivocation_meet() -> None:
    one = engine(signed_vote(TIP, 0, PREVOTE, 0, NIL))
    other = engine(signed_vote(TIP, 0, PREVOTE, 0, ONE.block_id))
    assert exchange(one, other) == 2
    assert len(one.held.votes.tally(one.round_status().round).kinds[PREVOTE].held[0]) == 2


def test_conflicting_proposals_meet() -> None:
    other_block = offered(TIP, 0, time=NOW + 1)
    assert exchange(engine(ONE), engine(other_block)) == 2


def test_proof_of_lock_goes_with_the_proposal_that_names_it() -> None:
    polka = [signed_vote(TIP, index, PREVOTE, 0, ONE.block_id) for index in range(3)]
    later = [signed_vote(TIP, index, PREVOTE, 2, NIL) for index in range(2)]
    again = sign_proposal(TIP, replace(ONE, round=Round(2), pol_round=0), 2)
    one, other = engine(*polka, *later, again), engine(*later)
    assert exchange(one, other) == 4
    assert other.held.votes.has_quorum(PREVOTE, Round(0), ONE.block_id)


def test_who_is_rounds_behind_gets_what_takes_it_ahead() -> None:
    ahead = [signed_vote(TIP, index, PRECOMMIT, 5, NIL) for index in range(2)]
    one, other = engine(*ahead), engine(signed_vote(TIP, 0, PREVOTE, 0, NIL))
    exchange(one, other)
    assert other.step.round == 5


def test_precommits_of_the_round_just_left_are_told() -> None:
    commit = [signed_vote(TIP, index, PRECOMMIT, 0, ONE.block_id) for index in range(2)]
    later = [signed_vote(TIP, index, PREVOTE, 1, NIL) for index in range(2)]
    one, other = engine(*commit, *later), engine(*later)
    assert set(one.lacking(other.round_status())) == set(commit)


def test_other_heights_get_nothing() -> None:
    status = engine().round_status()
    assert status_codec.decode(encode(status)) == status
    assert engine(ONE).lacking(status) == (ONE,)
    for height in (status.height - 1, status.height + 1):
        assert engine(ONE).lacking(replace(status, height=height)) == ()


def test_status_stays_small_and_the_answer_bounded_with_the_largest_set() -> None:
    tip = genesis_tip(make_validators([1] * 256))
    made = Engine(CHAIN, ConsensusParams(), KeyedHash(), None)
    made.handle(StartHeight(tip), NOW)
    for index in range(256):
        for kind in VoteKind:
            for value in (hash32(f"{index} a"), hash32(f"{index} b"), NIL):
                made.handle(VoteReceived(signed_vote(tip, index, kind, 0, value), b"peer"), NOW)
    status = made.round_status()
    assert len(encode(status)) < 8_000
    empty = Engine(CHAIN, ConsensusParams(), KeyedHash(), None)
    empty.handle(StartHeight(tip), NOW)
    assert len(made.lacking(empty.round_status())) == MAX_LACKING
