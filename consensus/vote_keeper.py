"""The votes of one height: who voted what, how much power stands behind each value, and which thresholds are passed.

A vote counts for its own value even if its validator also voted for another one: the paper counts messages, and
its safety rests on the honest validators that two quorums share. The sums over all values count a validator once.
So a node that saw the other half of an equivocation first still sees the polka that everybody else sees.

Two votes of one validator, kind and round are kept: they prove the fault, and more would let it fill our memory. Votes
for nil and for proposed blocks are kept even then. Without that exception f equivocators could stop the chain for
ever: by giving some nodes two other votes each, they hide from them a polka that others have locked on.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from consensus.types import NIL, ValidatorSet, Vote, VoteKind
from state.types import BlockId, Round


class Threshold(StrEnum):
    """What a vote can tip."""

    POLKA_ANY = "polka_any"
    POLKA_NIL = "polka_nil"
    POLKA_VALUE = "polka_value"
    PRECOMMIT_ANY = "precommit_any"
    PRECOMMIT_VALUE = "precommit_value"
    SKIP_ROUND = "skip_round"


class Crossed(NamedTuple):
    """A threshold was passed, for the first time in its round. `value` is empty where none belongs to it."""

    threshold: Threshold
    round: Round
    value: BlockId = NIL


class Added(NamedTuple):
    """What adding a vote did.

    Attributes:
        taken: False if it was known already, or two votes of the validator are held and this one matters to nobody.
        conflict: the vote that it contradicts, if it is the first contradiction of its validator.
        crossed: the threshold that it tipped.
    """

    taken: bool
    conflict: Vote | None = None
    crossed: Crossed | None = None


class KindTally:
    """Votes of one kind in one round."""

    __slots__ = ("held", "power", "power_of")

    def __init__(self) -> None:
        self.held: dict[int, tuple[Vote, ...]] = {}
        """By validator: its vote, or its conflicting ones in order of arrival."""
        self.power = 0
        """Of all who voted, each once."""
        self.power_of: dict[BlockId, int] = {}
        """By value."""

    def votes(self) -> Iterator[Vote]:
        """Yield every vote, conflicting ones included."""
        for votes in self.held.values():
            yield from votes

    def add(self, vote: Vote, power: int) -> None:
        """Count a vote that `accepts` took."""
        before = self.held.get(vote.validator, ())
        self.held[vote.validator] = (*before, vote)
        if not before:
            self.power += power
        self.power_of[vote.block_id] = self.power_of.get(vote.block_id, 0) + power

    def drop(self, validator: int, power: int) -> None:
        """Forget a validator's votes."""
        votes = self.held.pop(validator, ())
        if votes:
            self.power -= power
        for vote in votes:
            self.power_of[vote.block_id] -= power

    def accepts(self, vote: Vote, proposed: bool) -> bool:
        """Whether the vote says something new, and worth keeping: `proposed` if its value is nil or was proposed."""
        held = self.held.get(vote.validator, ())
        return (len(held) < 2 or proposed) and all(other.block_id != vote.block_id for other in held)


class RoundTally:
    """Both kinds of vote of one round, and what has been told about it."""

    __slots__ = ("kinds", "power", "told")

    def __init__(self) -> None:
        self.kinds = {kind: KindTally() for kind in VoteKind}
        self.power = 0
        """Of all who voted in this round, in either kind, each once."""
        self.told: set[Crossed] = set()

    def voted(self, validator: int) -> bool:
        """Whether the validator voted in this round at all."""
        return any(validator in tally.held for tally in self.kinds.values())


class VoteKeeper:
    """All votes of one height. Signatures are checked before they come here.

    Attributes:
        taken: how many votes were ever taken; it rises with everything new.
        validators: who votes.
    """

    def __init__(self, validators: ValidatorSet) -> None:
        self.taken = 0
        self.validators = validators
        self._rounds: dict[Round, RoundTally] = {}
        self._proposed = {NIL}

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds with votes, rising."""
        return tuple(sorted(self._rounds))

    def tally(self, round: Round) -> RoundTally:
        """Return what is known of a round."""
        return self._rounds.get(round) or RoundTally()

    def accepts(self, vote: Vote) -> bool:
        """Whether `add` would take the vote: cheap, to be asked before the signature is checked."""
        tally = self._rounds.get(vote.round)
        return tally is None or tally.kinds[vote.kind].accepts(vote, vote.block_id in self._proposed)

    def expect(self, value: BlockId) -> None:
        """Say that a proposer offered this value: votes for it are kept whatever else their validators said."""
        self._proposed.add(value)

    def add(self, vote: Vote, current_round: int) -> Added:
        """Count a vote and say what it tipped. A skip is told for rounds above `current_round` only."""
        tally = self._rounds.setdefault(vote.round, RoundTally())
        votes = tally.kinds[vote.kind]
        if not votes.accepts(vote, vote.block_id in self._proposed):
            return Added(False)
        held = votes.held.get(vote.validator, ())
        power = self.validators.validators[vote.validator].power
        if not tally.voted(vote.validator):
            tally.power += power
        votes.add(vote, power)
        self.taken += 1
        return Added(True, held[0] if len(held) == 1 else None, self._crossed(vote, tally, current_round))

    def forget(self, validator: int, round: Round) -> None:
        """Drop a validator's votes of a round, to bound what one validator can make us keep."""
        tally = self._rounds.get(round)
        if tally is None or not tally.voted(validator):
            return
        power = self.validators.validators[validator].power
        for votes in tally.kinds.values():
            votes.drop(validator, power)
        tally.power -= power
        tally.told.clear()
        if not tally.power:
            del self._rounds[round]

    def rounds_of(self, validator: int, above: int) -> tuple[Round, ...]:
        """Return the rounds above `above` in which the validator voted, rising."""
        return tuple(round for round in sorted(self._rounds) if round > above and self._rounds[round].voted(validator))

    def has_quorum(self, kind: VoteKind, round: Round, value: BlockId) -> bool:
        """Whether more than 2/3 voted for this value (NIL: for nil)."""
        return self.validators.is_quorum(self.tally(round).kinds[kind].power_of.get(value, 0))

    def has_quorum_of_any(self, kind: VoteKind, round: Round) -> bool:
        """Whether more than 2/3 voted, for whatever."""
        return self.validators.is_quorum(self.tally(round).kinds[kind].power)

    def value_with_quorum(self, kind: VoteKind, round: Round) -> BlockId | None:
        """Return the value, or NIL, that more than 2/3 voted for."""
        for value, power in self.tally(round).kinds[kind].power_of.items():
            if self.validators.is_quorum(power):
                return value
        return None

    def committed(self) -> tuple[Round, BlockId] | None:
        """Return a round and the value that more than 2/3 precommitted in it, if there is one."""
        for round in self._rounds:
            value = self.value_with_quorum(VoteKind.PRECOMMIT, round)
            if value:
                return round, value
        return None

    def skip_to(self, current_round: int) -> Round | None:
        """Return the highest round above this one in which more than 1/3 of the power voted."""
        blocking = (
            round
            for round, tally in self._rounds.items()
            if round > current_round and self.validators.is_blocking(tally.power)
        )
        return max(blocking, default=None)

    def precommits_for(self, round: Round, value: BlockId) -> tuple[Vote, ...]:
        """Return the precommits of a round for one value."""
        votes = self.tally(round).kinds[VoteKind.PRECOMMIT].votes()
        return tuple(vote for vote in votes if vote.block_id == value)

    def _crossed(self, vote: Vote, tally: RoundTally, current_round: int) -> Crossed | None:
        skip = Crossed(Threshold.SKIP_ROUND, vote.round)
        if vote.round > current_round and skip not in tally.told and self.validators.is_blocking(tally.power):
            tally.told.add(skip)
            return skip
        crossed = self._vote_threshold(vote, tally.kinds[vote.kind])
        if crossed is None or crossed in tally.told:
            return None
        tally.told.add(crossed)
        return crossed

    def _vote_threshold(self, vote: Vote, votes: KindTally) -> Crossed | None:
        prevote = vote.kind is VoteKind.PREVOTE
        if self.validators.is_quorum(votes.power_of[vote.block_id]):
            if vote.block_id:
                return Crossed(
                    Threshold.POLKA_VALUE if prevote else Threshold.PRECOMMIT_VALUE, vote.round, vote.block_id
                )
            if prevote:
                return Crossed(Threshold.POLKA_NIL, vote.round)
        if self.validators.is_quorum(votes.power):
            return Crossed(Threshold.POLKA_ANY if prevote else Threshold.PRECOMMIT_ANY, vote.round)
        return None
