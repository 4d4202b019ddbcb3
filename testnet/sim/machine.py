"""A computer of the network: a disk, a clock that may be wrong, and one node process after the other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from consensus.effects import Signer, Verifier
from crypto.errors import Reason, Refused
from node.actions import Ask
from node.chain import Chain, open_chain
from node.compose import CoreSettings, Files, compose
from node.driver import ANSWER_TIMEOUT
from node.events import BlockCommitted
from node.logic import Wrap, unwrapped
from p2p.network import Channel, PeerId
from state.chainstore import ChainOptions
from state.genesis import Genesis
from state.ledger import nonce
from state.types import Address
from testnet.sim.agenda import MS, SECOND, Agenda
from testnet.sim.disk import Disk, PowerLoss
from testnet.sim.network import Network
from testnet.sim.process import Process

SIGN_STATE: Final = "sign-state"
TIMED_OUT: Final = int(ANSWER_TIMEOUT * SECOND)
@dataclass(frozen=True, slots=True)
class Seat:
    """Who a machine is: its place, its name in the network, and its consensus key (a follower's is empty)."""

    index: int
    signer: Signer
    verifier: Verifier
    wrap: Wrap = unwrapped

    @property
    def name(self) -> PeerId:
        """The node id."""
        return peer_name(self.index)


def peer_name(index: int) -> PeerId:
    """Return the node id of a machine."""
    return PeerId(index.to_bytes(32, "big"))


def index_of(peer_id: PeerId) -> int:
    """Return the machine that a node id names."""
    return int.from_bytes(peer_id, "big")


@dataclass(frozen=True, slots=True)
class Rules:
    """What all machines start their nodes with."""

    genesis: Genesis
    options: ChainOptions
    settings: CoreSettings


class Wiped(BaseException):
    """The machine's data folder was deleted; its keys, and the sign state beside them, are kept."""


class Watcher(Protocol):
    """Is told what a machine does."""

    def booted(self, machine: "Machine") -> None:
        """A node has opened its chain, and not begun yet."""
        ...

    def sent(self, machine: "Machine", channel: Channel, payload: bytes) -> None:
        """A frame leaves."""
        ...

    def committed(self, machine: "Machine", event: BlockCommitted) -> None:
        """A node says that a block is committed."""
        ...

    def accused(self, machine: "Machine", other: int, reason: Reason, detail: str) -> None:
        """A node lets a peer go for something that no honest peer does."""
        ...

    def stopped(self, machine: "Machine", error: BaseException) -> None:
        """A process ended by itself: what came out of it."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What machines share."""

    agenda: Agenda
    network: Network
    watcher: Watcher
    machines: list["Machine"] = field(default_factory=list)


class Machine:
    """One computer.

    Args:
        seat: who it is.
        rules: what its node starts with.
        disk: survives everything.
        surroundings: clock, network, and who watches.

    Attributes:
        seat: who it is.
        disk: its disk.
        skew: how far its clock is ahead, in ms.
        cost: microseconds that each event keeps its node busy.
        starts: how often a node was started on it.
    """

    def __init__(self, seat: Seat, rules: Rules, disk: Disk, surroundings: Surroundings) -> None:
        self.seat = seat
        self.disk = disk
        self.skew = 0
        self.cost = 0
        self.starts = 0
        self._rules = rules
        self._around = surroundings
        self._running: list[Process] = []
        self._peers: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"node{self.seat.index}"

    @property
    def alive(self) -> bool:
        """A node process runs."""
        return bool(self._running)

    @property
    def process(self) -> Process:
        """The node process. Only while `alive`."""
        return self._running[0]

    @property
    def chain(self) -> Chain:
        """The running node's chain."""
        return self._running[0].chain

    def next_nonce(self, account: Address) -> int:
        """Return the nonce of an account's next call, as the running node sees it."""
        process = self._running[0]
        return process.mempool.pending_nonce(account, nonce(process.chain.store, account))

    # ---- life

    def boot(self) -> None:
        """Start the node, as `nexus start` does."""
        self.starts += 1
        self.disk.started()
        try:
            self._boot()
        except (Exception, PowerLoss) as error:
            self.ended(error)

    def _boot(self) -> None:
        rules, seat = self._rules, self.seat
        chain = open_chain(self.disk.store, rules.genesis, rules.options)
        core = compose(chain, self._files(), seat.verifier, seat.signer.public_key or None, rules.settings)
        process = Process(
            seat.wrap(core, seat.signer, chain), core, (seat.signer, seat.verifier), self._around.agenda, self
        )
        process.cost = self.cost
        self._running.append(process)
        self._around.watcher.booted(self)
        process.post(process.node.start)

    def _files(self) -> Files:
        disk = self.disk
        return Files(
            disk.file("consensus.log"), disk.document(SIGN_STATE, Reason.BAD_SIGN_STATE),
            disk.document("evidence", Reason.CORRUPT_LOG), (disk.file("votes-a"), disk.file("votes-b")),
        )

    def kill(self) -> None:
        """End the process; the operating system goes on and keeps what was written."""
        for process in self._running:
            process.end()
        self._running.clear()
        self._peers.clear()

    def lose_power(self) -> None:
        """End everything: what was not synced is lost or torn."""
        self.kill()
        self.disk.lose_power()

    def fail_power(self) -> None:
        """Lose power now, and tell so if a node ran."""
        if self.alive:
            self.ended(PowerLoss())
        else:
            self.lose_power()

    def wipe(self) -> None:
        """Delete the data folder, as an operator may who wants to begin anew."""
        self.kill()
        self.disk.wipe(kept=SIGN_STATE)
        self._around.watcher.stopped(self, Wiped())

    def ended(self, error: BaseException) -> None:
        """Take note that the process ended because of an error."""
        if isinstance(error, PowerLoss):
            self.lose_power()
        else:
            self.kill()
        self._around.watcher.stopped(self, error)

    def slow_down(self, cost: int) -> None:
        """Let each event take that many microseconds, now and in later lives."""
        self.cost = cost
        for process in self._running:
            process.cost = cost

    # ---- the network's side

    def connected(self, other: int, connection: int) -> None:
        """A connection is there."""
        self._peers[other] = connection
        name = peer_name(other)
        for process in self._running:
            process.post(partial(process.node.peer_connected, name))

    def disconnected(self, other: int) -> None:
        """The connection with a machine is gone."""
        del self._peers[other]
        name = peer_name(other)
        for process in self._running:
            process.post(partial(process.node.peer_disconnected, name))

    def connection_with(self, other: int) -> int:
        """Return the number of the connection with a machine; 0 for none."""
        return self._peers.get(other, 0)

    # ---- the process's side

    def now_ms(self) -> int:
        """Return this machine's clock."""
        return self._rules.genesis.time + self._around.agenda.now // MS + self.skew

    def publish(self, event: BlockCommitted) -> None:
        """Pass on that a block is committed."""
        self._around.watcher.committed(self, event)

    def let_go(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """End the connection with a peer."""
        other = index_of(peer_id)
        self._around.watcher.accused(self, other, reason, detail)
        self._around.network.let_go(self.seat.index, other)

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """Send a frame to a peer."""
        self._around.watcher.sent(self, channel, payload)
        self._send(index_of(peer_id), channel, payload)

    def broadcast(self, channel: Channel, payload: bytes) -> None:
        """Send a frame to every peer."""
        self._around.watcher.sent(self, channel, payload)
        for other in tuple(self._peers):
            self._send(other, channel, payload)

    def _send(self, other: int, channel: Channel, payload: bytes) -> None:
        connection = self._peers.get(other)
        if connection is not None:
            receiver = self._around.machines[other]
            self._around.network.send(
                self.seat.index, other, partial(receiver.arrived, self.seat.index, connection, channel, payload)
            )

    def arrived(self, sender: int, connection: int, channel: Channel, payload: bytes) -> None:
        """Take a frame, if the connection on which it was sent is still there."""
        if self._peers.get(sender) == connection and self._running:
            self._running[0].frame(peer_name(sender), channel, payload)

    # ---- requests

    def ask(self, action: Ask) -> None:
        """Carry a request to a peer, and its answer back."""
        other = index_of(action.peer_id)
        connection = self._peers.get(other)
        if connection is None:
            self._over(self.process, action, Refused(Reason.CONNECTION_LOST, "the peer is gone"))
            return
        exchange = Exchange(self, self._around, action, connection)
        if not self._around.network.stream(self.seat.index, other, exchange.reach):
            exchange.fail()

    def _over(self, process: Process, action: Ask, refused: Refused | None) -> None:
        if process.alive:
            process.post(lambda now: process.node.answer_over(action.ticket, action.peer_id, refused, now))


class Exchange:
    """One request and its answer. A part that is lost ends it, after the time that the driver waits for a frame."""

    def __init__(self, asker: Machine, surroundings: Surroundings, action: Ask, connection: int) -> None:
        self._asker = asker
        self._process = asker.process
        self._around = surroundings
        self._action = action
        self._connection = connection
        self._other = index_of(action.peer_id)
        self._over = False

    def reach(self) -> None:
        """The request arrives."""
        machine = self._around.machines[self._other]
        connected = machine.connection_with(self._asker.seat.index) == self._connection
        if connected and machine.alive and not machine.process.paused:
            machine.process.request(self._asker.seat.name, self._action.payload, self._reply, self._finish)
        else:
            self.fail()

    def fail(self) -> None:
        """Nothing more comes."""
        if not self._over:
            self._over = True
            refused = Refused(Reason.TIMED_OUT, "no answer in time")
            self._around.agenda.after(TIMED_OUT, partial(self._end, refused))

    def _reply(self, frame: bytes) -> None:
        if not self._over and not self._stream(partial(self._frame, frame)):
            self.fail()

    def _finish(self, refused: Refused | None) -> None:
        if not self._over and not self._stream(partial(self._end, refused)):
            self.fail()

    def _stream(self, deliver: Callable[[], None]) -> bool:
        return self._around.network.stream(self._other, self._asker.seat.index, deliver)

    def _frame(self, frame: bytes) -> None:
        process, action = self._process, self._action
        if process.alive:
            process.post(lambda now: process.node.answer_frame(action.ticket, action.peer_id, frame, now))

    def _end(self, refused: Refused | None) -> None:
        process, action = self._process, self._action
        if process.alive:
            process.post(lambda now: process.node.answer_over(action.ticket, action.peer_id, refused, now))
