"""What the node's core asks of the world around it: the driver does it with trio, the simulator with a seed."""

from dataclasses import dataclass
from enum import StrEnum

from apps.prooftask import ProofTask
from consensus.effects import SignProposal, SignVote, Timeout
from consensus.types import Evidence
from crypto.errors import Reason, Refused
from node.events import BlockCommitted
from p2p.network import Channel, PeerId
from state.types import TxId


class Tick(StrEnum):
    """Timers of the core's own, besides those of consensus."""

    RELAY = "relay"
    """Submitted transactions have waited long enough for company."""
    STATUS = "status"
    """Tell peers where we stand, if nothing moves."""
    SIGHTINGS = "sightings"
    """Tell peers whose votes we saw."""
    DOUBTS = "doubts"
    """A peer saw what had not come here: is it here now?"""
    BODIES = "bodies"
    """Transactions of a proposal did not come by themselves."""
    BEHIND = "behind"
    """A peer was ahead of us a moment ago: is it still?"""
    CATCH_UP = "catch_up"
    """The next block of catching up is here and waits to be executed."""


Timer = Timeout | Tick
SubmitResult = TxId | Refused
"""What became of a submitted transaction: it waits for a block, or it was refused by name."""


@dataclass(frozen=True, slots=True)
class Check:
    """One signature to verify: arguments of `crypto.schemes.verify`."""

    public_key: bytes
    message: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Queue a frame for one peer."""

    peer_id: PeerId
    channel: Channel
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendAll:
    """Queue a frame for every peer; if `heard`, gossip brought what is in it: who takes part in that has it already."""

    channel: Channel
    payload: bytes
    heard: bool = False


@dataclass(frozen=True, slots=True)
class Accuse:
    """Tell the whole network by gossip, if this node takes part in it."""

    evidence: Evidence
    consensus_key: bytes


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Call `Core.timer_over` with this timer after `delay` ms."""

    timer: Timer
    delay: int


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign `message` with the consensus key, then call `Core.signed` with the task and the signature."""

    task: SignVote | SignProposal
    message: bytes


@dataclass(frozen=True, slots=True)
class Verify:
    """Verify each transaction's signatures and proofs, then call `Core.verified` with the ticket and their verdicts.

    `beside`: on a thread in any case, since the core has other work meanwhile.
    """

    ticket: int
    checks: tuple[tuple[Check | ProofTask, ...], ...]
    beside: bool = False

    @property
    def has_proofs(self) -> bool:
        """True if there is more to verify than signatures: milliseconds for each transaction."""
        return any(isinstance(one, ProofTask) for group in self.checks for one in group)


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request to one peer; feed its frames to `Core.answer_frame`, its end to `Core.answer_over`."""

    ticket: int
    peer_id: PeerId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Give the results of the submission with this ticket, in its order."""

    ticket: int
    results: tuple[SubmitResult, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection with a peer, and count why."""

    peer_id: PeerId
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell subscribers."""

    event: BlockCommitted


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the node: going on could only do harm."""

    refused: Refused


Action = Send | SendAll | Accuse | StartTimer | Sign | Verify | Ask | Report | Disconnect | Publish | Halt
