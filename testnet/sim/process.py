"""One life of a node process: the core, its inbox, its timers, and the peers that it is connected with.

This is `node/driver.py` on a simulated clock: the same two lanes, and every action of the core carried out the same
way. What the process holds in memory ends with it; its disk and its key stay with the machine.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol

from consensus.effects import Signer, SignProposal, SignVote, Verifier
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
from node.core import Core
from node.events import BlockCommitted
from node.logic import NodeLogic
from node.signatures import verdicts
from p2p.network import Channel, PeerId
from p2p.wire import batch_codec
from testnet.sim.agenda import MS, Agenda
from testnet.sim.disk import PowerLoss

Event = Callable[[int], list[Action]]
"""Something for the core, given the time in ms."""
SIGNING: Final = 12 * MS
"""What a Falcon signature takes."""


class Killed(BaseException):
    """The process was killed between two actions."""


class Outside(Protocol):
    """The machine around a process: what a process reaches only through it."""

    def now_ms(self) -> int:
        """Return the machine's clock, in ms since 1970."""
        ...

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """Send a frame to a peer."""
        ...

    def broadcast(self, channel: Channel, payload: bytes) -> None:
        """Send a frame to every peer."""
        ...

    def ask(self, action: Ask) -> None:
        """Ask a peer."""
        ...

    def let_go(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """End the connection with a peer."""
        ...

    def publish(self, event: BlockCommitted) -> None:
        """A block is committed."""
        ...

    def ended(self, error: BaseException) -> None:
        """The process ends, because of an error that came out of the core."""
        ...


class Process:
    """A core that runs.

    Args:
        node: the core, or what is wrapped around it.
        core: the core itself.
        keys: signs, and verifies transactions.
        agenda: the clock.
        outside: the machine.

    Attributes:
        node: the core, or what is wrapped around it.
        chain: the core's.
        mempool: the core's.
        alive: false after it ended.
        cost: microseconds that one event keeps the process busy; 0 on a fast machine.
        paused: the process is stopped, and everything waits.
        fuse: actions that it carries out before it is killed; None for no end.
        results: what became of submitted transactions, by ticket.
    """

    def __init__(
        self, node: NodeLogic, core: Core, keys: tuple[Signer, Verifier], agenda: Agenda, outside: Outside
    ) -> None:
        self.node = node
        self.chain = core.chain
        self.mempool = core.mempool
        self.alive = True
        self.cost = 0
        self.paused = False
        self.fuse: int | None = None
        self.results: dict[int, tuple[SubmitResult, ...]] = {}
        self._engine = core.agreement.engine
        self._signer, self._verifier = keys
        self._agenda = agenda
        self._outside = outside
        self._urgent: deque[Event] = deque()
        self._slow: deque[Event] = deque()
        self._busy = False
        self._tickets = count(1)

    @property
    def round(self) -> int:
        """The round that consensus is in."""
        return self._engine.step.round

    # ---- the inbox

    def post(self, event: Event) -> None:
        """Let the core handle an event as soon as it can."""
        self._urgent.append(event)
        self._work()

    def post_slow(self, event: Event) -> None:
        """Let the core handle an event when nothing urgent waits."""
        self._slow.append(event)
        self._work()

    def end(self) -> None:
        """End the process at once: nothing of it happens any more."""
        self.alive = False
        self._urgent.clear()
        self._slow.clear()

    def resume(self) -> None:
        """Go on after a pause, with everything that came in meanwhile."""
        self.paused = False
        self._work()

    def _work(self) -> None:
        """Handle events until the inbox is empty or the machine is busy."""
        if self._busy or self.paused:
            return
        self._busy = True
        while self.alive and not self.paused and (self._urgent or self._slow):
            self._run((self._urgent or self._slow).popleft())
            if self.cost and self.alive:
                self._agenda.after(self.cost, self._free)
                return
        self._busy = False

    def _free(self) -> None:
        self._busy = False
        if self.alive:
            self._work()

    def _run(self, event: Event) -> None:
        """Hand an event to the core and carry out what follows. What the core raises ends the process."""
        try:
            for action in event(self._outside.now_ms()):
                if self.fuse is not None:
                    self._burn()
                self._carry_out(action)
        except (Exception, PowerLoss, Killed) as error:
            self._outside.ended(error)

    def _burn(self) -> None:
        if not self.fuse:
            raise Killed
        self.fuse -= 1

    # ---- actions

    def _carry_out(self, action: Action) -> None:
        match action:
            case Send(peer_id, channel, payload):
                self._outside.send(peer_id, channel, payload)
            case SendAll(channel, payload):
                self._outside.broadcast(channel, payload)
            case StartTimer(timer, delay):
                self._later(delay * MS, partial(self._timer_over, timer))
            case Sign(task, message):
                self._later(SIGNING + self.cost, partial(self._sign, task, message))
            case Verify():
                self._slow.appendleft(partial(self._verify, action))
            case Ask():
                self._outside.ask(action)
            case Report(ticket, results):
                self.results[ticket] = results
            case Disconnect(peer_id, reason, detail):
                self._outside.let_go(peer_id, reason, detail)
            case Publish(event):
                self._outside.publish(event)
            case Accuse():
                pass  # nobody gossips here
            case Halt(refused):
                raise refused

    def _later(self, delay: int, event: Event) -> None:
        self._agenda.after(delay, partial(self._due, event))

    def _due(self, event: Event) -> None:
        if self.alive:
            self.post(event)

    def _timer_over(self, timer: Timer, now: int) -> list[Action]:
        return self.node.timer_over(timer, now)

    def _sign(self, task: SignVote | SignProposal, message: bytes, now: int) -> list[Action]:
        return self.node.signed(task, self._signer.sign(message), now)

    def _verify(self, action: Verify, now: int) -> list[Action]:
        return self.node.verified(action.ticket, verdicts(self._verifier, action.checks), now)

    # ---- what comes in

    def submit(self, raws: Sequence[bytes]) -> int:
        """Take transactions from somebody on this machine; return the ticket under which `results` has the outcome."""
        ticket = next(self._tickets)
        self.post_slow(lambda now: self.node.transactions(raws, PeerId(b""), ticket, now))
        return ticket

    def frame(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """Take a frame from a peer."""
        if channel is Channel.CONSENSUS:
            self.post(lambda now: self.node.consensus_frame(peer_id, payload, now))
            return
        try:
            raws = batch_codec.decode(payload).transactions
        except Refused as refused:
            self.post(partial(self._misbehaved, peer_id, refused))
            return
        for start in range(0, len(raws), SLICE):
            self.post_slow(partial(self._slice, peer_id, raws[start : start + SLICE]))

    def _slice(self, peer_id: PeerId, raws: Sequence[bytes], now: int) -> list[Action]:
        return self.node.transactions(raws, peer_id, 0, now)

    def _misbehaved(self, peer_id: PeerId, refused: Refused, now: int) -> list[Action]:
        return self.node.misbehaved(peer_id, refused, now)

    def request(
        self, peer_id: PeerId, payload: bytes, reply: Callable[[bytes], None], end: Callable[[Refused | None], None]
    ) -> None:
        """Answer a peer's request, with every frame of the answer and its end."""
        self.post(partial(self._answer, peer_id, payload, reply, end))

    def _answer(
        self, peer_id: PeerId, payload: bytes, reply: Callable[[bytes], None], end: Callable[[Refused | None], None],
        now: int,
    ) -> list[Action]:
        try:
            for frame in self.node.answers(payload, "simulated", 1):
                reply(frame)
        except Refused as refused:
            if refused.reason is Reason.CORRUPT_DATABASE:
                raise
            end(refused)
            return self.node.misbehaved(peer_id, refused, now) if refused.reason.permanent else []
        end(None)
        return []
