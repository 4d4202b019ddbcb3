"""The paper's rules one by one: a table of (state, event) -> (state, outputs), named by the paper's lines."""

from dataclasses import replace

import pytest

from consensus.round_machine import (
    NO_ROUND,
    CastVote,
    Decided,
    EnterRound,
    Event,
    GetValue,
    NewRound,
    Output,
    PolkaAny,
    PolkaNil,
    PrecommitAny,
    ProposalAndCommit,
    ProposalAndPolka,
    ProposalAndPreviousPolka,
    ProposalSeen,
    Propose,
    RoundSkip,
    RoundState,
    RoundStep,
    StartTimer,
    TimeoutOver,
    ValueIsValid,
    ValueReady,
    apply,
)
from consensus.types import NIL, VoteKind
from state.types import BlockId, Height, Round

A, B = BlockId(b"a" * 32), BlockId(b"b" * 32)
PROPOSE, PREVOTE, PRECOMMIT = RoundStep.PROPOSE, RoundStep.PREVOTE, RoundStep.PRECOMMIT
FRESH = RoundState(Height(5))


def at(step: RoundStep, round: int = 0, *, locked: tuple[BlockId, int] | None = None,
       valid: tuple[BlockId, int] | None = None) -> RoundState:
    state = RoundState(Height(5), Round(round), step)
    if locked:
        state = replace(state, locked_value=locked[0], locked_round=Round(locked[1]))
    if valid:
        state = replace(state, valid_value=valid[0], valid_round=Round(valid[1]))
    return state


def timer(step: RoundStep, round: int = 0) -> StartTimer:
    return StartTimer(Round(round), step)


def prevote(value: BlockId, round: int = 0) -> CastVote:
    return CastVote(VoteKind.PREVOTE, Round(round), value)


def precommit(value: BlockId, round: int = 0) -> CastVote:
    return CastVote(VoteKind.PRECOMMIT, Round(round), value)


R0, R1, R2, R3 = (Round(round) for round in range(4))
CASES: list[tuple[str, RoundState, Event, RoundState, tuple[Output, ...]]] = [
    ("L20 not our turn", FRESH, NewRound(R0, False), at(PROPOSE), (timer(PROPOSE),)),
    ("L18 our turn", FRESH, NewRound(R0, True), at(PROPOSE), (GetValue(R0), timer(PROPOSE))),
    ("L16 our turn with a valid value", at(RoundStep.UNSTARTED, 2, valid=(A, 1)), NewRound(R2, True),
     at(PROPOSE, 2, valid=(A, 1)), (Propose(R2, A, R1),)),
    ("L11 not twice", at(PROPOSE), NewRound(R0, True), at(PROPOSE), ()),
    ("L19 the value is ready", at(PROPOSE), ValueReady(A), at(PROPOSE), (Propose(R0, A, NO_ROUND),)),
    ("L19 too late", at(PREVOTE), ValueReady(A), at(PREVOTE), ()),
    ("L24 unlocked", at(PROPOSE), ProposalSeen(A, True), at(PREVOTE), (prevote(A),)),
    ("L24 locked on it", at(PROPOSE, 1, locked=(A, 0)), ProposalSeen(A, True), at(PREVOTE, 1, locked=(A, 0)),
     (prevote(A, 1),)),
    ("L26 locked on another", at(PROPOSE, 1, locked=(B, 0)), ProposalSeen(A, True), at(PREVOTE, 1, locked=(B, 0)),
     (prevote(NIL, 1),)),
    ("L26 invalid or late", at(PROPOSE), ProposalSeen(A, False), at(PREVOTE), (prevote(NIL),)),
    ("L22 only once", at(PREVOTE), ProposalSeen(A, True), at(PREVOTE), ()),
    ("L30 polka as new as the lock", at(PROPOSE, 2, locked=(B, 1)), ProposalAndPreviousPolka(A, R1, True),
     at(PREVOTE, 2, locked=(B, 1)), (prevote(A, 2),)),
    ("L32 polka older than the lock", at(PROPOSE, 2, locked=(B, 1)), ProposalAndPreviousPolka(A, R0, True),
     at(PREVOTE, 2, locked=(B, 1)), (prevote(NIL, 2),)),
    ("L30 older polka of the locked value", at(PROPOSE, 2, locked=(A, 1)), ProposalAndPreviousPolka(A, R0, True),
     at(PREVOTE, 2, locked=(A, 1)), (prevote(A, 2),)),
    ("L32 invalid in spite of a polka", at(PROPOSE, 1), ProposalAndPreviousPolka(A, R0, False), at(PREVOTE, 1),
     (prevote(NIL, 1),)),
    ("L28 a polka of this round is no previous one", at(PROPOSE, 1), ProposalAndPreviousPolka(A, R1, True),
     at(PROPOSE, 1), ()),
    ("L34", at(PREVOTE), PolkaAny(), at(PREVOTE), (timer(PREVOTE),)),
    ("L34 not yet", at(PROPOSE), PolkaAny(), at(PROPOSE), ()),
    ("L36 lock and precommit", at(PREVOTE, 1), ProposalAndPolka(A), at(PRECOMMIT, 1, locked=(A, 1), valid=(A, 1)),
     (ValueIsValid(R1, A), precommit(A, 1))),
    ("L36 change the lock", at(PREVOTE, 2, locked=(B, 0), valid=(B, 0)), ProposalAndPolka(A),
     at(PRECOMMIT, 2, locked=(A, 2), valid=(A, 2)), (ValueIsValid(R2, A), precommit(A, 2))),
    ("L42 valid value alone, after the precommit", at(PRECOMMIT, 2, locked=(B, 0), valid=(B, 0)), ProposalAndPolka(A),
     at(PRECOMMIT, 2, locked=(B, 0), valid=(A, 2)), (ValueIsValid(R2, A),)),
    ("L36 not before the prevote", at(PROPOSE), ProposalAndPolka(A), at(PROPOSE), ()),
    ("L44 precommit nil, keep the lock", at(PREVOTE, 1, locked=(A, 0)), PolkaNil(), at(PRECOMMIT, 1, locked=(A, 0)),
     (precommit(NIL, 1),)),
    ("L44 only before the precommit", at(PRECOMMIT), PolkaNil(), at(PRECOMMIT), ()),
    ("L47", at(PRECOMMIT), PrecommitAny(), at(PRECOMMIT), (timer(PRECOMMIT),)),
    ("L47 in any step", at(PREVOTE), PrecommitAny(), at(PREVOTE), (timer(PRECOMMIT),)),
    ("L47 not before the first round", FRESH, PrecommitAny(), FRESH, ()),
    ("L49 of this round", at(PRECOMMIT, 1), ProposalAndCommit(R1, A), at(RoundStep.COMMIT, 1), (Decided(R1, A),)),
    ("L49 of an earlier round", at(PROPOSE, 3, locked=(B, 2)), ProposalAndCommit(R0, A),
     at(RoundStep.COMMIT, 3, locked=(B, 2)), (Decided(R0, A),)),
    ("L49 nothing follows", at(RoundStep.COMMIT, 1), TimeoutOver(R1, PRECOMMIT), at(RoundStep.COMMIT, 1), ()),
    ("L55 skip ahead, keep the lock", at(PREVOTE, 0, locked=(A, 0)), RoundSkip(R3),
     at(RoundStep.UNSTARTED, 3, locked=(A, 0)), (EnterRound(R3),)),
    ("L55 never back", at(PREVOTE, 2), RoundSkip(R1), at(PREVOTE, 2), ()),
    ("L57", at(PROPOSE), TimeoutOver(R0, PROPOSE), at(PREVOTE), (prevote(NIL),)),
    ("L57 of another round", at(PROPOSE, 1), TimeoutOver(R0, PROPOSE), at(PROPOSE, 1), ()),
    ("L57 too late", at(PREVOTE), TimeoutOver(R0, PROPOSE), at(PREVOTE), ()),
    ("L61", at(PREVOTE), TimeoutOver(R0, PREVOTE), at(PRECOMMIT), (precommit(NIL),)),
    ("L61 too late", at(PRECOMMIT), TimeoutOver(R0, PREVOTE), at(PRECOMMIT), ()),
    ("L65", at(PRECOMMIT, 1), TimeoutOver(R1, PRECOMMIT), at(RoundStep.UNSTARTED, 2), (EnterRound(R2),)),
    ("L65 from any step", at(PROPOSE, 1), TimeoutOver(R1, PRECOMMIT), at(RoundStep.UNSTARTED, 2), (EnterRound(R2),)),
    ("L65 of another round", at(PROPOSE, 2), TimeoutOver(R1, PRECOMMIT), at(PROPOSE, 2), ()),
]


@pytest.mark.parametrize(("state", "event", "after", "outputs"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])
def test_rule(state: RoundState, event: Event, after: RoundState, outputs: tuple[Output, ...]) -> None:
    assert apply(state, event) == (after, outputs)


def test_events_of_different_rules_are_never_equal() -> None:
    assert len({PolkaAny(), PolkaNil(), PrecommitAny()}) == 3
