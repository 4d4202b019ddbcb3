"""The consensus engine: inputs in, effects out (consensus/effects.py says what each means). It does nothing itself.

Layers, each knowing only the one before it:

    round_machine.py   the paper's rules, pure
    vote_keeper.py     votes and thresholds
    height_machine.py  which conditions of the paper hold
    height_run.py      one height with signatures, validity, timers, evidence and what we signed before
    engine.py          from height to height; messages of other heights

Own votes and proposals take a detour: SignVote leaves, the driver signs, writes to the log and syncs, and only what
is on disk comes back as VoteReceived(vote, sender=b""), is counted and broadcast. So nothing leaves this node, and
nothing moves its own state, that a restart would not remember.
"""

from collections.abc import Sequence
from typing import Final

from consensus.effects import (
    BlockBuilt,
    BlockChecked,
    CheckBlock,
    Effect,
    Input,
    OfferReceived,
    PeerAhead,
    PeerId,
    ProposalReceived,
    StartHeight,
    Step,
    TimeoutElapsed,
    Verifier,
    VoteReceived,
    WorkAvailable,
)
from consensus.height_run import OWN, HeightRun, Rules
from consensus.log import LogEntry, entries_of, height_of
from consensus.relay import Held, RoundStatus, lacking, status_of
from consensus.sightings import Sightings, contradicting, offer_of, sightings_of
from consensus.types import ConsensusParams, Proposal, SignedOffer, Tip, Vote
from state.types import Address, ChainId, Height, Round

HEIGHTS_BEFORE: Final = 2
"""Decided heights whose votes are kept: for late ones, and to compare with what peers saw."""
MAX_EARLY_VOTES: Final = 1024
"""Votes for the next height kept from one sender: two rounds of the largest validator set."""
MAX_EARLY_PROPOSALS: Final = 2
"""Proposals for the next height kept from one sender."""
MAX_SENDERS: Final = 256
"""Senders whose early messages are kept, and whose height is remembered."""


class Engine:
    """Consensus from height to height.

    Args:
        chain_id: what every signature is bound to.
        params: timing.
        verifier: checks signatures.
        own_address: of our consensus key; None follows without voting.
    """

    def __init__(
        self, chain_id: ChainId, params: ConsensusParams, verifier: Verifier, own_address: Address | None
    ) -> None:
        self._rules = Rules(chain_id, params, verifier, own_address)
        self._runs: list[HeightRun] = []
        """Empty before the first StartHeight; then the present height, and those before it for late votes."""
        self._told: dict[Height, int] = {}
        """How much of each of these heights is in the last Sightings about it."""
        self._entries: tuple[LogEntry, ...] = ()
        self._early = EarlyMessages()
        self._ahead: dict[PeerId, Height] = {}

    @property
    def step(self) -> Step:
        """Where we stand; height 0 before the first StartHeight."""
        held = self.held
        return Step(held.height, Round(max(held.round, 0)), held.step.value)

    @property
    def held(self) -> Held:
        """What we hold of the present height: for `consensus.relay`, true until the next input."""
        return self._runs[0].held if self._runs else Held.nothing()

    def round_status(self) -> RoundStatus:
        """Return what to tell peers about where we stand."""
        return status_of(self.held)

    def lacking(self, status: RoundStatus) -> tuple[Proposal | Vote, ...]:
        """Return what to pass on to a peer with this status."""
        return lacking(self.held, status)

    @property
    def has_news(self) -> bool:
        """Whether votes or proposals came since the last `news`."""
        return any(run.heard != self._told.get(run.height, 0) for run in self._runs)

    def news(self) -> tuple[Sightings, ...]:
        """Return what to tell peers of each height of which something new was seen since the last call."""
        changed = [run for run in self._runs if run.heard != self._told.get(run.height, 0)]
        self._told = {run.height: run.heard for run in self._runs}
        return tuple(sightings_of(run.held) for run in changed)

    def contradicting(self, seen: Sightings) -> tuple[SignedOffer | Vote, ...]:
        """Return what we hold that contradicts what a peer saw."""
        return next((contradicting(run.held, seen) for run in self._runs if run.height == seen.height), ())

    def unseen(self, seen: Sightings) -> tuple[Address, ...]:
        """Return the validators of whom a peer saw something at a height that we hold, and we nothing."""
        return next((run.unseen(seen) for run in self._runs if run.height == seen.height), ())

    def restore(self, entries: Sequence[LogEntry]) -> None:
        """Take the log's entries, before the first StartHeight: what they hold is never signed again."""
        self._entries = tuple(entries)

    def handle(self, input: Input, now_ms: int) -> list[Effect]:
        """Return what follows from one input, in the order in which it must be done.

        Args:
            input: what happened.
            now_ms: this node's clock, in ms since 1970.
        """
        match input:
            case StartHeight(tip):
                return self._start(tip, now_ms)
            case VoteReceived(vote, sender):
                return self._vote(vote, sender, now_ms)
            case ProposalReceived(proposal, sender):
                return self._proposal(proposal, sender, now_ms)
            case OfferReceived(offer, sender):
                return [
                    effect for run in self._runs if run.height == offer.height for effect in run.offer(offer, sender)
                ]
        for run in self._runs[:1]:
            match input:
                case WorkAvailable():
                    return run.work_available()
                case TimeoutElapsed(timeout) if timeout.height == run.height:
                    return run.timeout(timeout)
                case BlockBuilt(proposal) if proposal.height == run.height:
                    return run.block_built(proposal)
                case BlockChecked(height, block_id, valid) if height == run.height:
                    return run.block_checked(block_id, valid)
        return []

    def _start(self, tip: Tip, now: int) -> list[Effect]:
        if self._runs and tip.height < self._runs[0].height:
            return []  # said twice
        run = HeightRun(self._rules, tip)
        for before in self._runs[:1]:
            run.last_commit.extend(before.precommits_for(tip.commit))
        self._runs[:] = [run, *self._runs[:HEIGHTS_BEFORE]]
        self._entries = tuple(entry for entry in self._entries if height_of(entry) >= run.height)
        effects = run.begin(entries_of(self._entries, run.height), now)
        for message, sender, arrived in self._early.take(run.height):
            if isinstance(message, Vote):
                effects += run.vote(message, sender)
            else:
                effects += run.proposal(message, sender, arrived)
        return effects

    def _vote(self, vote: Vote, sender: PeerId, now: int) -> list[Effect]:
        for run in self._runs[:1]:
            if vote.height == run.height:
                return run.vote(vote, sender)
        for before in self._runs[1:]:
            if vote.height == before.height:
                effects = before.late_vote(vote, sender)
                self._runs[0].last_commit.extend(before.precommits_for(self._runs[0].tip.commit))
                return effects
        return self._other_height(vote, sender, now)

    def _proposal(self, proposal: Proposal, sender: PeerId, now: int) -> list[Effect]:
        for run in self._runs[:1]:
            if proposal.height == run.height:
                effects = run.proposal(proposal, sender, now)
                accepted = any(isinstance(effect, CheckBlock) for effect in effects)
                for before in self._runs[1:] if accepted else ():
                    effects += before.seen_in_commit(proposal.last_commit)
                return effects
        for before in self._runs[1:]:
            if proposal.height == before.height:
                return before.offer(offer_of(proposal), sender)
        return self._other_height(proposal, sender, now)

    def _other_height(self, message: Vote | Proposal, sender: PeerId, now: int) -> list[Effect]:
        height = self.step.height
        if sender == OWN or message.height <= height:
            return []
        if message.height == height + 1:
            self._early.keep(message, sender, now)
        if message.height <= self._ahead.get(sender, height):
            return []
        if sender not in self._ahead and len(self._ahead) >= MAX_SENDERS:
            self._ahead.clear()
        self._ahead[sender] = message.height
        return [PeerAhead(sender, message.height)]


class EarlyMessages:
    """Messages of the next height, unverified, with the time of their arrival; bounded for each sender."""

    def __init__(self) -> None:
        self._kept: dict[PeerId, list[tuple[Vote | Proposal, int]]] = {}

    def keep(self, message: Vote | Proposal, sender: PeerId, now: int) -> None:
        """Keep the message, unless its sender has used up its room: it will be passed on again."""
        if sender not in self._kept and len(self._kept) >= MAX_SENDERS:
            return
        kept = self._kept.setdefault(sender, [])
        room = MAX_EARLY_VOTES if isinstance(message, Vote) else MAX_EARLY_PROPOSALS
        if sum(type(other) is type(message) for other, _ in kept) < room:
            kept.append((message, now))

    def take(self, height: Height) -> list[tuple[Vote | Proposal, PeerId, int]]:
        """Return the messages of a height, by sender in order of arrival, and forget all."""
        taken = [
            (message, sender, arrived)
            for sender, kept in self._kept.items()
            for message, arrived in kept
            if message.height == height
        ]
        self._kept.clear()
        return taken
