"""The rules of one height, as a pure function: (state, event) -> (state, outputs).

Each rule names its lines of the pseudocode in "The latest gossip on BFT consensus" (arXiv 1807.04938, Algorithm 1).
What the conditions of the paper ask about messages ("2f + 1 prevotes for this value, and its proposal") is decided
by the caller, who says so with an event; this module decides what follows from it. A rule whose condition on the
state (step, round, lock) does not hold leaves the state as it is.

The caller keeps the paper's "for the first time" (lines 34, 36, 47): it hands in those events once a round.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from consensus.types import NIL, VoteKind
from state.types import BlockId, Height, Round

NO_ROUND = Round(-1)


class RoundStep(StrEnum):
    """Where a validator stands within a round."""

    UNSTARTED = "new_height"
    PROPOSE = "propose"
    PREVOTE = "prevote"
    PRECOMMIT = "precommit"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True)
class RoundState:
    """The paper's variables of one height (lines 1 to 9). NIL and NO_ROUND stand for none."""

    height: Height
    round: Round = NO_ROUND
    step: RoundStep = RoundStep.UNSTARTED
    locked_value: BlockId = NIL
    locked_round: Round = NO_ROUND
    valid_value: BlockId = NIL
    valid_round: Round = NO_ROUND


# ---- events


@dataclass(frozen=True, slots=True)
class NewRound:
    """Begin a round; `own_turn` if this validator proposes in it."""

    round: Round
    own_turn: bool


@dataclass(frozen=True, slots=True)
class ValueReady:
    """The value asked for by GetValue."""

    value: BlockId


@dataclass(frozen=True, slots=True)
class ProposalSeen:
    """The round's proposal without proof of lock; `valid` includes that it came in time."""

    value: BlockId
    valid: bool


@dataclass(frozen=True, slots=True)
class ProposalAndPreviousPolka:
    """The round's proposal, and 2f + 1 prevotes for its value in the earlier round that it names."""

    value: BlockId
    pol_round: Round
    valid: bool


@dataclass(frozen=True, slots=True)
class PolkaAny:
    """2f + 1 prevotes of this round, for whatever."""


@dataclass(frozen=True, slots=True)
class PolkaNil:
    """2f + 1 prevotes of this round for nil."""


@dataclass(frozen=True, slots=True)
class ProposalAndPolka:
    """The round's proposal, valid, and 2f + 1 prevotes of this round for its value."""

    value: BlockId


@dataclass(frozen=True, slots=True)
class PrecommitAny:
    """2f + 1 precommits of this round, for whatever."""


@dataclass(frozen=True, slots=True)
class ProposalAndCommit:
    """A valid proposed value, and 2f + 1 precommits for it in any one round."""

    round: Round
    value: BlockId


@dataclass(frozen=True, slots=True)
class RoundSkip:
    """f + 1 of the power already votes in a later round."""

    round: Round


@dataclass(frozen=True, slots=True)
class TimeoutOver:
    """A timer of `round` ran out; `step` is PROPOSE, PREVOTE or PRECOMMIT."""

    round: Round
    step: RoundStep


Event = (
    NewRound | ValueReady | ProposalSeen | ProposalAndPreviousPolka | PolkaAny | PolkaNil | ProposalAndPolka
    | PrecommitAny | ProposalAndCommit | RoundSkip | TimeoutOver
)


# ---- outputs


@dataclass(frozen=True, slots=True)
class GetValue:
    """A value to propose is needed; answer with ValueReady."""

    round: Round


@dataclass(frozen=True, slots=True)
class Propose:
    """Send the proposal."""

    round: Round
    value: BlockId
    pol_round: Round


@dataclass(frozen=True, slots=True)
class CastVote:
    """Send the vote."""

    kind: VoteKind
    round: Round
    value: BlockId


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Start a timer; TimeoutOver comes back."""

    round: Round
    step: RoundStep


@dataclass(frozen=True, slots=True)
class ValueIsValid:
    """The valid value is now this one: keep its block, it may have to be proposed again."""

    round: Round
    value: BlockId


@dataclass(frozen=True, slots=True)
class EnterRound:
    """The round is over; answer with NewRound for this one."""

    round: Round


@dataclass(frozen=True, slots=True)
class Decided:
    """The value is final."""

    round: Round
    value: BlockId


Output = GetValue | Propose | CastVote | StartTimer | ValueIsValid | EnterRound | Decided
Transition = tuple[RoundState, tuple[Output, ...]]


def apply(state: RoundState, event: Event) -> Transition:
    """Return what follows from one event."""
    if state.step is RoundStep.COMMIT:
        return state, ()
    match event:
        case NewRound(round, own_turn):
            return _new_round(state, round, own_turn)
        case ValueReady(value):
            return _value_ready(state, value)
        case ProposalSeen(value, valid):
            return _proposal_seen(state, value, valid)
        case ProposalAndPreviousPolka(value, pol_round, valid):
            return _proposal_and_previous_polka(state, value, pol_round, valid)
        case ProposalAndPolka(value):
            return _proposal_and_polka(state, value)
        case PolkaNil():
            return _polka_nil(state)
        case PolkaAny():  # L34: wait for more prevotes, but not for ever
            if state.step is RoundStep.PREVOTE:
                return state, (StartTimer(state.round, RoundStep.PREVOTE),)
            return state, ()
        case PrecommitAny():  # L47: wait for more precommits, but not for ever
            if state.round == NO_ROUND:
                return state, ()
            return state, (StartTimer(state.round, RoundStep.PRECOMMIT),)
        case ProposalAndCommit(round, value):  # L49
            return replace(state, step=RoundStep.COMMIT), (Decided(round, value),)
        case RoundSkip(round):  # L55
            return _leave_for(state, round) if round > state.round else (state, ())
        case TimeoutOver(round, step):
            return _TIMEOUTS[step](state) if round == state.round else (state, ())


def _new_round(state: RoundState, round: Round, own_turn: bool) -> Transition:
    """L11 to L21: StartRound."""
    if round < state.round or state.step is not RoundStep.UNSTARTED:
        return state, ()
    started = replace(state, round=round, step=RoundStep.PROPOSE)
    timer = StartTimer(round, RoundStep.PROPOSE)  # L21, here for the proposer too: building may take for ever
    if not own_turn:
        return started, (timer,)
    if state.valid_value != NIL:  # L15, L16, L19
        return started, (Propose(round, state.valid_value, state.valid_round),)
    return started, (GetValue(round), timer)  # L18


def _value_ready(state: RoundState, value: BlockId) -> Transition:
    """L18, L19, once the value is there."""
    if state.step is not RoundStep.PROPOSE:
        return state, ()
    return state, (Propose(state.round, value, NO_ROUND),)


def _proposal_seen(state: RoundState, value: BlockId, valid: bool) -> Transition:
    """L22 to L27."""
    if state.step is not RoundStep.PROPOSE:
        return state, ()
    unlocked = state.locked_round == NO_ROUND or state.locked_value == value  # L23
    return _prevote(state, value if valid and unlocked else NIL)  # L24, L26


def _proposal_and_previous_polka(state: RoundState, value: BlockId, pol_round: Round, valid: bool) -> Transition:
    """L28 to L33."""
    if state.step is not RoundStep.PROPOSE or not 0 <= pol_round < state.round:
        return state, ()
    unlocked = state.locked_round <= pol_round or state.locked_value == value  # L29
    return _prevote(state, value if valid and unlocked else NIL)  # L30, L32


def _prevote(state: RoundState, value: BlockId) -> Transition:
    return replace(state, step=RoundStep.PREVOTE), (CastVote(VoteKind.PREVOTE, state.round, value),)


def _proposal_and_polka(state: RoundState, value: BlockId) -> Transition:
    """L36 to L43."""
    if state.step not in (RoundStep.PREVOTE, RoundStep.PRECOMMIT):
        return state, ()
    valid = replace(state, valid_value=value, valid_round=state.round)  # L42, L43
    keep = ValueIsValid(state.round, value)
    if state.step is RoundStep.PRECOMMIT:
        return valid, (keep,)
    locked = replace(valid, locked_value=value, locked_round=state.round, step=RoundStep.PRECOMMIT)  # L38, L39, L41
    return locked, (keep, CastVote(VoteKind.PRECOMMIT, state.round, value))  # L40


def _polka_nil(state: RoundState) -> Transition:
    """L44 to L46. The lock stays."""
    return _precommit_nil(state) if state.step is RoundStep.PREVOTE else (state, ())


def _precommit_nil(state: RoundState) -> Transition:
    return replace(state, step=RoundStep.PRECOMMIT), (CastVote(VoteKind.PRECOMMIT, state.round, NIL),)


def _timeout_propose(state: RoundState) -> Transition:
    """L57 to L60."""
    return _prevote(state, NIL) if state.step is RoundStep.PROPOSE else (state, ())


def _timeout_prevote(state: RoundState) -> Transition:
    """L61 to L64."""
    return _precommit_nil(state) if state.step is RoundStep.PREVOTE else (state, ())


def _timeout_precommit(state: RoundState) -> Transition:
    """L65 to L67."""
    return _leave_for(state, Round(state.round + 1))


def _leave_for(state: RoundState, round: Round) -> Transition:
    return replace(state, round=round, step=RoundStep.UNSTARTED), (EnterRound(round),)


def _nothing(state: RoundState) -> Transition:
    return state, ()


_TIMEOUTS: dict[RoundStep, Callable[[RoundState], Transition]] = {
    RoundStep.PROPOSE: _timeout_propose,
    RoundStep.PREVOTE: _timeout_prevote,
    RoundStep.PRECOMMIT: _timeout_precommit,
    RoundStep.UNSTARTED: _nothing,
    RoundStep.COMMIT: _nothing,
}
