"""What a process does around a core whatever clock and network it has: its inbox, and who carries out which action.

`node/driver.py` uses it with trio, `testnet/sim/process.py` on a simulated clock. No trio and no sockets here.

The inbox has two lanes. What consensus and catching up wait for goes first; transactions follow in small slices, and
their signatures are verified between them, here or on threads. So at full load a vote waits for one slice, some
milliseconds, and not for the queue.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from consensus.effects import SignProposal, SignVote, Verifier
from consensus.types import Evidence
from crypto.errors import Reason, Refused
from node.actions import (
    Accuse,
    Action,
    Ask,
    Disconnect,
    Halt,
    Publish,
    Report,
    Send,
    SendAll,
    Sign,
    StartTimer,
    SubmitResult,
    Timer,
    Verify,
)
from node.admission import SLICE
from node.events import BlockCommitted
from node.logic import NodeLogic
from node.signatures import verdicts
from p2p.network import Channel, PeerId
from p2p.wire import batch_codec

Event = Callable[[int], list[Action]]
"""Something for the core, given the time in ms."""
NOBODY: Final = PeerId(b"")
"""The sender of what was submitted to this node."""


class Hands(Protocol):
    """Carries out what a core asks for: one method for each action, see `node.actions`."""

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """Send."""
        ...

    def send_all(self, channel: Channel, payload: bytes, heard: bool) -> None:
        """SendAll."""
        ...

    def spread(self, evidence: Evidence, consensus_key: bytes) -> None:
        """Accuse."""
        ...

    def start_timer(self, timer: Timer, delay: int) -> None:
        """StartTimer: answered by `Inbox.timer_over`."""
        ...

    def sign(self, task: SignVote | SignProposal, message: bytes) -> None:
        """Sign: answered by `Inbox.signed`."""
        ...

    def verify(self, action: Verify) -> None:
        """Verify: answered by `Inbox.verified`, or by `Inbox.verify` in its own turn."""
        ...

    def ask(self, action: Ask) -> None:
        """Ask: answered by `Inbox.answer_frame` and `Inbox.answer_over`."""
        ...

    def report(self, ticket: int, results: tuple[SubmitResult, ...]) -> None:
        """Report."""
        ...

    def let_go(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """Disconnect."""
        ...

    def publish(self, event: BlockCommitted) -> None:
        """Publish."""
        ...


def carry_out(action: Action, hands: Hands) -> None:
    """Carry out an action of a core. Raises Refused for Halt: the process ends with it."""
    match action:
        case Send(peer_id, channel, payload):
            hands.send(peer_id, channel, payload)
        case SendAll(channel, payload, heard):
            hands.send_all(channel, payload, heard)
        case StartTimer(timer, delay):
            hands.start_timer(timer, delay)
        case Sign(task, message):
            hands.sign(task, message)
        case Verify():
            hands.verify(action)
        case Ask():
            hands.ask(action)
        case Report(ticket, results):
            hands.report(ticket, results)
        case Publish(event):
            hands.publish(event)
        case Accuse(evidence, consensus_key):
            hands.spread(evidence, consensus_key)
        case Disconnect(peer_id, reason, detail):
            hands.let_go(peer_id, reason, detail)
        case Halt(refused):
            raise refused


class Inbox:
    """Events for a core, in two lanes.

    Args:
        logic: the core, or what is wrapped around it.
        verifier: checks transactions' signatures.
        wake: called whenever something was put in.

    Attributes:
        urgent: what goes first.
        slow: slices of transactions.
    """

    def __init__(self, logic: NodeLogic, verifier: Verifier, wake: Callable[[], object]) -> None:
        self.urgent: deque[Event] = deque()
        self.slow: deque[Event] = deque()
        self._logic = logic
        self._verifier = verifier
        self._wake = wake

    def take(self) -> Event | None:
        """Return the next event, or None: what is urgent before any slice."""
        if self.urgent:
            return self.urgent.popleft()
        return self.slow.popleft() if self.slow else None

    def post(self, event: Event) -> None:
        """Put in something urgent."""
        self.urgent.append(event)
        self._wake()

    def end(self) -> None:
        """Drop everything."""
        self.urgent.clear()
        self.slow.clear()

    # ---- peers

    def connected(self, peer_id: PeerId) -> None:
        """A peer is there."""
        self.post(partial(self._logic.peer_connected, peer_id))

    def disconnected(self, peer_id: PeerId) -> None:
        """A peer is gone."""
        self.post(partial(self._logic.peer_disconnected, peer_id))

    def frame(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """Take a frame from a peer, on CONSENSUS or TRANSACTIONS."""
        if channel is Channel.CONSENSUS:
            self.post(partial(self._logic.consensus_frame, peer_id, payload))
            return
        try:
            raws = batch_codec.decode(payload).transactions
        except Refused as refused:
            self.misbehaved(peer_id, refused)
            return
        self.transactions(raws, peer_id)

    def misbehaved(self, peer_id: PeerId, refused: Refused) -> None:
        """A peer sent what no honest peer sends."""
        self.post(partial(self._logic.misbehaved, peer_id, refused))

    # ---- transactions

    def transactions(self, raws: Sequence[bytes], sender: PeerId) -> None:
        """Take transactions from others, in slices."""
        for start in range(0, len(raws), SLICE):
            self.submitted(raws[start : start + SLICE], 0, sender)

    def submitted(self, raws: Sequence[bytes], report: int, sender: PeerId = NOBODY) -> None:
        """Take one slice, to be reported under a ticket; 0 for nobody."""
        self.slow.append(partial(self._logic.transactions, raws, sender, report))
        self._wake()

    def verify(self, action: Verify) -> None:
        """Verify signatures in a turn of their own, before the slices behind them: what is urgent goes between."""
        self.slow.appendleft(partial(self._verify, action))

    def _verify(self, action: Verify, now: int) -> list[Action]:
        return self._logic.verified(action.ticket, verdicts(self._verifier, action.checks), now)

    # ---- answers

    def signed(self, task: SignVote | SignProposal, signature: bytes) -> None:
        """A signature is there."""
        self.post(partial(self._logic.signed, task, signature))

    def timer_over(self, timer: Timer) -> None:
        """A timer ran out."""
        self.post(partial(self._logic.timer_over, timer))

    def answer_frame(self, ticket: int, peer_id: PeerId, frame: bytes) -> None:
        """A frame of an answer came."""
        self.post(partial(self._logic.answer_frame, ticket, peer_id, frame))

    def answer_over(self, ticket: int, peer_id: PeerId, refused: Refused | None) -> None:
        """An answer is complete, or was refused."""
        self.post(partial(self._logic.answer_over, ticket, peer_id, refused))
