"""One height's rules joined to its votes and proposals: which conditions of the paper hold now.

`HeightMachine` keeps the votes, the offers of each round and the verdicts on blocks, hands the round machine every
event whose condition holds, and returns its outputs in order until nothing more follows. It knows no signatures,
clocks, peers or bytes: the engine does.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from consensus.round_machine import (
    NO_ROUND,
    EnterRound,
    Event,
    NewRound,
    Output,
    PolkaAny,
    PolkaNil,
    PrecommitAny,
    ProposalAndCommit,
    ProposalAndPolka,
    ProposalAndPreviousPolka,
    ProposalSeen,
    RoundSkip,
    RoundState,
    RoundStep,
    TimeoutOver,
    ValueReady,
    apply,
)
from consensus.types import NIL, ValidatorSet, Vote, VoteKind
from consensus.vote_keeper import Added, VoteKeeper
from state.types import BlockId, Height, Round


class Offer(NamedTuple):
    """What a proposal says, to the rules.

    Attributes:
        value: the block id.
        pol_round: the round of its proof of lock, or NO_ROUND.
        timely: False if its time is too far from our clock; counts only without a proof of lock.
    """

    value: BlockId
    pol_round: Round
    timely: bool


class HeightMachine:
    """The state of one height.

    Args:
        height: which.
        validators: the set that votes on it.
        own_turn: whether this validator proposes in a round.

    Attributes:
        state: the paper's variables.
        votes: every vote taken.
    """

    def __init__(self, height: Height, validators: ValidatorSet, own_turn: Callable[[Round], bool]) -> None:
        self.state = RoundState(height)
        self.votes = VoteKeeper(validators)
        self._own_turn = own_turn
        self._offers: dict[Round, tuple[Offer, ...]] = {}
        self._verdicts: dict[BlockId, bool] = {}
        self._handed_in: set[Event] = set()
        """The events of this round that count only once (lines 34, 36, 47)."""

    @property
    def decided(self) -> bool:
        """Whether the height is over."""
        return self.state.step is RoundStep.COMMIT

    @property
    def started(self) -> bool:
        """Whether the first round has begun."""
        return self.state.round != NO_ROUND

    def verdict(self, value: BlockId) -> bool | None:
        """Return whether the block is valid, or None while that is not known."""
        return self._verdicts.get(value)

    # ---- inputs

    def start(self, round: Round) -> list[Output]:
        """Begin a round."""
        return self._run(NewRound(round, self._own_turn(round)))

    def resume(
        self, state: RoundState, offers: Iterable[tuple[Round, Offer]], votes: Iterable[Vote]
    ) -> list[Output]:
        """Go on after a restart, from the state and the messages that the log gives.

        A round in which we had not prevoted begins anew.
        """
        for round, offer in offers:
            self._keep(round, offer)
        for vote in votes:
            self.votes.add(vote, state.round)
        self.state = state
        if state.step is RoundStep.UNSTARTED and state.round != NO_ROUND:
            return self.start(state.round)
        return self._settle()

    def value_ready(self, value: BlockId) -> list[Output]:
        """Propose the value that GetValue asked for."""
        return self._run(ValueReady(value))

    def add_offer(self, round: Round, offer: Offer) -> list[Output]:
        """Take a proposal by the round's proposer."""
        self._keep(round, offer)
        return self._settle()

    def judge(self, value: BlockId, valid: bool) -> list[Output]:
        """Take the verdict on a block."""
        self._verdicts[value] = valid
        return self._settle()

    def add_vote(self, vote: Vote) -> tuple[Added, list[Output]]:
        """Take a vote with a good signature."""
        added = self.votes.add(vote, self.state.round)
        # A vote that tips no threshold makes no condition true.
        return added, self._settle() if added.crossed else []

    def timeout(self, round: Round, step: RoundStep) -> list[Output]:
        """Take the end of a timer."""
        return self._run(TimeoutOver(round, step))

    def _keep(self, round: Round, offer: Offer) -> None:
        self._offers[round] = (*self._offers.get(round, ()), offer)
        self.votes.expect(offer.value)

    # ---- conditions

    def _run(self, event: Event) -> list[Output]:
        outputs = self._apply(event)
        outputs += self._settle()
        return outputs

    def _settle(self) -> list[Output]:
        outputs: list[Output] = []
        while (event := self._due()) is not None:
            outputs += self._apply(event)
        return outputs

    def _apply(self, event: Event) -> list[Output]:
        self.state, outputs = apply(self.state, event)
        kept: list[Output] = []
        for output in outputs:
            if isinstance(output, EnterRound):
                self._handed_in.clear()
                kept += self._apply(NewRound(output.round, self._own_turn(output.round)))
            else:
                kept.append(output)
        return kept

    def _due(self) -> Event | None:
        """Return the next event whose condition holds and which changes something."""
        if self.decided:
            return None
        committed = self.votes.committed()
        if committed and self._verdicts.get(committed[1]):
            return ProposalAndCommit(*committed)
        skip = self.votes.skip_to(self.state.round)
        if skip is not None:
            return RoundSkip(skip)
        if not self.started:
            return None
        if self.state.step is RoundStep.PROPOSE:
            event = self._due_proposal()
            if event is not None:
                return event
        return next((event for event in self._once_a_round() if self._hand_in(event)), None)

    def _hand_in(self, event: Event) -> bool:
        if event in self._handed_in:
            return False
        self._handed_in.add(event)
        return True

    def _once_a_round(self) -> Iterable[Event]:
        """Yield the events that depend on this round's votes, in the order of the paper's lines."""
        round, step = self.state.round, self.state.step
        if step is not RoundStep.PROPOSE:
            if step is RoundStep.PREVOTE and self.votes.has_quorum_of_any(VoteKind.PREVOTE, round):
                yield PolkaAny()
            value = self.votes.value_with_quorum(VoteKind.PREVOTE, round)
            if value and self._verdicts.get(value) and any(o.value == value for o in self._offers.get(round, ())):
                yield ProposalAndPolka(value)
            if value == NIL:
                yield PolkaNil()
        if self.votes.has_quorum_of_any(VoteKind.PRECOMMIT, round):
            yield PrecommitAny()

    def _due_proposal(self) -> Event | None:
        """Return the event for this round's proposal (L22, L28), once its block is judged."""
        for value, pol_round, timely in self._offers.get(self.state.round, ()):
            valid = self._verdicts.get(value)
            if pol_round == NO_ROUND:
                if not timely:
                    return ProposalSeen(value, False)
                if valid is not None:
                    return ProposalSeen(value, valid)
            elif valid is not None and self._is_previous_polka(pol_round, value):
                return ProposalAndPreviousPolka(value, pol_round, valid)
        return None

    def _is_previous_polka(self, pol_round: Round, value: BlockId) -> bool:
        return pol_round < self.state.round and self.votes.has_quorum(VoteKind.PREVOTE, pol_round, value)
