"""One life of a node process: the core, its inbox, its timers, and the peers that it is connected with.

What `node/driver.py` is with trio: the same inbox and the same actions (`node/inbox.py`) on a simulated clock. What the
process holds in memory ends with it; its disk and its key stay with the machine.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol

from consensus.effects import Signer, SignProposal, SignVote, Verifier
from consensus.types import Evidence
from crypto.errors import Reason, Refused
from node.actions import Action, Ask, SubmitResult, Timer, Verify
from node.core import Core
from node.events import BlockCommitted
from node.inbox import Event, Inbox, carry_out
from node.logic import NodeLogic
from p2p.network import Channel, PeerId
from testnet.sim.agenda import MS, Agenda
from testnet.sim.disk import PowerLoss

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
        inbox: what waits for the core.
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
        self.inbox = Inbox(node, keys[1], self._work)
        self.chain = core.chain
        self.mempool = core.mempool
        self.alive = True
        self.cost = 0
        self.paused = False
        self.fuse: int | None = None
        self.results: dict[int, tuple[SubmitResult, ...]] = {}
        self._engine = core.agreement.engine
        self._node = node
        self._signer = keys[0]
        self._agenda = agenda
        self._outside = outside
        self._busy = False
        self._tickets = count(1)

    @property
    def round(self) -> int:
        """The round that consensus is in."""
        return self._engine.step.round

    # ---- the inbox

    def begin(self) -> None:
        """Let the core start."""
        self.inbox.post(self._node.start)

    def end(self) -> None:
        """End the process at once: nothing of it happens any more."""
        self.alive = False
        self.inbox.end()

    def resume(self) -> None:
        """Go on after a pause, with everything that came in meanwhile."""
        self.paused = False
        self._work()

    def _work(self) -> None:
        """Handle events until the inbox is empty or the machine is busy."""
        if self._busy or self.paused:
            return
        self._busy = True
        while self.alive and not self.paused:
            event = self.inbox.take()
            if event is None:
                break
            self._run(event)
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
                carry_out(action, self)
        except (Exception, PowerLoss, Killed) as error:
            self._outside.ended(error)

    def _burn(self) -> None:
        if not self.fuse:
            raise Killed
        self.fuse -= 1

    # ---- actions: `node.inbox.Hands`

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """See `Hands`."""
        self._outside.send(peer_id, channel, payload)

    def send_all(self, channel: Channel, payload: bytes, heard: bool) -> None:
        """See `Hands`. Nobody gossips here, so everybody gets everything."""
        self._outside.broadcast(channel, payload)

    def spread(self, evidence: Evidence, consensus_key: bytes) -> None:
        """See `Hands`. Nobody gossips here."""

    def start_timer(self, timer: Timer, delay: int) -> None:
        """See `Hands`."""
        self._later(delay * MS, partial(self.inbox.timer_over, timer))

    def sign(self, task: SignVote | SignProposal, message: bytes) -> None:
        """See `Hands`."""
        self._later(SIGNING + self.cost, partial(self._sign, task, message))

    def verify(self, action: Verify) -> None:
        """See `Hands`."""
        self.inbox.verify(action)

    def ask(self, action: Ask) -> None:
        """See `Hands`."""
        self._outside.ask(action)

    def report(self, ticket: int, results: tuple[SubmitResult, ...]) -> None:
        """See `Hands`."""
        self.results[ticket] = results

    def let_go(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """See `Hands`."""
        self._outside.let_go(peer_id, reason, detail)

    def publish(self, event: BlockCommitted) -> None:
        """See `Hands`."""
        self._outside.publish(event)

    def _later(self, delay: int, happen: Callable[[], None]) -> None:
        self._agenda.after(delay, partial(self._due, happen))

    def _due(self, happen: Callable[[], None]) -> None:
        if self.alive:
            happen()

    def _sign(self, task: SignVote | SignProposal, message: bytes) -> None:
        """Sign when the core comes to it: a machine that is paused signs later."""
        self.inbox.post(lambda now: self._node.signed(task, self._signer.sign(message), now))

    # ---- what comes in

    def submit(self, raws: Sequence[bytes]) -> int:
        """Take transactions from somebody on this machine; return the ticket under which `results` has the outcome."""
        ticket = next(self._tickets)
        self.inbox.submitted(raws, ticket)
        return ticket

    def request(
        self, peer_id: PeerId, payload: bytes, reply: Callable[[bytes], None], end: Callable[[Refused | None], None]
    ) -> None:
        """Answer a peer's request, with every frame of the answer and its end."""
        self.inbox.post(partial(self._answer, peer_id, payload, reply, end))

    def _answer(
        self, peer_id: PeerId, payload: bytes, reply: Callable[[bytes], None], end: Callable[[Refused | None], None],
        now: int,
    ) -> list[Action]:
        try:
            for frame in self._node.answers(payload, "simulated", 1):
                reply(frame)
        except Refused as refused:
            if refused.reason is Reason.CORRUPT_DATABASE:
                raise
            end(refused)
            return self._node.misbehaved(peer_id, refused, now) if refused.reason.permanent else []
        end(None)
        return []
