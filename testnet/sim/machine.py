"""A computer of the network: a disk, a clock that may be wrong, and one node process after the other."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from consensus.effects import Signer, Verifier
from crypto.errors import Reason, Refused
from node.actions import Ask
from node.chain import Chain, open_chain
from node.compose import CoreSettings, Files, compose
from node.events import BlockCommitted
from node.logic import Wrap, unwrapped
from node.rollback import log_after
from p2p.network import Channel, PeerId
from state.chainstore import ChainOptions
from state.genesis import Genesis
from state.ledger import nonce
from state.types import Address, Height
from testnet.sim.agenda import MS, Agenda
from testnet.sim.disk import Disk, PowerLoss
from testnet.sim.exchange import Exchange
from testnet.sim.naming import index_of, peer_name
from testnet.sim.network import Network
from testnet.sim.process import Process

SIGN_STATE: Final = "sign-state"
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


@dataclass(frozen=True, slots=True)
class Rules:
    """What all machines start their nodes with."""

    genesis: Genesis
    options: ChainOptions
    settings: CoreSettings


class Wiped(BaseException):
    """The machine's data folder was deleted; its keys, and the sign state beside them, are kept."""


class RolledBack(BaseException):
    """The last blocks were undone, from height `before` down to `height`."""

    def __init__(self, before: int, height: int) -> None:
        super().__init__()
        self.before = before
        self.height = height


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

    def side(self, index: int) -> "Machine":
        """Return a machine."""
        return self.machines[index]


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
        self._exchanges: list[Exchange] = []

    def __repr__(self) -> str:
        return f"node{self.seat.index}"

    @property
    def index(self) -> int:
        """Its place."""
        return self.seat.index

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
        process.begin()

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
        self._exchanges.clear()

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

    def roll_back(self, blocks: int, *, discard: bool) -> None:
        """Stop the node and undo its last blocks, as `nexus rollback` does."""
        self.kill()
        self.disk.started()
        chain = open_chain(self.disk.store, self._rules.genesis, self._rules.options)
        before, log = chain.height, self._files().log
        goal = Height(max(before - blocks, 0))
        content = log_after(log.read(), chain, goal, discard=discard)
        log.cut(0)
        log.append(content)
        log.sync()
        while chain.store.height > goal:
            chain.store.undo_block()
        self._around.watcher.stopped(self, RolledBack(before, goal))

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
            process.inbox.connected(name)

    def disconnected(self, other: int) -> None:
        """The connection with a machine is gone."""
        del self._peers[other]
        for exchange in [one for one in self._exchanges if one.other == other]:
            exchange.end(Refused(Reason.CONNECTION_LOST, "the peer is gone"))
        name = peer_name(other)
        for process in self._running:
            process.inbox.disconnected(name)

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
            self._running[0].inbox.frame(peer_name(sender), channel, payload)

    # ---- requests

    def ask(self, action: Ask) -> None:
        """Carry a request to a peer, and its answer back."""
        exchange = Exchange(self, self._around, action, self._peers.get(index_of(action.peer_id), 0))
        self._exchanges.append(exchange)
        exchange.begin()

    def said(self, payload: bytes) -> None:
        """A part of a request or an answer leaves."""
        self._around.watcher.sent(self, Channel.SYNC, payload)

    def forget(self, exchange: "Exchange") -> None:
        """An exchange is over."""
        self._exchanges.remove(exchange)
