"""Who broke the rules, by what honest nodes remember: for a chain that stopped or forked, after the fact.

Two faults can split a chain, and each leaves its trace in votes that the offender signed:

- *equivocation*: two votes of one kind, or two proposals, in one round. Two votes alone prove it.
- *amnesia*: a precommit for v in round r, then a prevote for v' != v in a round r' > r, though no polka (prevotes of
  more than two thirds) for v' in the rounds r .. r'-1 ended the lock (arXiv 1807.04938, lines 28 to 33 and 40). What
  is missing cannot be signed: the proof is that no honest node has seen such a polka. So all their logs belong here,
  and an accused who was honest can refute it by showing the polka.

If two honest nodes decided differently at one height, then at least a third of the power did one of the two.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from consensus.effects import Verifier
from consensus.log import LogEntry, OfferEntry, ProposalEntry, ValidatorsEntry, VoteEntry
from consensus.sightings import offer_of
from consensus.types import NIL, SignedOffer, ValidatorSet, Vote, VoteKind, proposal_sign_bytes, vote_sign_bytes
from crypto.errors import Reason, Refused
from state.types import Address, BlockId, ChainId, Height, Round


class Fault(StrEnum):
    """What somebody did."""

    DOUBLE_PREVOTE = "double_prevote"
    DOUBLE_PRECOMMIT = "double_precommit"
    EQUIVOCATING_PROPOSAL = "equivocating_proposal"
    AMNESIA = "amnesia"


class Finding(NamedTuple):
    """One fault of one validator.

    Attributes:
        height: where.
        validator: consensus address.
        power: its voting power at that height.
        fault: what it did.
        rounds: of the two messages; the same twice for an equivocation.
        block_ids: what they were for; empty means nil.
    """

    height: Height
    validator: Address
    power: int
    fault: Fault
    rounds: tuple[Round, Round]
    block_ids: tuple[BlockId, BlockId]


class Verdict(NamedTuple):
    """What the logs say about one height.

    Attributes:
        height: which.
        findings: all faults there.
        named: power of those who committed them, each counted once.
        total: power of the whole set.
        decided: block ids that have precommits of more than two thirds: two or more are a fork.
    """

    height: Height
    findings: tuple[Finding, ...]
    named: int
    total: int
    decided: tuple[BlockId, ...]

    @property
    def enough(self) -> bool:
        """Whether those named could split the chain: at least a third of the power."""
        return 3 * self.named >= self.total


class _Panel(NamedTuple):
    """Who voted on a height, and on which chain."""

    chain_id: ChainId
    validators: ValidatorSet


class _Heard:
    """What all logs together say about a height."""

    def __init__(self) -> None:
        self.panels: dict[bytes, _Panel] = {}
        self.votes: defaultdict[tuple[VoteKind, Round, BlockId], dict[int, Vote]] = defaultdict(dict)
        self.offers: defaultdict[Round, dict[BlockId, SignedOffer]] = defaultdict(dict)


def examine(logs: Iterable[Sequence[LogEntry]], verifier: Verifier) -> tuple[Verdict, ...]:
    """Return what the logs say about every height at which somebody broke a rule or the chain split, rising.

    Args:
        logs: of honest nodes, each whole: a log names the validators once for many heights.
        verifier: checks the signatures of what somebody is accused with.

    Raises:
        Refused: BAD_ARGUMENT if no log says who voted at a height, or two say different things.
    """
    heights = _collect(logs)
    verdicts: list[Verdict] = []
    for height in sorted(heights):
        heard = heights[height]
        if len(heard.panels) > 1:
            if not any(len(verdict.decided) > 1 for verdict in verdicts):
                raise Refused(Reason.BAD_ARGUMENT, f"the logs name different validators for height {height}")
            break  # behind a fork each branch goes its own way
        verdict = _judge(height, heard, verifier)
        if verdict.findings or len(verdict.decided) > 1:
            verdicts.append(verdict)
    return tuple(verdicts)


def _collect(logs: Iterable[Sequence[LogEntry]]) -> dict[Height, _Heard]:
    heights: defaultdict[Height, _Heard] = defaultdict(_Heard)
    known: dict[Height, _Panel] = {}
    for entries in logs:
        panels = [entry for entry in entries if isinstance(entry, ValidatorsEntry)]
        known |= {entry.height: _Panel(entry.chain_id, entry.validators) for entry in panels}
        for entry in entries:
            if isinstance(entry, VoteEntry):
                vote = entry.vote
                heights[vote.height].votes[vote.kind, vote.round, vote.block_id].setdefault(vote.validator, vote)
            elif isinstance(entry, OfferEntry | ProposalEntry):
                offer = entry.offer if isinstance(entry, OfferEntry) else offer_of(entry.proposal)
                heights[offer.height].offers[offer.round].setdefault(offer.block_id, offer)
        for height, heard in heights.items():
            before = [entry for entry in panels if entry.height <= height]
            if before:
                last = max(before, key=lambda entry: entry.height)
                heard.panels[last.validators.hash] = _Panel(last.chain_id, last.validators)
    for height, heard in heights.items():
        if not heard.panels:
            _from_others(height, heard, known)
    return dict(heights)


def _from_others(height: Height, heard: _Heard, known: Mapping[Height, _Panel]) -> None:
    starts = [start for start in known if start <= height]
    if not starts:
        raise Refused(
            Reason.BAD_ARGUMENT, f"no log says who voted at height {height}: give the archives too (data/votes.0, "
            "data/votes.1), or the whole home",
        )
    panel = known[max(starts)]
    heard.panels[panel.validators.hash] = panel


def _judge(height: Height, heard: _Heard, verifier: Verifier) -> Verdict:
    (panel,) = heard.panels.values()
    case = _Case(height, heard, panel, verifier)
    findings = tuple(dict.fromkeys((*case.double_votes(), *case.double_proposals(), *case.amnesia())))
    accused = {finding.validator: finding.power for finding in findings}
    return Verdict(height, findings, sum(accused.values()), panel.validators.total_power, tuple(case.decided()))


class _Case:
    """One height before the court."""

    def __init__(self, height: Height, heard: _Heard, panel: _Panel, verifier: Verifier) -> None:
        self._height = height
        self._heard = heard
        self._chain_id, self._validators = panel
        self._verifier = verifier
        self._by: defaultdict[int, list[Vote]] = defaultdict(list)
        for votes in heard.votes.values():
            for vote in votes.values():
                self._by[vote.validator].append(vote)

    def decided(self) -> Iterator[BlockId]:
        """Yield each block that was decided."""
        ids = {value for kind, _, value in self._heard.votes if kind is VoteKind.PRECOMMIT and value != NIL}
        for value in sorted(ids):
            rounds = {round for kind, round, voted in self._heard.votes if voted == value}
            if any(self._has_quorum(VoteKind.PRECOMMIT, round, value) for round in rounds):
                yield value

    def double_votes(self) -> Iterator[Finding]:
        """Yield everybody who voted for two things in one round."""
        names = {VoteKind.PREVOTE: Fault.DOUBLE_PREVOTE, VoteKind.PRECOMMIT: Fault.DOUBLE_PRECOMMIT}
        for votes in self._by.values():
            first: dict[tuple[VoteKind, Round], Vote] = {}
            for vote in sorted(votes, key=lambda one: one.block_id):
                other = first.setdefault((vote.kind, vote.round), vote)
                if other is not vote and self._are_signed(other, vote):
                    yield self._finding(names[vote.kind], other, vote)

    def double_proposals(self) -> Iterator[Finding]:
        """Yield every proposer who offered two blocks in one round. Whose turn it was is known by the signatures."""
        for round, offers in self._heard.offers.items():
            ids = sorted(offers)
            for one, other in pairwise(ids):
                for validator in self._validators.validators:
                    if self._offered(validator.public_key, offers[one]) and self._offered(
                        validator.public_key, offers[other]
                    ):
                        yield Finding(
                            self._height, validator.address, validator.power, Fault.EQUIVOCATING_PROPOSAL,
                            (round, round), (one, other),
                        )

    def amnesia(self) -> Iterator[Finding]:
        """Yield everybody who voted against its lock without a polka that ended it."""
        for votes in self._by.values():
            for lock in votes:
                for later in votes:
                    if self._is_breach(lock, later) and self._are_signed(lock, later):
                        yield self._finding(Fault.AMNESIA, lock, later)

    def _is_breach(self, lock: Vote, later: Vote) -> bool:
        if lock.kind is not VoteKind.PRECOMMIT or later.kind is not VoteKind.PREVOTE or later.round <= lock.round:
            return False
        if NIL in (lock.block_id, later.block_id) or lock.block_id == later.block_id:
            return False
        return not any(
            self._has_quorum(VoteKind.PREVOTE, Round(round), later.block_id)
            for kind, round, value in self._heard.votes
            if kind is VoteKind.PREVOTE and value == later.block_id and lock.round <= round < later.round
        )

    def _has_quorum(self, kind: VoteKind, round: Round, value: BlockId) -> bool:
        voters = self._heard.votes.get((kind, round, value), {})
        members = self._validators.validators
        return self._validators.is_quorum(sum(members[index].power for index in voters if index < len(members)))

    def _finding(self, fault: Fault, one: Vote, other: Vote) -> Finding:
        validator = self._validators.validators[one.validator]
        return Finding(
            self._height, validator.address, validator.power, fault, (one.round, other.round),
            (one.block_id, other.block_id),
        )

    def _are_signed(self, *votes: Vote) -> bool:
        return all(self._is_signed(vote) for vote in votes)

    def _is_signed(self, vote: Vote) -> bool:
        if vote.validator >= len(self._validators):
            return False
        message = vote_sign_bytes(self._chain_id, vote.kind, vote.height, vote.round, vote.block_id)
        public_key = self._validators.validators[vote.validator].public_key
        return self._verifier.verify(public_key, message, vote.signature)

    def _offered(self, public_key: bytes, offer: SignedOffer) -> bool:
        message = proposal_sign_bytes(self._chain_id, offer.height, offer.round, offer.pol_round, offer.block_id)
        return self._verifier.verify(public_key, message, offer.signature)
