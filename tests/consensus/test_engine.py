"""One engine, input by input: what it signs, what it refuses, what it remembers, when it waits."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from msgspec.structs import replace

from consensus.block import make_header, make_proposal
from consensus.effects import (
    AppendLog,
    BlockBuilt,
    BlockChecked,
    Broadcast,
    BuildBlock,
    CheckBlock,
    Decide,
    Diverged,
    Effect,
    Misbehaved,
    PassOn,
    PeerAhead,
    PersistBlock,
    ProposalReceived,
    ProposalRejected,
    RecordEvidence,
    ScheduleTimeout,
    SignProposal,
    SignVote,
    StartHeight,
    Timeout,
    TimeoutElapsed,
    VoteReceived,
    WorkAvailable,
)
from consensus.engine import MAX_EARLY_PROPOSALS, Engine
from consensus.evidence import verify_evidence
from consensus.height_run import MAX_JUMP, MAX_ROUNDS_AHEAD
from consensus.log import BlockEntry, LogEntry, ProposalEntry, VoteEntry
from consensus.proposer import proposer_of
from consensus.types import NIL, ConsensusParams, Proposal, Tip, Vote, VoteKind
from crypto.errors import Reason
from state.types import BlockId, Height, Round, WtxId
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
PARAMS = ConsensusParams()
TIP = genesis_tip(make_validators([10] * 4))
NOW = TIP.time + 10_000
PEER = b"peer"
E = TypeVar("E", bound=Effect)


def only(kind: type[E], effects: Sequence[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


class Bench:
    """An engine of validator `own`, with a signer that answers at once. Rounds 0, 1, 2, 3 belong to 0, 1, 2, 3."""

    def __init__(self, own: int | None = 3, tip: Tip = TIP, entries: Sequence[LogEntry] = (), now: int = NOW) -> None:
        self.tip, self.own, self.now = tip, own, now
        self.verifier = KeyedHash()
        address = None if own is None else tip.validators.validators[own].address
        self.engine = Engine(CHAIN, PARAMS, self.verifier, address)
        self.engine.restore(entries)
        self.signed: list[Vote] = []
        self.proposed: list[Proposal] = []
        self.first = self.give(StartHeight(tip))

    def give(self, item: object) -> list[Effect]:
        effects = self.engine.handle(item, self.now)  # type: ignore[arg-type]
        more: list[Effect] = []
        for effect in effects:
            if isinstance(effect, SignVote):
                vote = signed_vote(self.tip, effect.validator, effect.kind, effect.round, effect.block_id)
                self.signed.append(vote)
                more += self.give(VoteReceived(vote, b""))
            if isinstance(effect, SignProposal):
                assert self.own is not None
                proposal = sign_proposal(self.tip, effect.proposal, self.own)
                self.proposed.append(proposal)
                more += self.give(ProposalReceived(proposal, b""))
        return effects + more

    def vote(self, index: int, kind: VoteKind, round: int, value: bytes, sender: bytes = PEER) -> list[Effect]:
        return self.give(VoteReceived(signed_vote(self.tip, index, kind, round, value), sender))

    def votes(self, indices: Sequence[int], kind: VoteKind, round: int, value: bytes) -> list[Effect]:
        return [effect for index in indices for effect in self.vote(index, kind, round, value)]

    def proposal(self, proposal: Proposal, valid: bool | None = True) -> list[Effect]:
        effects = self.give(ProposalReceived(proposal, PEER))
        if valid is not None and only(CheckBlock, effects):
            effects += self.give(BlockChecked(proposal.height, proposal.block_id, valid))
        return effects

    def timeout(self, round: int, step: str) -> list[Effect]:
        return self.give(TimeoutElapsed(Timeout(self.engine.step.height, Round(round), step)))

    def said(self) -> list[tuple[VoteKind, int, bytes]]:
        return [(vote.kind, vote.round, vote.block_id) for vote in self.signed]


ONE = offered(TIP, 0, time=NOW)
OTHER = offered(TIP, 0, time=NOW + 1)


def again(tip: Tip, proposal: Proposal, proposer: int, round: int, pol_round: int) -> Proposal:
    return sign_proposal(tip, replace(proposal, round=Round(round), pol_round=pol_round), proposer)


# ---- a height


def test_rotation_of_this_bench() -> None:
    assert [proposer_of(TIP.validators, TIP.priorities, round) for round in range(4)] == [0, 1, 2, 3]


def test_from_proposal_to_decision() -> None:
    bench = Bench()
    effects = bench.proposal(ONE)
    assert [type(effect) for effect in effects] == [
        AppendLog, PassOn, ScheduleTimeout, CheckBlock, SignVote, Broadcast,
    ]
    effects = bench.votes((0, 1), PREVOTE, 0, ONE.block_id)
    assert [type(effect) for effect in effects] == [
        AppendLog, PassOn, AppendLog, PassOn, ScheduleTimeout, PersistBlock, SignVote, Broadcast,
    ]
    assert bench.engine.step == (1, 0, "precommit")
    effects = bench.votes((0, 1), PRECOMMIT, 0, ONE.block_id)
    assert only(Decide, effects) == [Decide(ONE, commit_of(TIP, ONE, (0, 1, 3)))]
    assert bench.engine.step == (1, 0, "commit")
    assert bench.said() == [(PREVOTE, 0, ONE.block_id), (PRECOMMIT, 0, ONE.block_id)]


def test_the_proposer_builds_signs_and_broadcasts() -> None:
    bench = Bench(own=0)
    effects = bench.give(WorkAvailable())
    assert only(BuildBlock, effects) == [BuildBlock(Height(1), Round(0), TIP.commit)]
    header = make_header(TIP, time=NOW, proposer=TIP.validators.validators[0].address, wtxids=(),
                         last_commit=TIP.commit)
    effects = bench.give(BlockBuilt(make_proposal(header, (), TIP.commit)))
    assert only(Broadcast, effects)[0].message == bench.proposed[0]
    assert only(CheckBlock, effects) == []  # it was executed when it was built
    assert bench.said() == [(PREVOTE, 0, header.block_id)]
    assert bench.give(BlockBuilt(make_proposal(header, (), TIP.commit))) == []


def test_commit_of_an_earlier_round_counts_once_the_block_is_here() -> None:
    bench = Bench()
    bench.votes((0, 1), PREVOTE, 2, NIL)
    assert bench.engine.step == (1, 2, "propose")
    assert only(Decide, bench.votes((0, 1, 2), PRECOMMIT, 0, ONE.block_id)) == []
    assert only(Decide, bench.proposal(ONE)) == [Decide(ONE, commit_of(TIP, ONE, (0, 1, 2)))]


def test_a_follower_decides_and_signs_nothing() -> None:
    bench = Bench(own=None)
    bench.proposal(ONE)
    bench.votes((0, 1, 2), PREVOTE, 0, ONE.block_id)
    effects = bench.votes((0, 1, 2), PRECOMMIT, 0, ONE.block_id)
    assert len(only(Decide, effects)) == 1 and bench.said() == []


def test_alone_it_decides_alone() -> None:
    tip = genesis_tip(make_validators([1]))
    bench = Bench(own=0, tip=tip)
    bench.give(WorkAvailable())
    header = make_header(tip, time=NOW, proposer=tip.validators.validators[0].address, wtxids=(),
                         last_commit=tip.commit)
    assert len(only(Decide, bench.give(BlockBuilt(make_proposal(header, (), tip.commit))))) == 1


# ---- waiting


def test_no_work_no_round() -> None:
    bench = Bench()
    assert bench.first == [] and bench.engine.step == (1, 0, "new_height")
    assert only(ScheduleTimeout, bench.give(WorkAvailable())) == [
        ScheduleTimeout(Timeout(Height(1), Round(0), "propose"), PARAMS.timeout_propose)
    ]
    assert bench.give(WorkAvailable()) == []


def test_work_waits_for_the_interval() -> None:
    bench = Bench(now=TIP.time + 100)
    interval = Timeout(Height(1), Round(0), "new_height")
    assert bench.first == [ScheduleTimeout(interval, PARAMS.block_interval - 100)]
    assert bench.give(WorkAvailable()) == []
    bench.give(TimeoutElapsed(interval))
    assert bench.engine.step.name == "propose"


def test_a_proof_block_follows_without_work() -> None:
    bench = Bench(tip=TIP._replace(needs_proof_block=True))
    assert bench.engine.step.name == "propose"


def test_a_clock_behind_the_tip_waits_one_interval_at_most() -> None:
    bench = Bench(now=TIP.time - 60_000)
    assert only(ScheduleTimeout, bench.first)[0].delay == PARAMS.block_interval


def test_a_third_of_the_power_wakes_it_one_vote_does_not() -> None:
    bench = Bench()
    bench.vote(0, PREVOTE, 0, NIL)
    assert bench.engine.step.name == "new_height"
    bench.vote(1, PREVOTE, 0, NIL)
    assert bench.engine.step == (1, 0, "propose")


def test_timeouts_grow_to_the_cap() -> None:
    bench = Bench()
    delays = []
    for round in (1, 2, 100):
        effects = bench.votes((0, 1), PREVOTE, round, NIL)
        delays.append(only(ScheduleTimeout, effects)[0].delay)
    assert delays == [2000, 2500, 10_000]


def test_timers_of_other_heights_and_rounds_do_nothing() -> None:
    bench = Bench()
    bench.give(WorkAvailable())
    assert bench.timeout(1, "propose") == []
    assert bench.give(TimeoutElapsed(Timeout(Height(2), Round(0), "propose"))) == []
    bench.timeout(0, "propose")
    assert bench.said() == [(PREVOTE, 0, NIL)]


# ---- locking


def locked_on_one() -> Bench:
    """Locked on ONE in round 0, now in round 1."""
    bench = Bench()
    bench.proposal(ONE)
    bench.votes((0, 1), PREVOTE, 0, ONE.block_id)
    bench.votes((0, 1), PRECOMMIT, 0, NIL)
    bench.timeout(0, "precommit")
    assert bench.engine.step == (1, 1, "propose")
    return bench


def test_locked_it_refuses_another_block_and_takes_its_own_again() -> None:
    bench = locked_on_one()
    bench.proposal(offered(TIP, 1, 1, time=NOW))
    assert bench.said()[-1] == (PREVOTE, 1, NIL)
    bench = locked_on_one()
    bench.proposal(again(TIP, ONE, 1, 1, 0))
    assert bench.said()[-1] == (PREVOTE, 1, ONE.block_id)


def test_a_newer_polka_unlocks() -> None:
    bench = locked_on_one()
    new = offered(TIP, 1, 1, time=NOW)
    bench.proposal(new)
    bench.votes((0, 1, 2), PREVOTE, 1, new.block_id)
    assert bench.said()[-1] == (PRECOMMIT, 1, new.block_id)


def test_a_block_offered_again_waits_for_its_polka() -> None:
    bench = Bench()
    bench.votes((0, 1), PREVOTE, 1, NIL)  # round 1
    bench.proposal(again(TIP, ONE, 1, 1, 0))
    assert bench.said() == []
    bench.votes((0, 1, 2), PREVOTE, 0, ONE.block_id)
    assert bench.said() == [(PREVOTE, 1, ONE.block_id)]


def test_a_valid_value_is_proposed_again_unchanged() -> None:
    bench = Bench(own=1)
    bench.proposal(ONE)
    effects = bench.votes((0, 2), PREVOTE, 0, ONE.block_id)
    assert only(PersistBlock, effects) == [PersistBlock(ONE)]
    bench.votes((0, 2), PRECOMMIT, 0, NIL)
    effects = bench.timeout(0, "precommit")
    assert only(BuildBlock, effects) == []
    assert bench.proposed == [again(TIP, ONE, 1, 1, 0)]
    assert bench.proposed[0].header.proposer == TIP.validators.validators[0].address
    assert bench.said()[-1] == (PREVOTE, 1, ONE.block_id)


def test_a_polka_after_the_nil_precommit_sets_the_valid_value_alone() -> None:
    bench = Bench(own=1)
    bench.proposal(ONE)
    bench.votes((0, 2), PREVOTE, 0, NIL)
    bench.timeout(0, "prevote")
    assert bench.said()[-1] == (PRECOMMIT, 0, NIL)
    bench.vote(0, PREVOTE, 0, ONE.block_id)
    bench.vote(2, PREVOTE, 0, ONE.block_id)
    bench.votes((0, 2), PRECOMMIT, 0, NIL)
    bench.timeout(0, "precommit")
    assert bench.proposed[0].block_id == ONE.block_id and bench.proposed[0].pol_round == 0


# ---- validity and time


def test_an_invalid_block_gets_nil() -> None:
    bench = Bench()
    bench.proposal(ONE, valid=False)
    assert bench.said() == [(PREVOTE, 0, NIL)]


def test_nobody_prevotes_without_the_verdict() -> None:
    bench = Bench()
    bench.proposal(ONE, valid=None)
    assert bench.said() == []
    bench.timeout(0, "propose")
    assert bench.said() == [(PREVOTE, 0, NIL)]


@pytest.mark.parametrize(("late", "timely"), [
    (-PARAMS.precision - 1, False), (-PARAMS.precision, True), (0, True),
    (PARAMS.message_delay + PARAMS.precision, True), (PARAMS.message_delay + PARAMS.precision + 1, False),
])
def test_block_time_against_our_clock(late: int, timely: bool) -> None:
    bench = Bench(now=NOW + late)
    effects = bench.proposal(ONE)
    assert bench.said() == [(PREVOTE, 0, ONE.block_id if timely else NIL)]
    assert [effect.reason for effect in only(ProposalRejected, effects)] == ([] if timely else [Reason.BAD_TIME])


def test_the_time_of_a_locked_block_is_not_checked_again() -> None:
    bench = Bench(now=NOW + 10**7)
    bench.votes((0, 1, 2), PREVOTE, 0, ONE.block_id)
    bench.votes((0, 1), PREVOTE, 1, NIL)
    bench.proposal(again(TIP, ONE, 1, 1, 0))
    assert bench.said()[-1] == (PREVOTE, 1, ONE.block_id)


def test_the_message_delay_grows_with_the_round() -> None:
    bench = Bench(now=NOW + PARAMS.message_delay + PARAMS.precision + 1)
    bench.votes((0, 1), PREVOTE, 1, NIL)
    late = offered(TIP, 1, 1, time=NOW)
    bench.proposal(late)
    assert bench.said() == [(PREVOTE, 1, late.block_id)]


def test_a_header_that_the_tip_contradicts_is_invalid_and_not_executed() -> None:
    wrong = offered(TIP._replace(state_root=hash32("other")), 0, time=NOW)
    bench = Bench()
    effects = bench.proposal(wrong)
    assert only(CheckBlock, effects) == [] and only(Misbehaved, effects) == []
    assert [effect.reason for effect in only(ProposalRejected, effects)] == [Reason.BAD_HEADER]
    assert bench.said() == [(PREVOTE, 0, NIL)]


def test_a_transaction_twice_makes_the_block_invalid() -> None:
    effects = Bench().proposal(offered(TIP, 0, time=NOW, wtxids=["tx", "tx"]))
    assert [effect.reason for effect in only(ProposalRejected, effects)] == [Reason.BAD_HEADER]


def test_two_thirds_for_a_block_that_is_invalid_here_stop_the_node() -> None:
    bench = Bench()
    bench.proposal(ONE, valid=False)
    effects = bench.votes((0, 1, 2), PRECOMMIT, 0, ONE.block_id)
    assert only(Diverged, effects) == [Diverged(Height(1), ONE.block_id)] and only(Decide, effects) == []


# ---- bad messages


@pytest.mark.parametrize(("proposal", "reason"), [
    (replace(ONE, signature=b""), Reason.BAD_SIGNATURE),
    (replace(ONE, signature=OTHER.signature), Reason.BAD_SIGNATURE),
    (offered(TIP, 1, time=NOW), Reason.WRONG_PROPOSER),
    (sign_proposal(TIP, ONE, 1), Reason.BAD_SIGNATURE),
    (replace(ONE, wtxids=(WtxId(hash32("x")),)), Reason.BAD_HEADER),
    (again(TIP, ONE, 0, 0, 0), Reason.PROTOCOL_VIOLATION),
    (sign_proposal(TIP._replace(chain_id=hash32("x")), ONE, 0), Reason.BAD_SIGNATURE),  # type: ignore[arg-type]
])
def test_bad_proposals_are_the_senders_fault_and_leave_no_trace(proposal: Proposal, reason: Reason) -> None:
    bench = Bench()
    effects = bench.proposal(proposal)
    assert [(type(effect), effect.reason) for effect in only(Misbehaved, effects)] == [(Misbehaved, reason)]
    assert len(effects) == 1 and bench.engine.step.name == "new_height"
    assert only(CheckBlock, bench.proposal(ONE)) == [CheckBlock(ONE)]


@pytest.mark.parametrize(("change", "reason"), [
    ({"signature": b""}, Reason.BAD_SIGNATURE),
    ({"round": Round(1)}, Reason.BAD_SIGNATURE),
    ({"kind": PRECOMMIT}, Reason.BAD_SIGNATURE),
    ({"block_id": NIL}, Reason.BAD_SIGNATURE),
    ({"validator": 1}, Reason.BAD_SIGNATURE),
    ({"validator": 4}, Reason.UNKNOWN_VALIDATOR),
    ({"block_id": BlockId(b"short")}, Reason.MALFORMED),
])
def test_bad_votes(change: dict[str, object], reason: Reason) -> None:
    vote = replace(signed_vote(TIP, 0, PREVOTE, 0, ONE.block_id), **change)
    effects = Bench().give(VoteReceived(vote, PEER))
    assert [(effect.peer, effect.reason) for effect in only(Misbehaved, effects)] == [(PEER, reason)]
    assert len(effects) == 1


def test_a_known_vote_costs_no_verification_whatever_its_signature() -> None:
    bench = Bench()
    vote = signed_vote(TIP, 0, PREVOTE, 0, NIL)
    bench.give(VoteReceived(vote, PEER))
    checked = bench.verifier.checked
    assert bench.give(VoteReceived(replace(vote, signature=b"random again"), PEER)) == []
    assert bench.verifier.checked == checked


def test_rounds_far_ahead_are_bounded_for_each_validator() -> None:
    bench = Bench()
    for round in range(10, 30):
        bench.vote(0, PREVOTE, round, NIL)
    held = bench.engine.held.votes.rounds
    assert held == tuple(range(30 - MAX_ROUNDS_AHEAD, 30))
    assert bench.vote(0, PREVOTE, 12, NIL) == []
    bench.vote(1, PREVOTE, 29, NIL)
    assert bench.engine.step == (1, 29, "propose")


def test_no_third_of_the_power_sends_it_to_a_round_that_cannot_be_counted_to() -> None:
    bench = Bench()
    for round in (2**31 - 1, MAX_JUMP + 1):
        assert bench.votes([0, 1], PREVOTE, round, NIL) == []
    bench.votes([0, 1], PREVOTE, MAX_JUMP, NIL)
    assert bench.engine.step.round == MAX_JUMP


def test_proposals_far_ahead_are_dropped() -> None:
    bench = Bench()
    assert bench.proposal(offered(TIP, 3, 3, time=NOW)) == []
    assert only(CheckBlock, bench.proposal(offered(TIP, 2, 2, time=NOW))) != []


# ---- equivocation


def test_conflicting_votes_become_evidence_once_and_are_shown_to_all() -> None:
    bench = Bench()
    bench.vote(0, PREVOTE, 0, NIL)
    effects = bench.vote(0, PREVOTE, 0, ONE.block_id)
    [found] = only(RecordEvidence, effects)
    verify_evidence(CHAIN, TIP.validators, found.evidence, KeyedHash())
    assert {effect.message.block_id for effect in only(Broadcast, effects)} == {NIL, ONE.block_id}
    assert bench.vote(0, PREVOTE, 0, OTHER.block_id) == []


def test_conflicting_proposals_become_evidence_and_the_first_gets_the_prevote() -> None:
    bench = Bench()
    bench.proposal(ONE)
    effects = bench.proposal(OTHER)
    [found] = only(RecordEvidence, effects)
    verify_evidence(CHAIN, TIP.validators, found.evidence, KeyedHash())
    assert bench.said() == [(PREVOTE, 0, ONE.block_id)]
    bench.votes((0, 1, 2), PREVOTE, 0, OTHER.block_id)
    assert bench.said()[-1] == (PRECOMMIT, 0, OTHER.block_id)


def test_a_third_proposal_of_one_round_is_not_looked_at() -> None:
    bench = Bench()
    bench.proposal(ONE)
    bench.proposal(OTHER)
    assert bench.proposal(offered(TIP, 0, time=NOW + 2)) == []


# ---- heights


def decided() -> tuple[Bench, Tip]:
    bench = Bench()
    bench.proposal(ONE)
    bench.votes((0, 1), PREVOTE, 0, ONE.block_id)
    effects = bench.votes((0, 1), PRECOMMIT, 0, ONE.block_id)
    return bench, tip_after(TIP, ONE, only(Decide, effects)[0].commit)


def test_messages_of_the_next_height_are_kept_and_the_peer_reported() -> None:
    bench, tip = decided()
    early = offered(tip, 1, time=NOW + 300)
    effects = bench.give(ProposalReceived(early, PEER))
    assert effects == [PeerAhead(PEER, Height(2))]
    assert bench.give(VoteReceived(signed_vote(tip, 1, PREVOTE, 0, early.block_id), PEER)) == []
    bench.now += 60_000  # what counts is when it arrived
    effects = bench.give(StartHeight(tip))
    assert only(CheckBlock, effects) == [CheckBlock(early)] and only(ProposalRejected, effects) == []
    assert len(bench.engine.held.votes.tally(Round(0)).kinds[PREVOTE].held) == 1


def test_early_messages_are_bounded_and_later_heights_only_reported() -> None:
    bench, tip = decided()
    for time in range(5):
        bench.give(ProposalReceived(offered(tip, 1, time=NOW + 1000 + time), PEER))
    assert bench.give(VoteReceived(signed_vote(tip, 1, PREVOTE, 0, NIL, height=9), PEER)) == [
        PeerAhead(PEER, Height(9))
    ]
    effects = bench.give(StartHeight(tip))
    assert len(only(CheckBlock, effects)) == MAX_EARLY_PROPOSALS


def test_a_late_precommit_joins_the_next_block() -> None:
    bench, tip = decided()
    bench.own = None
    late = signed_vote(TIP, 2, PRECOMMIT, 0, ONE.block_id)
    bench.give(VoteReceived(late, PEER))
    bench.give(StartHeight(tip))
    assert len(tip.commit.signatures) == 3
    assert bench.engine._runs[0].last_commit.commit == commit_of(TIP, ONE, range(4))
    forged = signed_vote(TIP, 2, PRECOMMIT, 0, NIL)
    effects = bench.give(VoteReceived(replace(forged, signature=b"x"), PEER))
    assert [effect.reason for effect in only(Misbehaved, effects)] == [Reason.BAD_SIGNATURE]


def test_equivocation_that_only_the_next_blocks_commit_shows() -> None:
    bench, tip = decided()
    bench.give(VoteReceived(signed_vote(TIP, 2, PRECOMMIT, 0, NIL), PEER))
    bench.give(StartHeight(tip))
    commit = commit_of(TIP, ONE, (0, 1, 2))
    bench.tip = tip
    effects = bench.proposal(offered(tip, 1, time=NOW + 1000, last_commit=commit))
    [found] = only(RecordEvidence, effects)
    assert found.evidence.validator == TIP.validators.validators[2].address


def test_old_heights_and_own_strays_are_ignored() -> None:
    bench, tip = decided()
    later = tip_after(tip, offered(tip, 1), commit_of(tip, offered(tip, 1), range(3)))
    bench.give(StartHeight(later))
    assert bench.give(VoteReceived(signed_vote(TIP, 0, PREVOTE, 0, ONE.block_id), PEER)) == []
    assert bench.give(VoteReceived(signed_vote(TIP, 3, PREVOTE, 0, NIL, height=7), b"")) == []
    assert bench.give(StartHeight(tip)) == []
    assert bench.engine.step.height == 3


def test_before_the_first_height_nothing_happens_but_reports() -> None:
    engine = Engine(CHAIN, PARAMS, KeyedHash(), None)
    assert engine.step == (0, 0, "new_height")
    assert engine.handle(WorkAvailable(), NOW) == []
    assert engine.handle(VoteReceived(signed_vote(TIP, 0, PREVOTE, 0, NIL), PEER), NOW) == [PeerAhead(PEER, Height(1))]
    assert engine.lacking(engine.round_status()) == ()


# ---- restart


def entries(*messages: Proposal | Vote, blocks: Sequence[Proposal] = ()) -> list[LogEntry]:
    return [
        *(ProposalEntry(item) if isinstance(item, Proposal) else VoteEntry(item) for item in messages),
        *(BlockEntry(proposal, ()) for proposal in blocks),
    ]


def test_a_signed_prevote_is_sent_again_and_never_signed_anew() -> None:
    own = signed_vote(TIP, 3, PREVOTE, 0, NIL)
    bench = Bench(entries=entries(own))
    assert [effect.message for effect in only(Broadcast, bench.first)] == [own]
    assert bench.engine.step == (1, 0, "prevote")
    bench.proposal(ONE)
    bench.timeout(0, "propose")
    assert bench.said() == []
    bench.votes((0, 1), PREVOTE, 0, NIL)
    assert bench.said() == [(PRECOMMIT, 0, NIL)]


def test_lock_and_valid_value_come_back() -> None:
    votes = [signed_vote(TIP, index, PREVOTE, 0, ONE.block_id) for index in (0, 1, 3)]
    own = signed_vote(TIP, 3, PRECOMMIT, 0, ONE.block_id)
    bench = Bench(entries=entries(ONE, *votes, own, blocks=[ONE]))
    assert only(CheckBlock, bench.first) == [CheckBlock(ONE)]
    bench.give(BlockChecked(Height(1), ONE.block_id, True))
    bench.votes((0, 1), PREVOTE, 1, NIL)
    bench.proposal(offered(TIP, 1, 1, time=NOW))
    assert bench.said()[0] == (PREVOTE, 1, NIL)
    bench.votes((0, 1), PREVOTE, 3, NIL)  # round 3 is ours
    assert bench.proposed == [again(TIP, ONE, 3, 3, 0)]


def test_a_signed_proposal_is_sent_again_and_no_other_built() -> None:
    bench = Bench(own=0, entries=entries(ONE))
    assert only(BuildBlock, bench.first) == [] and only(SignProposal, bench.first) == []
    assert Broadcast(ONE) in bench.first
    bench.give(BlockChecked(Height(1), ONE.block_id, True))
    assert bench.said() == [(PREVOTE, 0, ONE.block_id)]


def test_it_goes_on_in_the_latest_round_it_signed_in() -> None:
    votes = [signed_vote(TIP, 3, PREVOTE, 0, NIL), signed_vote(TIP, 3, PRECOMMIT, 0, NIL),
             signed_vote(TIP, 3, PREVOTE, 2, NIL)]
    bench = Bench(entries=entries(*votes))
    assert bench.engine.step == (1, 2, "prevote")
    assert [effect.message for effect in only(Broadcast, bench.first)] == votes[2:]


def test_a_commit_in_the_log_decides_after_the_check() -> None:
    votes = [signed_vote(TIP, index, PRECOMMIT, 0, ONE.block_id) for index in (0, 1, 3)]
    bench = Bench(entries=entries(ONE, *votes))
    effects = bench.give(BlockChecked(Height(1), ONE.block_id, True))
    assert only(Decide, effects) == [Decide(ONE, commit_of(TIP, ONE, (0, 1, 3)))]


def test_a_proposal_in_the_log_restarts_the_round_that_it_began() -> None:
    bench = Bench(entries=entries(ONE))
    assert bench.engine.step == (1, 0, "propose")
    bench.give(BlockChecked(Height(1), ONE.block_id, True))
    assert bench.said() == [(PREVOTE, 0, ONE.block_id)]


def test_entries_of_a_later_height_wait_for_it() -> None:
    """After a rollback the log is ahead of the chain: what it signed there stays signed."""
    _, tip = decided()
    own = signed_vote(tip, 3, PREVOTE, 0, NIL)
    bench = Bench(entries=entries(own))
    assert bench.first == []
    assert Broadcast(own) in bench.give(StartHeight(tip))


def test_our_own_vote_from_a_life_we_forgot_binds_us() -> None:
    bench = Bench()
    old = signed_vote(TIP, 3, PREVOTE, 0, NIL)
    assert AppendLog(old) in bench.give(VoteReceived(old, PEER))
    effects = bench.proposal(ONE)
    assert bench.said() == [] and Broadcast(old) in effects
