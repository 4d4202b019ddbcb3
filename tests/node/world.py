"""Cores without trio: a clock that jumps, a network that delivers, disks that forget what was not synced.

Votes are signed with a keyed hash, so that hundreds of rounds cost little; transactions carry real signatures.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from consensus.signing import SchemeVerifier
from consensus.types import Proposal, Vote
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
    Verify,
)
from node.chain import open_chain
from node.compose import CoreSettings, Files, compose
from node.core import Core
from node.logic import NodeLogic, Wrap, unwrapped
from node.mempool import Limits
from node.signatures import verdicts
from node.wallet import ChainPoint
from p2p.network import Channel, PeerId
from p2p.wire import ProposalMessage, VoteMessage, batch_codec, consensus_message_codec
from state.genesis import Genesis
from state.memory import MemoryStore
from state.types import Height
from state.version import SUPPORTED_VERSIONS

LATENCY = 2
SETTINGS = CoreSettings(Limits(), relay_delay=5)


class FakeVerifier(SchemeVerifier):
    """Knows keyed hashes beside real signatures."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if signature.startswith(b"fake"):
            return signature[:36] == fake_signature(public_key, message)
        return super().verify(public_key, message, signature)


def fake_signature(public_key: bytes, message: bytes) -> bytes:
    return b"fake" + hashlib.sha256(public_key + message).digest()


class FakeSigner:
    """Signs with a keyed hash; like Falcon, the same message signed twice gives other bytes."""

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key
        self._made = count(2**31)

    def sign(self, message: bytes) -> bytes:
        return fake_signature(self.public_key, message) + next(self._made).to_bytes(4, "big")


@dataclass
class MemoryLog:
    """A log file that a crash cuts back to what was synced."""

    content: bytes = b""
    synced: bytes = b""

    def read(self) -> bytes:
        return self.content

    def append(self, record: bytes) -> None:
        self.content += record

    def sync(self) -> None:
        self.synced = self.content

    def cut(self, length: int) -> None:
        self.content = self.content[:length]
        self.synced = self.synced[:length]

    def crash(self, torn: int = 0) -> None:
        """Keep what was synced, and `torn` bytes of what was not."""
        self.content = self.synced + self.content[len(self.synced) :][:torn]
        self.synced = self.content


@dataclass
class MemoryDocument:
    """A last-sign state that is replaced as a whole."""

    content: bytes = b""

    def read(self) -> bytes:
        return self.content

    def replace(self, content: bytes) -> None:
        self.content = content


@dataclass
class Machine:
    """One node: its disk survives, its core does not. `life` tells answers to a dead core from those to the living."""

    name: PeerId
    key: bytes | None
    store: MemoryStore = field(default_factory=MemoryStore)
    log: MemoryLog = field(default_factory=MemoryLog)
    last_sign: MemoryDocument = field(default_factory=MemoryDocument)
    evidence: MemoryDocument = field(default_factory=MemoryDocument)
    archive: tuple[MemoryLog, MemoryLog] = field(default_factory=lambda: (MemoryLog(), MemoryLog()))
    life: int = 0
    versions: tuple[int, ...] = SUPPORTED_VERSIONS
    alive: list[Core] = field(default_factory=list)

    settings: CoreSettings = SETTINGS
    wrap: Wrap = unwrapped
    lives: list[NodeLogic] = field(default_factory=list)
    """What stands around the core that is alive."""

    @property
    def core(self) -> Core:
        return self.alive[0]

    @property
    def logic(self) -> NodeLogic:
        return self.lives[0]

    @property
    def files(self) -> Files:
        return Files(self.log, self.last_sign, self.evidence, self.archive)


class World:
    """Some machines on one genesis, fully connected.

    Attributes:
        sent: every vote and proposal that left a machine.
        drops: channels whose frames get lost.
        loses: whether a frame from one machine to another gets lost.
        latency: ms that a frame takes.
        linked: whether two machines are peers; by default all are.
        let_go: who ended its connection with whom, and why. From then on no frame passes between the two.
        on_action: called before each action; True makes its machine crash instead, actions behind it included.
    """

    def __init__(self, genesis: Genesis, keys: list[bytes | None]) -> None:
        self.genesis = genesis
        self.machines = [Machine(PeerId(bytes([number]) * 32), key) for number, key in enumerate(keys, 1)]
        self.now = genesis.time + 1000
        self.sent: list[tuple[PeerId, Vote | Proposal]] = []
        self.results: dict[int, tuple[SubmitResult, ...]] = {}
        self.halted: list[Refused] = []
        self.drops: set[Channel] = set()
        self.loses: Callable[[Machine, Machine, Channel, bytes], bool] = lambda *_: False
        self.latency: Callable[[], int] = lambda: LATENCY
        self.linked: Callable[[Machine, Machine], bool] = lambda *_: True
        self.let_go: list[tuple[PeerId, PeerId, Reason]] = []
        self.on_action: Callable[[Machine, Action], bool] = lambda _machine, _action: False
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._signatures = count()

    def start(self, machine: Machine) -> None:
        """Begin a life of a machine, and connect it with the living."""
        chain = open_chain(machine.store, self.genesis, versions=machine.versions)
        machine.alive = [compose(chain, machine.files, FakeVerifier(), machine.key, machine.settings)]
        machine.lives = [machine.wrap(machine.core, FakeSigner(machine.key or b""), chain)]
        self._do(machine, machine.logic.start(self.now))
        for other in self.machines:
            if other is not machine and other.alive and machine.alive and self.linked(machine, other):
                self._do(machine, machine.logic.peer_connected(other.name, self.now))
                self._do(other, other.logic.peer_connected(machine.name, self.now))

    def point(self) -> ChainPoint:
        """The tip of the first machine, as a wallet knows it."""
        tip = self.machines[0].core.chain.tip
        return ChainPoint(tip.chain_id, tip.block_id, Height(tip.height))

    def crash(self, machine: Machine, torn: int = 0) -> None:
        """End a life: what was not synced is gone, but for some torn bytes."""
        machine.alive = []
        machine.life += 1
        machine.log.crash(torn)
        for other in self.machines:
            if other.alive and self.linked(machine, other):
                self._do(other, other.logic.peer_disconnected(machine.name, self.now))

    def submit(self, machine: Machine, raws: list[bytes]) -> tuple[SubmitResult, ...]:
        ticket = next(self._order) + 1
        self._do(machine, machine.logic.transactions(raws, PeerId(b""), ticket, self.now))
        return self.results[ticket]

    def hear(self, machine: Machine, sender: Machine, frame: bytes) -> None:
        """Hand a CONSENSUS frame to a machine as if another had sent it."""
        self._do(machine, machine.logic.consensus_frame(sender.name, frame, self.now))

    def receive(self, machine: Machine, sender: Machine, raws: list[bytes]) -> None:
        """Hand transactions to a machine as if another had sent them."""
        self._do(machine, machine.logic.transactions(raws, sender.name, 0, self.now))

    def tell(self, machine: Machine, frame: bytes) -> None:
        """Hand a frame on CONSENSUS to a machine as if a stranger had sent it."""
        self._do(machine, machine.logic.consensus_frame(PeerId(b"stranger"), frame, self.now))

    def run(self, done: Callable[[], bool], limit: int = 60_000) -> None:
        """Let time pass until something holds; fails after `limit` ms."""
        deadline = self.now + limit
        while not done():
            at, _, event = heappop(self._agenda)
            assert at <= deadline, "it does not come about"
            self.now = max(self.now, at)
            event()

    def later(self, at: int) -> None:
        """Let something, which does nothing, happen at a moment: time does not pass without events."""
        heappush(self._agenda, (at, next(self._order), lambda: None))

    def _later(self, machine: Machine, delay: int, event: Callable[[NodeLogic], list[Action]]) -> None:
        life = machine.life

        def happen() -> None:
            if machine.life == life and machine.alive:
                self._do(machine, event(machine.logic))

        heappush(self._agenda, (self.now + delay, next(self._order), happen))

    def _do(self, machine: Machine, actions: list[Action]) -> None:
        for action in actions:
            if self.on_action(machine, action):
                self.crash(machine)
                return
            self._act(machine, action)

    def _act(self, machine: Machine, action: Action) -> None:
        match action:
            case Send(peer_id, channel, payload):
                self._deliver(machine, [other for other in self.machines if other.name == peer_id], channel, payload)
            case SendAll(channel, payload):
                peers = [other for other in self.machines if other is not machine and self.linked(machine, other)]
                self._deliver(machine, peers, channel, payload)
            case StartTimer(timer, delay):
                self._later(machine, delay, lambda core: core.timer_over(timer, self.now))
            case Sign(task, message):
                # like Falcon: the same message signed twice gives other bytes
                signature = fake_signature(machine.key or b"", message) + next(self._signatures).to_bytes(4, "big")
                self._later(machine, 12, lambda core: core.signed(task, signature, self.now))
            case Verify(ticket, checks):
                self._do(machine, machine.logic.verified(ticket, verdicts(FakeVerifier(), checks), self.now))
            case Ask():
                self._ask(machine, action)
            case Report(ticket, results):
                self.results[ticket] = results
            case Halt(refused):
                self.halted.append(refused)
            case Disconnect(peer_id, reason, _):
                self._disconnect(machine, peer_id, reason)
            case Publish() | Accuse():
                pass

    def _disconnect(self, machine: Machine, peer_id: PeerId, reason: Reason) -> None:
        self.let_go.append((machine.name, peer_id, reason))
        (other,) = [other for other in self.machines if other.name == peer_id]
        self._later(machine, 0, lambda logic: logic.peer_disconnected(other.name, self.now))
        self._later(other, 0, lambda logic: logic.peer_disconnected(machine.name, self.now))

    def _apart(self, one: Machine, other: Machine) -> bool:
        return any({one.name, other.name} == {who, whom} for who, whom, _ in self.let_go)

    def _deliver(self, sender: Machine, receivers: list[Machine], channel: Channel, payload: bytes) -> None:
        if channel is Channel.CONSENSUS:
            message = consensus_message_codec.decode(payload)
            if isinstance(message, VoteMessage):
                self.sent.append((sender.name, message.vote))
            elif isinstance(message, ProposalMessage):
                self.sent.append((sender.name, message.proposal))
        if channel in self.drops:
            return
        for receiver in receivers:
            if not self._apart(sender, receiver) and not self.loses(sender, receiver, channel, payload):
                self._later(receiver, self.latency(), lambda core: self._take(core, sender, channel, payload))

    def _take(self, core: NodeLogic, sender: Machine, channel: Channel, payload: bytes) -> list[Action]:
        if channel is Channel.CONSENSUS:
            return core.consensus_frame(sender.name, payload, self.now)
        return core.transactions(batch_codec.decode(payload).transactions, sender.name, 0, self.now)

    def _ask(self, machine: Machine, ask: Ask) -> None:
        (other,) = [other for other in self.machines if other.name == ask.peer_id]
        failure: Refused | None = None
        try:
            for frame in other.logic.answers(ask.payload, "m", 1):
                self._later(
                    machine, LATENCY,
                    lambda core, frame=frame: core.answer_frame(ask.ticket, ask.peer_id, frame, self.now),  # type: ignore[misc]
                )
        except Refused as refused:
            failure = refused
        self._later(machine, LATENCY, lambda core: core.answer_over(ask.ticket, ask.peer_id, failure, self.now))
