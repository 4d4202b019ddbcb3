"""What goes into the engine and what comes out: it does nothing itself, it asks.

The driver (node/driver.py, or the simulator) feeds inputs one at a time and carries out the returned effects
in order. An effect that wants an answer names the input that brings it.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from consensus.types import Block, Commit, Evidence, Proposal, SignedOffer, Tip, Vote, VoteKind
from crypto.errors import Reason
from state.types import Address, BlockId, Height, Round

PeerId = bytes
"""Node id of who sent something; empty for ourselves."""


class Step(NamedTuple):
    """Where a validator stands."""

    height: Height
    round: Round
    name: str  # "new_height" | "propose" | "prevote" | "precommit" | "commit"


class Timeout(NamedTuple):
    """Names one timer. `step` is "new_height" (block interval), "propose", "prevote" or "precommit"."""

    height: Height
    round: Round
    step: str


# ---- inputs


@dataclass(frozen=True, slots=True)
class StartHeight:
    """The block of `tip.height` is committed and executed: begin the next height."""

    tip: Tip


@dataclass(frozen=True, slots=True)
class WorkAvailable:
    """There is something to put in a block. Without it the engine waits at a new height (no empty blocks).

    It counts for the height that the engine stands at: while the mempool is not empty, the driver hands it in
    after every StartHeight, and again whenever an empty mempool gets its first transaction. Twice does no harm.
    """


@dataclass(frozen=True, slots=True)
class TimeoutElapsed:
    """A scheduled timer ran out."""

    timeout: Timeout


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """A peer's (or our own, signed) proposal."""

    proposal: Proposal
    sender: PeerId


@dataclass(frozen=True, slots=True)
class VoteReceived:
    """A peer's (or our own, signed) vote."""

    vote: Vote
    sender: PeerId


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """What a peer's proposal for a round of ours signs, without its block: it may prove that there were two."""

    offer: SignedOffer
    sender: PeerId


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """Answer to BuildBlock: an unsigned proposal whose block has been executed and found valid."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class BlockChecked:
    """Answer to CheckBlock: all bodies are here and the block was executed; `valid` is the verdict."""

    height: Height
    block_id: BlockId
    valid: bool


Input = (
    StartHeight | WorkAvailable | TimeoutElapsed | ProposalReceived | VoteReceived | OfferReceived | BlockBuilt
    | BlockChecked
)


# ---- effects


@dataclass(frozen=True, slots=True)
class SignVote:
    """Sign, write to the log, sync, and only then hand back as VoteReceived(vote, sender=b"")."""

    kind: VoteKind
    height: Height
    round: Round
    block_id: BlockId
    validator: int


@dataclass(frozen=True, slots=True)
class SignProposal:
    """Sign, write to the log, sync, and only then hand back as ProposalReceived(proposal, sender=b"")."""

    proposal: Proposal  # with an empty signature


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every peer."""

    message: Proposal | Vote


@dataclass(frozen=True, slots=True)
class ScheduleTimeout:
    """Call back with TimeoutElapsed(timeout) after `delay` ms."""

    timeout: Timeout
    delay: int


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Make a block from the mempool for this round; answer with BlockBuilt.

    `last_commit` is the tip's commit with the precommits that came in after it was decided: who signs late is
    still counted. It goes into `consensus.block.make_header` and the proposal.
    """

    height: Height
    round: Round
    last_commit: Commit


@dataclass(frozen=True, slots=True)
class CheckBlock:
    """Get the missing bodies, execute, compare the header; answer with BlockChecked."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class PersistBlock:
    """A polka for this block was seen: write its proposal and bodies to the log (the next sync covers it)."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class AppendLog:
    """Write a received message that changed our state to the log, without waiting for the disk."""

    message: Proposal | Vote


@dataclass(frozen=True, slots=True)
class PassOn:
    """A peer's message is new and good: send it on to peers that have no other way to its signer."""

    message: Proposal | Vote
    signer: Address
    sender: PeerId


@dataclass(frozen=True, slots=True)
class Decide:
    """The block is final: commit it in one batch, then answer with StartHeight."""

    proposal: Proposal
    commit: Commit


@dataclass(frozen=True, slots=True)
class RecordEvidence:
    """Somebody signed two things; keep the proof."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class ProposalRejected:
    """We prevote nil for this proposal, and why (for logs and metrics; there is nothing to carry out).

    BAD_TIME does not mean that the sender is to blame: our own clock may be off.
    """

    height: Height
    round: Round
    block_id: BlockId
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class PeerAhead:
    """A peer speaks of a height above ours, so it has committed blocks that we lack: ask it for them.

    Reported once for each peer and height. Its message is not verified (we may not know that height's validators):
    a hint, not a fact. What was asked may get lost: the heights in the peers' RoundStatus say when to ask again.
    """

    peer: PeerId
    height: Height


@dataclass(frozen=True, slots=True)
class Diverged:
    """More than 2/3 of the power precommitted a block that we found invalid: this node must stop at once.

    Either this node's state or its code is wrong, or more than a third of the power is malicious.
    """

    height: Height
    block_id: BlockId


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """A peer sent something that no honest peer sends."""

    peer: PeerId
    reason: Reason
    detail: str


Effect = (
    SignVote | SignProposal | Broadcast | ScheduleTimeout | BuildBlock | CheckBlock | PersistBlock | AppendLog
    | PassOn | Decide | RecordEvidence | ProposalRejected | PeerAhead | Diverged | Misbehaved
)


class Verifier(Protocol):
    """Checks signatures; the simulator puts keyed hashes behind it."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds. Never raises on hostile bytes."""
        ...


class Signer(Protocol):
    """Signs with one key."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes:
        """Return the signature."""
        ...


__all__ = [
    "AppendLog", "Block", "BlockBuilt", "BlockChecked", "Broadcast", "BuildBlock", "CheckBlock", "Decide", "Diverged",
    "Effect", "Input", "Misbehaved", "OfferReceived", "PassOn", "PeerAhead", "PeerId", "PersistBlock",
    "ProposalReceived", "ProposalRejected", "RecordEvidence", "ScheduleTimeout", "SignProposal", "SignVote", "Signer",
    "StartHeight", "Step", "Timeout", "TimeoutElapsed", "Verifier", "VoteReceived", "WorkAvailable",
]
