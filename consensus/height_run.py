"""One height of consensus with real messages: signatures, validity, timers, evidence, and what we signed already.

`HeightRun` stands between the engine, which routes inputs to heights, and the height machine, which knows the rules.
Every method takes an input and returns the effects that follow from it, in the order in which they must be done.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from msgspec.structs import replace

from consensus.block import check_contents, check_header, check_last_commit
from consensus.commit import GrowingCommit, make_commit
from consensus.effects import (
    AppendLog,
    Broadcast,
    BuildBlock,
    CheckBlock,
    Decide,
    Diverged,
    Effect,
    Misbehaved,
    PassOn,
    PeerId,
    PersistBlock,
    ProposalRejected,
    RecordEvidence,
    ScheduleTimeout,
    SignProposal,
    SignVote,
    Timeout,
    Verifier,
)
from consensus.evidence import duplicate_proposal, duplicate_vote
from consensus.height_machine import HeightMachine, Offer
from consensus.log import LogEntry
from consensus.proposer import turns
from consensus.recovery import Recovered, recover
from consensus.relay import Held
from consensus.round_machine import (
    NO_ROUND,
    CastVote,
    Decided,
    GetValue,
    Output,
    Propose,
    RoundStep,
    StartTimer,
    ValueIsValid,
)
from consensus.sightings import Sightings, absent_voters, offer_of
from consensus.timing import is_timely, rest_before_next, timeout
from consensus.types import (
    Commit,
    ConsensusParams,
    Proposal,
    SignedOffer,
    Tip,
    Vote,
    VoteKind,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from consensus.vote_keeper import Added
from crypto.errors import Reason, Refused
from state.types import HASH_SIZE, Address, BlockId, ChainId, Height, Round

OWN: Final = b""
"""The sender of what we signed ourselves."""
MAX_PROPOSALS_AHEAD: Final = 2
"""Proposals are taken up to this many rounds above ours; each may be a megabyte."""
MAX_ROUNDS_AHEAD: Final = 4
"""Rounds above the next one in which we keep votes of one validator: the highest. An honest one needs no more."""
MAX_JUMP: Final = 10_000
"""Votes count up to this many rounds above ours: more than a day of rounds. Else more than a third of the power could
send us to round 2^31, and the turns of the proposers on the way there take hours to count.
"""
NEW_HEIGHT: Final = RoundStep.UNSTARTED.value


class Rules(NamedTuple):
    """What stays the same from height to height. `own_address` is None for a node without a consensus key."""

    chain_id: ChainId
    params: ConsensusParams
    verifier: Verifier
    own_address: Address | None


class HeightRun:
    """Consensus on the height after a tip.

    Args:
        rules: what stays the same.
        tip: the chain so far.

    Attributes:
        tip: the chain so far.
        height: the height being decided.
        last_commit: the tip's commit, growing by late precommits.
    """

    def __init__(self, rules: Rules, tip: Tip) -> None:
        self.tip = tip
        self.height = Height(tip.height + 1)
        self.last_commit = GrowingCommit(tip.commit)
        self._rules = rules
        self._own_index = tip.validators.index_of(rules.own_address) if rules.own_address else None
        self._turns = turns(tip.validators, tip.priorities)
        self._proposers: list[int] = []
        self._machine = HeightMachine(self.height, tip.validators, self._own_turn)
        self._proposals: dict[Round, tuple[Proposal, ...]] = {}
        self._blocks: dict[BlockId, Proposal] = {}
        self._own_votes: dict[tuple[Round, VoteKind], Vote] = {}
        self._own_proposals: dict[Round, Proposal] = {}
        self._asked: set[tuple[Round, VoteKind | None]] = set()
        """Signatures asked for and not yet there, by round and kind; None stands for a proposal."""
        self._rested = False
        self._work = tip.needs_proof_block
        self._checking: set[BlockId] = set()
        self._unmasked: set[Round] = set()
        """Rounds whose proposer is known to have signed two offers, of which we hold one."""
        self._diverged = False

    @property
    def held(self) -> Held:
        """What peers may lack."""
        state = self._machine.state
        return Held(self.height, state.round, state.step, self._proposals, self._machine.votes)

    @property
    def heard(self) -> int:
        """A number that rises with every proposal and vote."""
        return self._machine.votes.taken + sum(map(len, self._proposals.values()))

    def precommits_for(self, commit: Commit) -> tuple[Vote, ...]:
        """Return the verified precommits for the block of a commit of this height, those after the decision too."""
        if commit.height != self.height:
            return ()
        return self._machine.votes.precommits_for(commit.round, commit.block_id)

    # ---- beginning

    def begin(self, entries: Sequence[LogEntry], now: int) -> list[Effect]:
        """Begin the height, or go on with it as the log's entries of this height say."""
        recovered = recover(entries, self.height, self._own_index, self._proposer)
        effects = self._resume(recovered, now)
        if self._machine.started:
            return effects
        rest = rest_before_next(self._rules.params, self.tip.time, now)
        if rest:
            effects.append(ScheduleTimeout(Timeout(self.height, Round(0), NEW_HEIGHT), rest))
        self._rested = not rest
        if Round(0) in self._proposals:
            return effects + self._do(self._machine.start(Round(0)))
        return effects + self._start_if_due()

    def work_available(self) -> list[Effect]:
        """Take the word that there is something to put in a block."""
        self._work = True
        return self._start_if_due()

    def _start_if_due(self) -> list[Effect]:
        if self._machine.started or not (self._rested and self._work):
            return []
        return self._do(self._machine.start(Round(0)))

    def _resume(self, recovered: Recovered, now: int) -> list[Effect]:
        self._own_votes.update(recovered.own_votes)
        self._own_proposals.update(recovered.own_proposals)
        offers = []
        for proposal in recovered.proposals:
            self._keep(proposal)
            own = self._own_proposals.get(proposal.round) == proposal
            offers.append((proposal.round, self._offer(proposal, OWN if own else b"log", now)))
        effects = self._do(self._machine.resume(recovered.state, offers, recovered.votes))
        for block_id in dict.fromkeys(proposal.block_id for proposal in recovered.proposals):
            effects += self._judge(self._blocks[block_id])
        here = recovered.state.round
        effects += [Broadcast(vote) for (round, _), vote in self._own_votes.items() if round == here]
        if here in self._own_proposals and recovered.state.step is not RoundStep.UNSTARTED:
            effects.append(Broadcast(self._own_proposals[here]))
        return effects

    # ---- inputs

    def timeout(self, over: Timeout) -> list[Effect]:
        """Take the end of a timer of this height."""
        if over.step == NEW_HEIGHT:
            self._rested = True
            return self._start_if_due()
        return self._do(self._machine.timeout(over.round, RoundStep(over.step)))

    def block_built(self, proposal: Proposal) -> list[Effect]:
        """Take the block that BuildBlock asked for; too late, it is dropped."""
        state, round = self._machine.state, proposal.round
        waiting = state.round == round and state.step is RoundStep.PROPOSE and self._own_turn(round)
        if not waiting or round in self._own_proposals or (round, None) in self._asked:
            return []
        self._blocks[proposal.block_id] = proposal
        effects = self._do(self._machine.judge(proposal.block_id, True))
        return effects + self._do(self._machine.value_ready(proposal.block_id))

    def block_checked(self, block_id: BlockId, valid: bool) -> list[Effect]:
        """Take the verdict that CheckBlock asked for."""
        if self._machine.verdict(block_id) is not None:
            return []
        return self._do(self._machine.judge(block_id, valid))

    def proposal(self, proposal: Proposal, sender: PeerId, now: int) -> list[Effect]:
        """Take a proposal of this height. `now` is when it arrived."""
        round = proposal.round
        held = self._proposals.get(round, ())
        if self._machine.decided:
            return self.offer(offer_of(proposal), sender)
        known = len(held) >= 2 or any(other.block_id == proposal.block_id for other in held)
        if known or round > max(self._machine.state.round, 0) + MAX_PROPOSALS_AHEAD:
            return []
        if sender != OWN:
            try:
                self._check_proposal(proposal)
            except Refused as error:
                return [Misbehaved(sender, error.reason, error.detail)]
        effects: list[Effect] = [Broadcast(proposal)]
        if sender != OWN:
            effects = [AppendLog(proposal), PassOn(proposal, self._address(self._proposer(round)), sender)]
        if self._own_turn(round):
            # signed here, or by an earlier life of ours that lost its log: never sign another one
            self._own_proposals.setdefault(round, proposal)
        if held:
            accused = self._address(self._proposer(round))
            # unlike votes, not broadcast: each may be a megabyte, and the relay brings both to who lacks one
            effects.append(RecordEvidence(duplicate_proposal(accused, held[0], proposal)))
        self._keep(proposal)
        if round == 0 and not self._machine.started:
            effects += self._do(self._machine.start(Round(0)))
        offer = self._offer(proposal, sender, now)
        if offer.pol_round == NO_ROUND and not offer.timely:
            detail = f"block time {proposal.header.time}, received at {now}"
            effects.append(ProposalRejected(self.height, round, proposal.block_id, Reason.BAD_TIME, detail))
        effects += self._judge(proposal)
        return effects + self._do(self._machine.add_offer(round, offer))

    def offer(self, offer: SignedOffer, sender: PeerId) -> list[Effect]:
        """Compare what a proposer signed with the one proposal of the round that we hold, also after the decision."""
        held = self._proposals.get(offer.round, ())
        if len(held) != 1 or held[0].block_id == offer.block_id or offer.round in self._unmasked:
            return []
        proposer = self.tip.validators.validators[self._proposer(offer.round)]
        message = proposal_sign_bytes(
            self._rules.chain_id, offer.height, offer.round, offer.pol_round, offer.block_id
        )
        if not self._rules.verifier.verify(proposer.public_key, message, offer.signature):
            return [Misbehaved(sender, Reason.BAD_SIGNATURE, f"the offer of round {offer.round} does not verify")]
        self._unmasked.add(offer.round)
        return [RecordEvidence(duplicate_proposal(proposer.address, held[0], offer))]

    def vote(self, vote: Vote, sender: PeerId) -> list[Effect]:
        """Take a vote of this height."""
        if self._machine.decided:
            return self.late_vote(vote, sender)
        ahead = self._crowded_rounds(vote)
        if (ahead and vote.round < ahead[0]) or vote.round > max(self._machine.state.round, 0) + MAX_JUMP:
            return []
        refused = self._refusal(vote, sender)
        if refused is not None:
            return refused
        if ahead:
            self._machine.votes.forget(vote.validator, ahead[0])
        if vote.validator == self._own_index:
            # as with proposals: a vote of ours that we do not remember binds us all the same
            self._own_votes.setdefault((vote.round, vote.kind), vote)
        added, outputs = self._machine.add_vote(vote)
        first: Effect = Broadcast(vote) if sender == OWN else AppendLog(vote)
        return [first, *self._spread(added, vote, sender), *self._do(outputs)]

    def late_vote(self, vote: Vote, sender: PeerId) -> list[Effect]:
        """Take a vote after the height is over: for the commit in the next block, and because it may be evidence."""
        if self._crowded_rounds(vote):
            return []
        refused = self._refusal(vote, sender)
        if refused is not None:
            return refused
        return self._spread(self._machine.votes.add(vote, self._machine.state.round), vote, sender)

    def unseen(self, seen: Sightings) -> tuple[Address, ...]:
        """Return the validators of whom a peer saw a vote or proposal, and we nothing of that kind and round."""
        absent = absent_voters(self.held, seen)
        near = max(self._machine.state.round, 0) + MAX_PROPOSALS_AHEAD
        absent |= {self._proposer(round) for round, _ in seen.offers if round <= near and round not in self._proposals}
        return tuple(self._address(index) for index in sorted(absent) if index != self._own_index)

    def seen_in_commit(self, commit: Commit) -> list[Effect]:
        """Compare a verified commit of this height with the votes that we hold: who signed both is caught."""
        effects: list[Effect] = []
        for validator, signature in ((item.validator, item.signature) for item in commit.signatures):
            vote = Vote(VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id, validator, signature)
            if commit.height == self.height and self._machine.votes.accepts(vote):
                effects += self._accuse(self._machine.votes.add(vote, commit.round), vote)
        return effects

    def _refusal(self, vote: Vote, sender: PeerId) -> list[Effect] | None:
        """Return what to do instead of counting the vote, or None if it is new and good."""
        if vote.validator >= len(self.tip.validators):
            return [Misbehaved(sender, Reason.UNKNOWN_VALIDATOR, f"there is no validator {vote.validator}")]
        if len(vote.block_id) not in (0, HASH_SIZE):
            return [Misbehaved(sender, Reason.MALFORMED, "a vote is for a block id or for nil")]
        # Falcon is randomised: the same vote signed twice is the same vote, and costs no verification here.
        if not self._machine.votes.accepts(vote):
            return []
        if sender != OWN and not self._is_signed(vote):
            return [Misbehaved(sender, Reason.BAD_SIGNATURE, f"the vote of validator {vote.validator} does not verify")]
        return None

    def _crowded_rounds(self, vote: Vote) -> tuple[Round, ...]:
        """Return the later rounds that the validator's votes fill already, if this vote would open one too many."""
        near = max(self._machine.state.round, 0) + 1
        if vote.round <= near:
            return ()
        ahead = self._machine.votes.rounds_of(vote.validator, near)
        return ahead if len(ahead) >= MAX_ROUNDS_AHEAD and vote.round not in ahead else ()

    def _address(self, index: int) -> Address:
        return self.tip.validators.validators[index].address

    def _spread(self, added: Added, vote: Vote, sender: PeerId) -> list[Effect]:
        """Accuse, or pass a peer's vote on."""
        if added.conflict is not None or sender == OWN or not added.taken:
            return self._accuse(added, vote)
        return [PassOn(vote, self._address(vote.validator), sender)]

    def _accuse(self, added: Added, vote: Vote) -> list[Effect]:
        """Record a conflict, and show it to all: who has only one half of it learns at once."""
        if added.conflict is None:
            return []
        accused = self._address(vote.validator)
        evidence = RecordEvidence(duplicate_vote(accused, added.conflict, vote))
        return [evidence, Broadcast(added.conflict), Broadcast(vote)]

    # ---- checks

    def _check_proposal(self, proposal: Proposal) -> None:
        """Check what makes it the round's proposer's word, and the parts those that it signed."""
        if proposal.pol_round >= proposal.round:
            raise Refused(Reason.PROTOCOL_VIOLATION, "a proof of lock is of an earlier round")
        proposer = self.tip.validators.validators[self._proposer(proposal.round)]
        # A block offered again names the proposer who made it. Who that was needs no check now: the polka of
        # pol_round holds an honest prevote, and the first of these was cast for an offer that passed the line below.
        if proposal.pol_round < 0 and proposal.header.proposer != proposer.address:
            raise Refused(Reason.WRONG_PROPOSER, f"round {proposal.round} is another validator's turn")
        check_contents(proposal.header, proposal.wtxids, proposal.last_commit, proposal.evidence)
        message = proposal_sign_bytes(
            self._rules.chain_id, self.height, proposal.round, proposal.pol_round, proposal.block_id
        )
        if not self._rules.verifier.verify(proposer.public_key, message, proposal.signature):
            raise Refused(Reason.BAD_SIGNATURE, f"the proposal of round {proposal.round} does not verify")

    def _is_signed(self, vote: Vote) -> bool:
        public_key = self.tip.validators.validators[vote.validator].public_key
        message = vote_sign_bytes(self._rules.chain_id, vote.kind, vote.height, vote.round, vote.block_id)
        return self._rules.verifier.verify(public_key, message, vote.signature)

    def _judge(self, proposal: Proposal) -> list[Effect]:
        """Find out whether the block is valid: what the header tells here, the rest by CheckBlock."""
        if self._machine.verdict(proposal.block_id) is not None or proposal.block_id in self._checking:
            return []
        try:
            check_header(self.tip, proposal.header)
            if len(set(proposal.wtxids)) != len(proposal.wtxids):
                raise Refused(Reason.BAD_HEADER, "a transaction appears twice")
            check_last_commit(self.tip, proposal.last_commit, self._rules.verifier)
        except Refused as error:
            rejected = ProposalRejected(self.height, proposal.round, proposal.block_id, error.reason, error.detail)
            return [rejected, *self._do(self._machine.judge(proposal.block_id, False))]
        self._checking.add(proposal.block_id)
        return [CheckBlock(proposal)]

    def _offer(self, proposal: Proposal, sender: PeerId, now: int) -> Offer:
        timely = sender == OWN or is_timely(self._rules.params, proposal.header.time, now, proposal.round)
        return Offer(proposal.block_id, Round(proposal.pol_round), timely)

    def _keep(self, proposal: Proposal) -> None:
        self._proposals[proposal.round] = (*self._proposals.get(proposal.round, ()), proposal)
        self._blocks.setdefault(proposal.block_id, proposal)

    def _proposer(self, round: Round) -> int:
        missing = round + 1 - len(self._proposers)
        if missing > 0:
            self._proposers += islice(self._turns, missing)
        return self._proposers[round]

    def _own_turn(self, round: Round) -> bool:
        return self._own_index is not None and self._proposer(round) == self._own_index

    # ---- what the rules put out

    def _do(self, outputs: Iterable[Output]) -> list[Effect]:
        effects: list[Effect] = []
        for output in outputs:
            effects += self._effects_of(output)
        committed = self._machine.votes.committed()
        if committed and not self._diverged and self._machine.verdict(committed[1]) is False:
            self._diverged = True
            effects.append(Diverged(self.height, committed[1]))
        return effects

    def _effects_of(self, output: Output) -> list[Effect]:
        match output:
            case StartTimer(round, step):
                return [self._timer(round, step)]
            case CastVote(kind, round, value):
                return self._cast(kind, round, value)
            case GetValue(round):
                if round in self._own_proposals:
                    return [Broadcast(self._own_proposals[round])]
                return [BuildBlock(self.height, round, self.last_commit.commit)]
            case Propose(round, value, pol_round):
                return self._propose(round, value, pol_round)
            case ValueIsValid(round, value):
                return [PersistBlock(next(p for p in self._proposals[round] if p.block_id == value))]
            case Decided(round, value):
                commit = make_commit(self.height, round, value, self._machine.votes.precommits_for(round, value))
                return [Decide(self._blocks[value], commit)]
            case _:
                raise AssertionError(f"{output} stays within the height machine")

    def _timer(self, round: Round, step: RoundStep) -> Effect:
        return ScheduleTimeout(Timeout(self.height, round, step.value), timeout(self._rules.params, step, round))

    def _cast(self, kind: VoteKind, round: Round, value: BlockId) -> list[Effect]:
        """Vote, if we are a validator. What we signed before is sent again, and nothing else is ever signed."""
        if self._own_index is None or (round, kind) in self._asked:
            return []
        signed = self._own_votes.get((round, kind))
        if signed is not None:
            return [Broadcast(signed)]
        self._asked.add((round, kind))
        return [SignVote(kind, self.height, round, value, self._own_index)]

    def _propose(self, round: Round, value: BlockId, pol_round: Round) -> list[Effect]:
        if (round, None) in self._asked:
            return []
        # Our own timer too: after a restart the block may have to be checked anew, and that may take for ever.
        timer = [self._timer(round, RoundStep.PROPOSE)] if pol_round != NO_ROUND else []
        signed = self._own_proposals.get(round)
        if signed is not None:
            return [*timer, Broadcast(signed)]
        self._asked.add((round, None))
        proposal = replace(self._blocks[value], round=round, pol_round=pol_round, signature=b"")
        return [*timer, SignProposal(proposal)]
