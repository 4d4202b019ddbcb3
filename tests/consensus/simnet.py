"""A few engines on a made-up network: seeded loss, delay, reordering, crashes, and validators that misbehave.

Everything that the node's driver does is done here in its smallest form: signing after logging, answering BuildBlock
and CheckBlock, timers, status exchange, and fetching finished blocks from a peer that is ahead.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from msgspec.structs import replace

from consensus.block import check_committed_block, make_header, make_proposal
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
    PeerAhead,
    PersistBlock,
    ProposalReceived,
    RecordEvidence,
    ScheduleTimeout,
    SignProposal,
    SignVote,
    StartHeight,
    TimeoutElapsed,
    VoteReceived,
    WorkAvailable,
)
from consensus.engine import Engine
from consensus.log import BlockEntry, decode_entries, encode_entry, message_entry
from consensus.relay import RoundStatus
from consensus.types import (
    Block,
    Commit,
    ConsensusParams,
    Evidence,
    Proposal,
    Tip,
    Vote,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from state.types import Round, WtxId
from tests.consensus.parts import CHAIN, GENESIS_TIME, KeyedHash, genesis_tip, hash32, make_validators, tip_after

PARAMS = ConsensusParams(timeout_propose=300, timeout_prevote=150, timeout_precommit=150, timeout_delta=100,
                         timeout_max=2000, block_interval=100)
STATUS_EVERY = 100
CHECK_DELAY = 5


@dataclass
class Faults:
    """What goes wrong on the network, drawn from its seed."""

    loss: float = 0.0
    delay: tuple[int, int] = (1, 20)
    silent: set[int] = field(default_factory=set)
    """Validators that send nothing at all."""
    equivocating: set[int] = field(default_factory=set)
    """Validators that tell one half of the network one thing and the other half another."""


class Node:
    """One validator: an engine, a log with a synced and an unsynced part, and the chain that it has committed."""

    def __init__(self, net: "Network", index: int) -> None:
        self.net = net
        self.index = index
        self.key = KeyedHash(net.genesis.validators.validators[index].public_key)
        self.address = net.genesis.validators.validators[index].address
        self.tips: list[Tip] = [net.genesis]
        self.decided: dict[int, tuple[Proposal, Commit]] = {}
        self.synced = b""
        self.unsynced = b""
        self.evidence: list[Evidence] = []
        self.signed: dict[tuple[int, int, int], bytes] = {}
        """What left this node: (height, round, kind, 0 for a proposal) -> block id."""
        self.alive = True
        self.life = 0
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        return Engine(CHAIN, PARAMS, self.key, self.address)

    @property
    def tip(self) -> Tip:
        return self.tips[-1]

    def boot(self) -> None:
        self.alive = True
        self.life += 1
        entries, good = decode_entries(self.synced)
        assert good == len(self.synced)
        self.engine = self.new_engine()
        self.engine.restore(entries)
        self.begin_height()
        self.net.after(STATUS_EVERY, self, self.tell_status)

    def crash(self) -> None:
        self.alive = False
        keep = self.net.random.randrange(len(self.unsynced) + 1)
        _, good = decode_entries(self.synced + self.unsynced[:keep])
        self.synced = (self.synced + self.unsynced)[:good]
        self.unsynced = b""

    def begin_height(self) -> None:
        self.give(StartHeight(self.tip))
        if self.net.work:
            self.give(WorkAvailable())

    def give(self, input: Input) -> None:
        self.net.steps += 1
        for effect in self.engine.handle(input, self.net.now):
            self.do(effect)

    def tell_status(self) -> None:
        status = self.engine.round_status()
        for peer in self.net.others(self):
            self.net.send(self, peer, lambda peer=peer: peer.hear_status(status, self))  # type: ignore[misc]
        self.net.after(STATUS_EVERY, self, self.tell_status)

    def hear_status(self, status: RoundStatus, sender: "Node") -> None:
        self.net.steps += 1
        if status.height > self.engine.step.height:
            self.fetch_from(sender)
        for message in self.engine.lacking(status):
            self.post(message, sender)

    def post(self, message: Proposal | Vote, peer: "Node") -> None:
        source = bytes([self.index + 1])
        if isinstance(message, Vote):
            vote = message
            self.net.send(self, peer, lambda: peer.give(VoteReceived(vote, source)))
        else:
            proposal = message
            self.net.send(self, peer, lambda: peer.give(ProposalReceived(proposal, source)))

    # ---- effects

    def do(self, effect: Effect) -> None:
        match effect:
            case SignVote(kind, height, round, block_id, validator):
                message = vote_sign_bytes(CHAIN, kind, height, round, block_id)
                vote = Vote(kind, height, round, block_id, validator, self.key.sign(message))
                self.log(vote, sync=True)
                self.give(VoteReceived(vote, b""))
            case SignProposal(proposal):
                signed = self.sign(proposal)
                self.log(signed, sync=True)
                self.give(ProposalReceived(signed, b""))
            case Broadcast(message):
                self.broadcast(message)
            case AppendLog(message):
                self.log(message, sync=False)
            case PersistBlock(proposal):
                self.unsynced += encode_entry(BlockEntry(proposal, ()))
            case ScheduleTimeout(timeout, delay):
                self.net.after(delay, self, lambda: self.give(TimeoutElapsed(timeout)))
            case BuildBlock(_, round, last_commit):
                built = self.build(round, last_commit)
                self.net.after(CHECK_DELAY, self, lambda: self.give(BlockBuilt(built)))
            case CheckBlock(proposal):
                checked = BlockChecked(proposal.height, proposal.block_id, True)
                self.net.after(CHECK_DELAY, self, lambda: self.give(checked))
            case Decide(proposal, commit):
                self.net.after(CHECK_DELAY, self, lambda: self.commit(proposal, commit))
            case PeerAhead(peer, _):
                self.fetch_from(self.net.nodes[peer[0] - 1])
            case RecordEvidence(evidence):
                self.evidence.append(evidence)
            case Misbehaved() | Diverged():
                raise AssertionError(f"node {self.index}: {effect}")
            case _:
                pass

    def sign(self, proposal: Proposal) -> Proposal:
        message = proposal_sign_bytes(
            CHAIN, proposal.height, proposal.round, proposal.pol_round, proposal.block_id
        )
        return replace(proposal, signature=self.key.sign(message))

    def build(self, round: Round, last_commit: Commit, extra: str = "") -> Proposal:
        work = [WtxId(hash32(f"tx {self.tip.height} {self.index} {round}{extra}"))] if self.net.work else []
        header = make_header(
            self.tip, time=self.net.now, proposer=self.address, wtxids=work, last_commit=last_commit
        )
        return make_proposal(header, work, last_commit, round=round)

    def log(self, message: Proposal | Vote, *, sync: bool) -> None:
        self.unsynced += encode_entry(message_entry(message))
        if sync:
            self.synced, self.unsynced = self.synced + self.unsynced, b""

    def broadcast(self, message: Proposal | Vote) -> None:
        mine = isinstance(message, Proposal) or message.validator == self.index
        if mine and self.index in self.net.faults.silent:
            return
        if mine and self.index not in self.net.faults.equivocating:
            self.remember(message)
        for peer in self.net.others(self):
            self.post(self.twist(message, peer), peer)

    def remember(self, message: Proposal | Vote) -> None:
        """Check that we never contradict ourselves."""
        if isinstance(message, Vote):
            place = (int(message.height), int(message.round), int(message.kind))
        elif message.header.proposer != self.address and message.pol_round < 0:
            return  # somebody's conflicting proposal, passed on
        else:
            return
        assert self.signed.setdefault(place, message.block_id) == message.block_id, "signed twice"

    def twist(self, message: Proposal | Vote, peer: "Node") -> Proposal | Vote:
        """Say something else to every second peer, if we are one who does."""
        if self.index not in self.net.faults.equivocating or peer.index % 2:
            return message
        if isinstance(message, Vote) and message.validator == self.index:
            other = b"" if message.block_id else hash32(f"no block {message.height} {message.round}")
            text = vote_sign_bytes(CHAIN, message.kind, message.height, message.round, other)  # type: ignore[arg-type]
            return replace(message, block_id=other, signature=self.key.sign(text))
        if isinstance(message, Proposal) and message.header.proposer == self.address and message.pol_round < 0:
            return self.sign(self.build(message.round, message.last_commit, "other"))
        return message

    # ---- the chain

    def commit(self, proposal: Proposal, commit: Commit) -> None:
        if proposal.height != self.tip.height + 1:
            return
        self.net.check_agreement(proposal, self)
        self.decided[proposal.height] = (proposal, commit)
        self.tips.append(tip_after(self.tip, proposal, commit))
        self.begin_height()

    def fetch_from(self, peer: "Node") -> None:
        """Ask for the next finished block."""
        self.net.send(self, peer, lambda: peer.answer(self))

    def answer(self, asker: "Node") -> None:
        for height in range(asker.tip.height + 1, self.tip.height + 1):
            proposal, commit = self.decided[height]
            self.net.send(self, asker, lambda p=proposal, c=commit: asker.take(p, c))  # type: ignore[misc]

    def take(self, proposal: Proposal, commit: Commit) -> None:
        if proposal.height != self.tip.height + 1:
            return
        block = Block(proposal.header, (), proposal.last_commit, proposal.evidence)
        if not proposal.wtxids:  # bodies do not exist here, so only empty blocks can be checked whole
            check_committed_block(self.tip, block, commit, self.key)
        self.commit(proposal, commit)


class Network:
    """Nodes, a clock, and a queue of what happens when. The same seed gives the same run."""

    def __init__(self, size: int, seed: int, faults: Faults | None = None) -> None:
        self.random = random.Random(seed)
        self.faults = faults or Faults()
        self.now = GENESIS_TIME + 1000
        self.work = True
        self.steps = 0
        self.genesis = genesis_tip(make_validators([10] * size))
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._block_ids: dict[int, bytes] = {}
        self.nodes = [Node(self, index) for index in range(size)]
        for node in self.nodes:
            node.boot()

    def others(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if other is not node]

    def after(self, delay: int, node: Node, action: Callable[[], None]) -> None:
        life = node.life

        def act() -> None:
            if node.alive and node.life == life:
                action()

        heapq.heappush(self._queue, (self.now + delay, next(self._order), act))

    def send(self, sender: Node, receiver: Node, action: Callable[[], None]) -> None:
        if self.random.random() < self.faults.loss or sender.index in self.faults.silent:
            return

        def arrive() -> None:
            if receiver.alive:
                action()

        delay = self.random.randint(*self.faults.delay)
        heapq.heappush(self._queue, (self.now + delay, next(self._order), arrive))

    def run_for(self, time: int) -> None:
        end = self.now + time
        while self._queue and self._queue[0][0] <= end:
            self.now, _, act = heapq.heappop(self._queue)
            act()
        self.now = end

    def run_until(self, reached: Callable[[], bool], within: int) -> bool:
        """Run until it holds, at most this many inputs and status exchanges."""
        end = self.steps + within
        while not reached():
            if self.steps > end or not self._queue:
                return False
            self.now, _, act = heapq.heappop(self._queue)
            act()
        return True

    def honest(self) -> list[Node]:
        return [node for node in self.nodes if node.index not in self.faults.silent | self.faults.equivocating]

    def heights(self) -> list[int]:
        return [int(node.tip.height) for node in self.honest()]

    def check_agreement(self, proposal: Proposal, node: Node) -> None:
        if node in self.honest():
            agreed = self._block_ids.setdefault(int(proposal.height), proposal.block_id)
            assert agreed == proposal.block_id, f"two blocks at height {proposal.height}"
