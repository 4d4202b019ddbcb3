"""What must never happen. Every check raises `Violation`, which ends the run and names its seed.

    agreement        no two honest nodes commit different blocks at one height
    same state       nor reach different states by the same block
    validity         a node that no fault reaches takes every committed block: header, commit, transactions, result
    nothing lost     a node that comes back has every block that it said was committed
    supply           of every asset there is exactly what was issued
    one signature    what an honest validator says in one place of consensus it never says differently, in no life
    trust            an honest node never lets go of an honest node
    life             no node stops, except when its disk fails; and then it does
"""

from collections.abc import Iterable, Mapping
from typing import Final

from apps.execution import decode_block
from apps.genesis import init_genesis
from apps.supply import supply_differences
from consensus.block import check_committed_block
from consensus.effects import Verifier
from consensus.types import Proposal, Vote
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from node.chain import open_chain
from node.events import BlockCommitted
from node.signatures import checks_of
from p2p.network import Channel
from p2p.wire import ProposalMessage, SyncedBlock, VoteMessage, consensus_message_codec
from state.genesis import Genesis
from state.memory import MemoryStore
from state.transaction import Decoded
from state.types import Address, BlockId, Height
from testnet.sim.disk import PowerLoss
from testnet.sim.machine import Machine, RolledBack, Wiped
from testnet.sim.process import Killed

DISK_REASONS: Final = frozenset({Reason.CORRUPT_DATABASE, Reason.CORRUPT_LOG, Reason.BAD_SIGN_STATE})

Place = tuple[int, int, int, int]
"""Where somebody signs: height, round, kind of vote or 0 for a proposal, index in the set or 0 for the proposer."""


class Violation(BaseException):
    """Something happened that must never happen. No code of the node may catch it."""


class Auditor:
    """A node that no fault reaches: it takes each height's block once, from whoever commits it first.

    Attributes:
        ids: block id by height; the chain id at 0.
        roots: state root after each height.
        transactions: in all blocks.
        failed: of them, those whose messages failed.
        rounds: the highest round that decided a block.
        validator_sets: how often the set of validators has changed.
        evidence: accusations in blocks.
    """

    def __init__(self, genesis: Genesis, verifier: Verifier) -> None:
        self._chain = open_chain(MemoryStore(), genesis)
        self._verifier = verifier
        self._records: dict[bytes, bytes] = {}
        self.ids: list[BlockId] = [self._chain.tip.block_id]
        self.roots: list[bytes] = [self._chain.tip.state_root]
        self.transactions = self.failed = self.rounds = self.validator_sets = self.evidence = 0
        self._keep(init_genesis(genesis))

    @property
    def height(self) -> int:
        """The highest committed height."""
        return len(self.ids) - 1

    def take(self, synced: SyncedBlock) -> None:
        """Verify, execute and commit the next block, as a node that catches up would.

        Raises:
            Violation: some rule does not hold.
        """
        block, commit = synced.block, synced.commit
        try:
            check_committed_block(self._chain.tip, block, commit, self._verifier)
            executed = self._chain.execute(block, decode_block(block.transactions), self._holds, self._verifier)
        except Refused as refused:
            raise Violation(f"block {block.header.height} is committed, and not valid: {refused}") from None
        voters = self._chain.tip.validators
        tip = self._chain.commit(executed, commit)
        self.validator_sets += tip.validators.hash != voters.hash
        self.evidence += len(block.evidence)
        self.ids.append(tip.block_id)
        self.roots.append(tip.state_root)
        self.transactions += len(block.transactions)
        self.failed += sum(receipt.reason != "" for receipt in executed.result.receipts)
        self.rounds = max(self.rounds, commit.round)
        self._keep(executed.result.changes)
        differences = supply_differences(self._records)
        if differences:
            raise Violation(f"after block {block.header.height} supply and holdings differ: {differences}")

    def _keep(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        for key, value in changes:
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = value

    def _holds(self, decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
        verify = self._verifier.verify
        return all(verify(one.public_key, one.message, one.signature) for one in checks_of(decoded, keys))


class Checks:
    """Watches every machine of a run.

    Args:
        auditor: follows the chain.
        liars: machines whose behaviour is no fault of the code, and their consensus addresses.

    Attributes:
        promised: machine -> the highest height that it said was committed, or came back with.
    """

    def __init__(self, auditor: Auditor, liars: Mapping[int, Address]) -> None:
        self.auditor = auditor
        self.liars = frozenset(liars)
        self._lying_addresses = frozenset(liars.values())
        self.promised: dict[int, int] = {}
        self._signed: dict[Place, bytes] = {}
        self._repeatable: dict[int, int] = {}
        """Machine -> height up to which it may repeat undone blocks out of its log, without a word about each."""

    def booted(self, machine: Machine) -> None:
        """Check what a node found on its disk."""
        if machine.seat.index in self.liars:
            return
        promised = self.promised.get(machine.seat.index, 0)
        tip = machine.chain.tip
        if tip.height < promised:
            raise Violation(f"{machine} had committed height {promised} and comes back with {tip.height}")
        self.promised[machine.seat.index] = tip.height
        self._audit(machine, tip.height)
        self._compare(machine, tip.height, tip.block_id, tip.state_root)

    def committed(self, machine: Machine, event: BlockCommitted) -> None:
        """Check a block that a node says is final."""
        if machine.seat.index in self.liars:
            return
        index, height = machine.seat.index, event.height
        self._audit(machine, height)
        repeated = self._repeatable.pop(index, 0)
        if not self.promised.get(index, 0) < height <= max(self.promised.get(index, 0), repeated) + 1:
            raise Violation(f"{machine} commits height {height} after {self.promised.get(index, 0)}")
        tip = machine.chain.tip
        # A node may have gone on meanwhile: then the next header, whose id is compared, holds the root.
        state_root = tip.state_root if tip.height == height else self.auditor.roots[height]
        self._compare(machine, height, event.block_id, state_root)
        self.promised[index] = height

    def _audit(self, machine: Machine, height: int) -> None:
        """Show the auditor the blocks that nobody has shown it yet."""
        for number in range(self.auditor.height + 1, height + 1):
            self.auditor.take(machine.chain.block(Height(number)))

    def _compare(self, machine: Machine, height: int, block_id: BlockId, state_root: bytes) -> None:
        if block_id != self.auditor.ids[height]:
            theirs = self.auditor.ids[height].hex()[:12]
            raise Violation(f"{machine} has block {block_id.hex()[:12]} at height {height}, others {theirs}")
        if state_root != self.auditor.roots[height]:
            raise Violation(f"{machine} has another state after block {height} than others")

    def sent(self, machine: Machine, channel: Channel, payload: bytes) -> None:
        """Check a frame that leaves: does its sender contradict itself?"""
        if channel is not Channel.CONSENSUS or machine.seat.index in self.liars:
            return
        message = consensus_message_codec.decode(payload)
        if isinstance(message, VoteMessage):
            self._said_vote(machine, message.vote)
        elif isinstance(message, ProposalMessage):
            self._said_proposal(machine, message.proposal)

    def _said_vote(self, machine: Machine, vote: Vote) -> None:
        if not self._is_lie(machine, vote):
            self._said((vote.height, vote.round, vote.kind, vote.validator), vote.block_id)

    def _is_lie(self, machine: Machine, vote: Vote) -> bool:
        """Tell whether a vote may be by one of the liars."""
        if not self.liars:
            return False
        tip = machine.chain.tip
        voters = {tip.height: tip.previous_validators, tip.height + 1: tip.validators}.get(vote.height)
        return voters is None or voters.validators[vote.validator].address in self._lying_addresses

    def _said_proposal(self, machine: Machine, proposal: Proposal) -> None:
        if not self.liars or proposal.header.proposer == address_of(machine.seat.signer.public_key):
            self._said((proposal.height, proposal.round, 0, 0), proposal.block_id)

    def _said(self, place: Place, block_id: BlockId) -> None:
        if self._signed.setdefault(place, block_id) != block_id:
            raise Violation(f"an honest validator signed two things at height, round, kind, index {place}")

    def accused(self, machine: Machine, other: int, reason: Reason, detail: str) -> None:
        """Check that who lets go of a peer has cause to."""
        if machine.seat.index not in self.liars and other not in self.liars:
            raise Violation(f"{machine} lets go of honest node{other}: {reason.value}: {detail}")

    def stopped(self, machine: Machine, error: BaseException) -> None:
        """Check that a process that ended had to."""
        if isinstance(error, PowerLoss | Killed) or machine.seat.index in self.liars:
            return
        if isinstance(error, Wiped | RolledBack):
            self._forgot(machine.seat.index, error)
            return
        if machine.disk.failed and (isinstance(error, OSError) or _is_of_disk(error)):
            return
        raise Violation(f"{machine} stopped: {error!r}") from error

    def _forgot(self, index: int, error: Wiped | RolledBack) -> None:
        """Expect no more of a machine than its operator left on it."""
        if isinstance(error, RolledBack):
            self._repeatable[index] = max(self._repeatable.get(index, 0), error.before)
        self.promised[index] = error.height if isinstance(error, RolledBack) else 0

    def went_on(self, machine: Machine) -> None:
        """Check that a node is not running on a disk that failed it."""
        if machine.alive and machine.disk.failed:
            raise Violation(f"{machine} goes on after a failed write")


def _is_of_disk(error: BaseException) -> bool:
    return isinstance(error, Refused) and error.reason in DISK_REASONS
