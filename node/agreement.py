"""Carries out what the consensus engine asks for, with the chain, the log and the mempool at hand. No trio, no sockets.

Everything that a restart must remember is on disk before it counts: own votes and proposals are appended to the log
and synced, then remembered in the last-sign state, and only then handed back to the engine, which broadcasts them. A
block's batch is on disk before the log is cleared. So wherever the process dies, the next start finds either the
block, or all that we said about it; and should the log be lost, the last-sign state keeps us from saying anything else.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from apps.execution import decode_block
from consensus.block import check_committed_block, make_proposal
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
    Input,
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
    TimeoutElapsed,
    Verifier,
    VoteReceived,
    WorkAvailable,
)
from consensus.engine import Engine
from consensus.evidence import height_of
from consensus.log import (
    BlockEntry,
    FinalEntry,
    HeightEntry,
    LogEntry,
    ProposalEntry,
    VoteEntry,
    decode_entries,
    encode_entry,
    entries_of,
    message_entry,
)
from consensus.round_machine import RoundStep
from consensus.types import Block, Commit, Evidence, Proposal, Vote, proposal_sign_bytes, vote_sign_bytes
from crypto.errors import Reason, Refused
from node.actions import Accuse, Action, Disconnect, Halt, Publish, SendAll, Sign, StartTimer
from node.candidates import Candidates
from node.chain import Chain, Executed
from node.consensus_log import LogFile
from node.counters import Counters, timed
from node.events import BlockCommitted
from node.evidence_pool import EvidencePool
from node.last_sign import SignGuard, place_of
from node.logs import logger
from node.mempool import Mempool, taken_in
from node.passing import Passing, message_frame
from node.signatures import SignatureCache
from node.sync import CatchUp
from node.vote_archive import VoteArchive
from p2p.network import Channel, PeerId
from p2p.wire import EvidenceMessage
from state.encoding import encode
from state.transaction import Decoded, decode_transaction
from state.types import Address, Height

OWN: Final = b""
"""The sender of what we signed ourselves."""

_log = logger("consensus")
_block_log = logger("block")


class Memory(NamedTuple):
    """What survives a restart beside the chain. `guard` is None for a node that only follows."""

    log: LogFile
    guard: SignGuard | None
    pool: EvidencePool
    archive: VoteArchive


class Agreement:
    """One node's part in consensus.

    Args:
        chain: the committed chain.
        engine: not started.
        memory: what survives a restart beside the chain.
        mempool: where blocks are made from.
        signatures: which transactions are known to be signed well.
        verifier: checks votes, commits and evidence.
        catch_up: is told of peers that speak of later heights.
    """

    def __init__(
        self, chain: Chain, engine: Engine, memory: Memory, mempool: Mempool, signatures: SignatureCache,
        verifier: Verifier, catch_up: CatchUp,
    ) -> None:
        self.chain = chain
        self.engine = engine
        self.candidates = Candidates(mempool)
        self.counters = Counters()
        self.passing = Passing(engine, None if memory.guard is None else memory.guard.state.key)
        self.pool = memory.pool
        self._log = memory.log
        self._archive = memory.archive
        self._mempool = mempool
        self.signatures = signatures
        self._verifier = verifier
        self._guard = memory.guard
        self._catch_up = catch_up
        self._inputs: deque[Input] = deque()
        self._actions: list[Action] = []

    @property
    def own_address(self) -> Address | None:
        """Of our consensus key; None for a node that only follows."""
        return None if self._guard is None else self._guard.state.key

    # ---- inputs

    def begin(self, now: int) -> list[Action]:
        """Read the log and begin the height after the tip.

        Raises:
            Refused: UPGRADE_NEEDED, CORRUPT_LOG, BAD_SIGN_STATE.
        """
        self.chain.check_version()
        raw = self._log.read()
        entries, good = decode_entries(raw)
        if good < len(raw):
            _log.warning("the log's last record was torn and is cut", bytes=len(raw) - good)
            self._log.cut(good)
        self._repeat(entries)
        current = entries_of(entries, self.chain.height + 1)
        for entry in current:
            if isinstance(entry, BlockEntry):
                for transaction in entry.transactions:
                    self.candidates.keep(decode_transaction(transaction))
        self._archive.open()
        self.pool.load()
        if not current:
            self._begin_log()
        else:
            self._archive.begin(self.chain.tip)
        self.engine.restore((*current, *self._forgotten(current)))
        return self.start_height(now)

    def _repeat(self, entries: Sequence[LogEntry]) -> None:
        """Execute the blocks that were undone while the node stood still: they are final.

        Raises:
            Refused: CORRUPT_LOG if one is not the block that was decided; BAD_HEADER if it is invalid here.
        """
        for entry in entries:
            if not isinstance(entry, FinalEntry) or entry.block.header.height != self.chain.height + 1:
                continue
            block, height = entry.block, entry.block.header.height
            try:
                check_committed_block(self.chain.tip, block, entry.commit, self._verifier)
            except Refused as refused:
                raise Refused(Reason.CORRUPT_LOG, f"block {height} in the log is not final: {refused}") from None
            try:
                transactions = decode_block(block.transactions)
                executed = self.execute(block, transactions)
            except Refused as refused:
                if refused.reason is Reason.CORRUPT_DATABASE:
                    raise
                raise Refused(Reason.BAD_HEADER, f"block {height} is final, and invalid here: {refused}") from None
            self.chain.commit(executed, entry.commit)
            _block_log.info("executed again", height=height, block=block.header.block_id)

    def _forgotten(self, entries: Sequence[LogEntry]) -> list[LogEntry]:
        """Let log and last-sign state learn from each other; return the votes that only the latter knows."""
        guard = self._guard
        if guard is None:
            return []
        if guard.state.height > self.chain.height + 1:
            _log.warning("nothing is signed before the chain passes the last-sign state", height=guard.state.height)
        here = self.chain.height + 1
        later: list[LogEntry] = [VoteEntry(vote) for vote in guard.state.votes if vote.height > here]
        own_index = self.chain.tip.validators.index_of(guard.state.key)
        if own_index is None:
            return later
        guard.learn([message for message in map(_message_in, entries) if message and self._is_own(message, own_index)])
        known = {
            (entry.vote.kind, entry.vote.round) for entry in entries
            if isinstance(entry, VoteEntry) and entry.vote.validator == own_index
        }
        missing = [vote for vote in guard.votes_at(here) if (vote.kind, vote.round) not in known]
        return [*map(VoteEntry, missing), *later]

    def _is_own(self, message: Vote | Proposal, own_index: int) -> bool:
        """Whether our key signed it: a proposal names the maker of its block, who need not be its proposer."""
        if isinstance(message, Vote):
            return message.validator == own_index
        public_key = self.chain.tip.validators.validators[own_index].public_key
        return self._verifier.verify(public_key, self._sign_bytes(SignProposal(message)), message.signature)

    def start_height(self, now: int) -> list[Action]:
        """Begin consensus on the height after the tip, if its rules are known here."""
        self._begin_height()
        return self._run(now)

    def feed(self, input: Input, now: int) -> list[Action]:
        """Hand an input to the engine and carry out all that follows at once; return what is left to the driver."""
        if isinstance(input, TimeoutElapsed):
            self.counters.timeouts[input.timeout.step] += 1
        self._inputs.append(input)
        return self._run(now)

    def signed(self, task: SignVote | SignProposal, signature: bytes, now: int) -> list[Action]:
        """Take a signature that was asked for: to the disk, and only then to the engine."""
        message: Vote | Proposal
        if isinstance(task, SignVote):
            message = Vote(task.kind, task.height, task.round, task.block_id, task.validator, signature)
        else:
            message = replace(task.proposal, signature=signature)
        if message.height != self.chain.height + 1:
            return []  # decided meanwhile: it never leaves, so it need not be remembered
        if self._guard is None or not self._guard.permits(message):
            return []  # signed while something later was: it never leaves
        self._note(message)
        self._log.sync()
        self._guard.record(message)
        if isinstance(message, Vote):
            return self.feed(VoteReceived(message, OWN), now)
        return self.feed(ProposalReceived(message, OWN), now)

    def bodies_came(self, now: int) -> list[Action]:
        """Execute the proposals whose last transaction has come."""
        self._check_complete()
        return self._run(now)

    def accused(self, evidence: Evidence, sender: PeerId, now: int) -> list[Action]:
        """Take a peer's evidence: into the pool, and on to every peer; or let go of who sent what proves nothing."""
        self._accuse(evidence, sender)
        return self._run(now)

    @property
    def has_work(self) -> bool:
        """There is something to put in a block."""
        return self._mempool.has_work or len(self.pool) > 0

    @property
    def is_behind(self) -> bool:
        """The chain has moved on by catching up, and the engine does not know yet: what it says now is of no use."""
        return self.engine.step.height <= self.chain.height

    # ---- the engine's effects

    def _run(self, now: int) -> list[Action]:
        while self._inputs:
            input = self._inputs.popleft()
            if self.is_behind and not isinstance(input, StartHeight):
                continue
            for effect in self.engine.handle(input, now):
                self._carry_out(effect, now)
        actions, self._actions = self._actions, []
        return actions

    def _carry_out(self, effect: Effect, now: int) -> None:
        match effect:
            case Broadcast(message):
                self._actions.append(SendAll(Channel.CONSENSUS, message_frame(message)))
            case ScheduleTimeout(timeout, delay):
                self._actions.append(StartTimer(timeout, delay))
            case SignVote() | SignProposal():
                self._ask_signature(effect)
            case AppendLog(message):
                self._note(message)
                if self.engine.step.name == RoundStep.UNSTARTED.value:
                    # A validator votes already, so it has work, even if that has not reached us.
                    self._inputs.append(WorkAvailable())
            case PassOn():
                self._actions += self.passing.pass_on(effect)
            case PersistBlock(proposal):
                self._persist(proposal)
            case BuildBlock(_, round, last_commit):
                self._inputs.append(BlockBuilt(self._build(round, last_commit, now)))
            case CheckBlock(proposal):
                self._check(proposal)
            case Decide(proposal, commit):
                self._decide(proposal, commit)
            case RecordEvidence(evidence):
                self._accuse(evidence, PeerId(OWN))
            case PeerAhead(peer, height):
                self._catch_up.note(PeerId(peer), Height(height - 1))
            case Misbehaved(peer, reason, detail):
                self._punish(PeerId(peer), reason, detail)
            case ProposalRejected(height, round, block_id, reason, detail):
                self.counters.rejected[reason] += 1
                _log.warning("proposal rejected", height=height, round=round, block=block_id, reason=reason.value,
                             detail=detail)
            case Diverged(height, block_id):
                detail = f"block {block_id.hex()} at height {height} is final, and invalid here; state or code is wrong"
                self._actions.append(Halt(Refused(Reason.BAD_HEADER, detail)))

    def _ask_signature(self, task: SignVote | SignProposal) -> None:
        """Have it signed, unless that would be below or beside what was signed: then nothing is said."""
        if self._guard is None:
            raise AssertionError("only a validator's engine asks for a signature")
        if self._guard.permits(task):
            self._actions.append(Sign(task, self._sign_bytes(task)))
            return
        self.counters.withheld += 1
        height, round, step = place_of(task)
        _log.warning("not signed: the last-sign state is at or above it", height=height, round=round, step=step.name)

    def _sign_bytes(self, task: SignVote | SignProposal) -> bytes:
        chain_id = self.chain.tip.chain_id
        if isinstance(task, SignVote):
            return vote_sign_bytes(chain_id, task.kind, task.height, task.round, task.block_id)
        proposal = task.proposal
        return proposal_sign_bytes(chain_id, proposal.height, proposal.round, proposal.pol_round, proposal.block_id)

    def punish(self, peer_id: PeerId, reason: Reason, detail: str, now: int) -> list[Action]:
        """Count what a peer did wrong, and let it go if no honest peer ever does it."""
        self._punish(peer_id, reason, detail)
        return self._run(now)

    def _punish(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        self.counters.misbehaviour[reason] += 1
        _log.warning("peer misbehaved", peer=peer_id, reason=reason.value, detail=detail)
        if peer_id and reason.permanent:
            self._actions.append(Disconnect(peer_id, reason, detail))

    def _accuse(self, evidence: Evidence, sender: PeerId) -> None:
        try:
            is_news = self.pool.add(evidence)
        except Refused as refused:
            self._punish(sender, refused.reason, refused.detail)
            return
        if is_news:
            _log.warning("double signing", validator=evidence.validator, height=height_of(evidence), told_by=sender)
            self._archive.accuse(evidence)
            self._actions.append(SendAll(Channel.CONSENSUS, encode(EvidenceMessage(evidence))))
            self._actions.append(Accuse(evidence, self.chain.key_of_accused(evidence)))
            self._inputs.append(WorkAvailable())

    # ---- blocks

    def execute(self, block: Block, transactions: tuple[Decoded, ...]) -> Executed:
        """Execute the block after the tip; only what was not verified before is verified. Raises as `Chain.execute`."""
        return self.chain.execute(
            block, transactions, self.signatures, self._verifier, self.signatures.find_faults
        )

    def _build(self, round: int, last_commit: Commit, now: int) -> Proposal:
        if self.own_address is None:
            raise AssertionError("only a validator's engine asks for a block")
        evidence = self.pool.for_block()
        candidates = (entry.decoded for entry in self._mempool.candidates())
        with timed(self.counters.executing):
            executed, selection = self.chain.build(
                now, self.own_address, last_commit, evidence, candidates, self.signatures,
                self.signatures.find_faults,
            )
        for decoded, refused in selection.skipped:
            _block_log.debug("left out", txid=decoded.txid, reason=refused.reason.value)
            self._mempool.remove(decoded.wtxid)
        self.candidates.remember(executed)
        wtxids = [decoded.wtxid for decoded in executed.transactions]
        return make_proposal(executed.block.header, wtxids, last_commit, evidence, round)

    def _check(self, proposal: Proposal) -> None:
        if self.candidates.executed(proposal.block_id) is not None:
            self._inputs.append(BlockChecked(proposal.height, proposal.block_id, True))
            return
        self.candidates.add(proposal)
        self._check_complete()

    def _check_complete(self) -> None:
        for proposal, block, transactions in self.candidates.take_complete():
            valid = True
            try:
                with timed(self.counters.executing):
                    executed = self.execute(block, transactions)
                self.candidates.remember(executed)
            except Refused as refused:
                if refused.reason is Reason.CORRUPT_DATABASE:
                    raise
                valid = False
                self.counters.rejected[refused.reason] += 1
                _block_log.warning("invalid block", height=proposal.height, block=proposal.block_id,
                                   reason=refused.reason.value, detail=refused.detail)
            self._inputs.append(BlockChecked(proposal.height, proposal.block_id, valid))

    def _persist(self, proposal: Proposal) -> None:
        executed = self.candidates.executed(proposal.block_id)
        if executed is None:
            raise AssertionError("a block with a polka here was executed here")
        self._log.append(encode_entry(BlockEntry(proposal, executed.block.transactions)))

    def _decide(self, proposal: Proposal, commit: Commit) -> None:
        executed = self.candidates.executed(proposal.block_id)
        if executed is None:
            raise AssertionError("a decided block was executed here")
        self._commit(executed, commit)
        self._begin_height()

    def _begin_height(self) -> None:
        if not self._knows_next():
            return
        self._inputs.append(StartHeight(self.chain.tip))
        if self.has_work:
            self._inputs.append(WorkAvailable())

    def _knows_next(self) -> bool:
        """Return whether this program knows the rules of the next height; if not, it stops here."""
        try:
            self.chain.check_version()
        except Refused as refused:
            self._actions.append(Halt(refused))
            return False
        return True

    def adopt(self, executed: Executed, commit: Commit, now: int) -> list[Action]:
        """Commit a final block that came by catching up. The engine hears of it with `start_height`."""
        self.counters.synced += 1
        self._commit(executed, commit)
        self._knows_next()
        return self._run(now)

    def _commit(self, executed: Executed, commit: Commit) -> None:
        """Write a block that is final, and let mempool, log and subscribers follow."""
        with timed(self.counters.committing):
            self.chain.commit(executed, commit)
        self._begin_log()
        header = executed.block.header
        self._mempool.commit(header.height, executed.transactions, taken_in(executed.result.changes))
        if self.chain.tip.version != header.version:
            dropped = self._mempool.clear()
            _block_log.info("a new protocol version is in force", version=self.chain.tip.version, dropped=len(dropped))
        for decoded in executed.transactions:
            self.signatures.forget(decoded.wtxid)
        self.pool.prune()
        self.candidates.clear()
        self.counters.committed(header.time, len(executed.transactions))
        _block_log.info("committed", height=header.height, block=header.block_id, round=commit.round,
                        transactions=len(executed.transactions), state_root=self.chain.tip.state_root)
        result = executed.result
        event = BlockCommitted(header.height, header.block_id, header, result.receipts, result.events)
        self._actions.append(Publish(event))

    def _begin_log(self) -> None:
        self._log.cut(0)
        self._log.append(encode_entry(HeightEntry(Height(self.chain.height + 1))))
        self._archive.begin(self.chain.tip)

    def _note(self, message: Vote | Proposal) -> None:
        """Write down what somebody signed."""
        self._log.append(encode_entry(message_entry(message)))
        self._archive.add(message)


def _message_in(entry: LogEntry) -> Vote | Proposal | None:
    """Return what an entry says that somebody signed."""
    if isinstance(entry, VoteEntry):
        return entry.vote
    return entry.proposal if isinstance(entry, ProposalEntry) else None
