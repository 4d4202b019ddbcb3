"""The network of a node: authenticated peers, dialled again when lost.

Of two connections with one peer one stays:
- a newer one dialled by the same side replaces the older, so that a restarted node is heard at once;
- of two dialled by different sides, the one that the smaller node id dialled stays;
- but a peer that has restarted since (another `instance`) is always let in: its older connection is dead.
"""

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from consensus.types import Evidence
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme
from p2p.address import peer_id_of
from p2p.bans import Bans
from p2p.config import MAX_DATAGRAM, MIN_DATAGRAM, Limits, NetworkConfig
from p2p.exchange import NoMeeting
from p2p.metrics import Counters, NetworkMetrics
from p2p.network import Channel, GossipCounts, Lanes, Meeting, NetworkEvent, NoLanes, PeerAddress, PeerId, PeerInfo
from p2p.peer import Peer
from p2p.prefix import LOOPBACK, prefix_of
from p2p.stalls import LOOK, Stalls
from p2p.stoq.auth import (
    LocalIdentity,
    RemoteIdentity,
    introduce,
    prove_dialer,
    prove_listener,
    receive_introduction,
)
from p2p.stoq.channel import framed
from p2p.stoq.connection import Connection
from p2p.stoq.control import INSTANCE_SIZE
from p2p.stoq.cores import CoreSettings
from p2p.stoq.endpoint import Endpoint, bind, resolve
from p2p.stoq.tls import make_certificate
from state.types import ChainId

EVENT_SLOTS = 32
"""Events that wait in each of the two streams; what comes after waits in the connections, bounded by credit."""
SECOND_DIAL_DELAY = 0.25
"""Seconds that the larger node id waits before its first dial: so two nodes that start together dial once."""
STABLE = 5.0
"""Seconds after which a lost connection counts as a success and the wait before the next dial starts small."""


def wall_clock() -> int:
    """Return ms since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Company:
    """What a network knows of peers beyond the live ones.

    Attributes:
        meeting: answers what peers ask about others.
        bans: who is shut out.
        clock: ms since 1970, for the bans.
        lanes: uses the GOSSIP channels.
    """

    meeting: Meeting
    bans: Bans
    clock: Callable[[], int] = wall_clock
    lanes: Lanes = field(default_factory=NoLanes)


class Mesh:
    """The `Network` over STOQ. Made by `open_network`."""

    def __init__(
        self, config: NetworkConfig, identity: LocalIdentity, endpoint: Endpoint, counters: Counters,
        nursery: trio.Nursery, company: Company,
    ) -> None:
        self.peer_id = peer_id_of(identity.key.public_key)
        self.port = endpoint.port
        self.external_address = ""
        """`[ADDR]:PORT` where others are told to dial us, if that is known; peering sets it."""
        self._config = config
        self._identity = identity
        self._endpoint = endpoint
        self._counters = counters
        self._nursery = nursery
        self._company = company
        self._live: dict[PeerId, Peer] = {}
        self._leaving: dict[PeerId, trio.Event] = {}
        self._kept: dict[PeerId, trio.CancelScope] = {}
        self._failures: dict[PeerId, Refused] = {}
        self._moved: dict[PeerId, PeerAddress] = {}
        """Where persistent peers were found that had not been where they were said to be."""
        self._dialling: set[PeerId] = set()
        self._changed = trio.Event()
        consensus_in, self.consensus_events = trio.open_memory_channel[NetworkEvent](EVENT_SLOTS)
        bulk_in, self.bulk_events = trio.open_memory_channel[NetworkEvent](EVENT_SLOTS)
        self._consensus, self._bulk = consensus_in, bulk_in

    # ---- Network

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> bool:
        """See `Network`. Raises Refused(TOO_LARGE) for a payload that no frame holds."""
        return self._send(peer_id, channel, framed(payload))

    def broadcast(
        self, channel: Channel, payload: bytes, *, heard: bool = False, without: Collection[PeerId] = ()
    ) -> int:
        """See `Network`; here nobody gossips. Raises Refused(TOO_LARGE) for a payload that no frame holds."""
        frame = framed(payload)
        return sum(self._send(peer_id, channel, frame) for peer_id in self._live if peer_id not in without)

    def accuse(self, evidence: Evidence, consensus_key: bytes) -> None:
        """See `Network`."""

    def request(self, peer_id: PeerId, payload: bytes, timeout: float) -> AsyncIterator[bytes]:
        """See `Network`. CONNECTION_LOST for an unknown peer comes at once, all else from the iterator."""
        peer = self._live.get(peer_id)
        if peer is None:
            raise Refused(Reason.CONNECTION_LOST, f"no connection with {peer_id.hex()[:16]}")
        self._counters.requests_sent += 1
        return peer.requests.ask(payload, timeout)

    def peers(self) -> tuple[PeerInfo, ...]:
        """See `Network`."""
        return tuple(peer.info for peer in self._live.values())

    def disconnect(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """See `Network`. For a permanent reason the peer is not let in again for `Limits.penalty` seconds."""
        peer = self._live.get(peer_id)
        if peer is not None:
            peer.connection.fail(reason, detail)

    # ---- beyond Network

    @property
    def metrics(self) -> NetworkMetrics:
        """Everything counted so far."""
        inbound = sum(peer.connection.inbound for peer in self._live.values())
        return self._counters.snapshot(inbound, len(self._live) - inbound)

    @property
    def gossip(self) -> GossipCounts:
        """What went through gossip so far."""
        return self._company.lanes.counts()

    @property
    def dial_failures(self) -> dict[PeerId, Refused]:
        """Why the last dial of each persistent peer failed; who is connected is not in it, whoever dialled."""
        return {peer_id: why for peer_id, why in self._failures.items() if peer_id not in self._live}

    @property
    def kept(self) -> frozenset[PeerId]:
        """The persistent peers."""
        return frozenset(self._kept)

    def dial(self, address: PeerAddress) -> None:
        """Keep a connection with this peer from now on, as with the persistent ones."""
        if address.peer_id not in self._kept and address.peer_id != self.peer_id:
            self._kept[address.peer_id] = trio.CancelScope()
            self._nursery.start_soon(self._keep, address, self._kept[address.peer_id])

    def ban(self, peer_id: PeerId, until: int) -> None:
        """Shut a peer out until a time (ms since 1970), and end its connection; a time in the past lets it in again."""
        now = self._company.clock()
        self._company.bans.ban(peer_id, until, now)
        if until > now:
            scope = self._kept.pop(peer_id, None)
            if scope is not None:
                scope.cancel()
            self._failures.pop(peer_id, None)
            self._moved.pop(peer_id, None)
            self.disconnect(peer_id, Reason.PEER_REFUSED, "the operator shut this node out")

    def is_banned(self, peer_id: PeerId) -> bool:
        """Return whether a peer is shut out."""
        return self._company.bans.is_banned(peer_id, self._company.clock())

    async def connect(self, address: PeerAddress) -> PeerInfo:
        """Dial a peer once and return the connection, or the one that there is already.

        Raises:
            Refused: whatever stopped it.
        """
        peer = self._live.get(address.peer_id)
        if peer is None:
            if address.peer_id in self._dialling:
                raise Refused(Reason.REPLACED, "the peer is being dialled already")
            self._dialling.add(address.peer_id)
            try:
                await self._dial(address)
            finally:
                self._dialling.discard(address.peer_id)
            peer = self._live.get(address.peer_id)
        if peer is None:
            raise Refused(Reason.REPLACED, "another connection took its place")
        return peer.info

    async def seek(self, addresses: Iterable[PeerAddress]) -> bool:
        """Dial a persistent peer where else it may be; where it answers it is dialled from now on, too.

        Args:
            addresses: of one peer.
        """
        for address in addresses:
            with suppress(Refused):
                peer = await self.connect(address)
                if address.peer_id in self._kept and not peer.inbound:
                    self._moved[address.peer_id] = address
                return True
        return False

    async def meet(self, peer_id: PeerId, question: bytes, timeout: float) -> bytes:
        """Ask a peer's network, not its node; return the one frame of its answer.

        Raises:
            Refused: the peer's reason, TIMED_OUT, CONNECTION_LOST.
        """
        peer = self._live.get(peer_id)
        if peer is None:
            raise Refused(Reason.CONNECTION_LOST, f"no connection with {peer_id.hex()[:16]}")
        async with aclosing(peer.requests.ask(question, timeout, meet=True)) as answer:
            async for frame in answer:
                return frame
        raise Refused(Reason.MALFORMED, "an empty answer")

    async def wait_change(self) -> None:
        """Wait until a peer comes or goes."""
        await self._changed.wait()

    async def watch_stalls(self) -> None:
        """End connections whose peers begin frames and do not end them, until cancelled."""
        stalls = Stalls()
        while True:
            await trio.sleep(LOOK)
            found = {peer_id: peer.connection.unfinished() for peer_id, peer in self._live.items()}
            for peer_id in stalls.look(trio.current_time(), found, self._kept):
                self._live[peer_id].connection.fail(Reason.TIMED_OUT, "frames are begun and not ended")

    # ---- connections

    async def accept(self, connection: Connection) -> None:
        """Authenticate an inbound connection. Task of the endpoint."""

        async def handshake() -> RemoteIdentity:
            remote = await receive_introduction(connection, self._identity)
            self._admit(remote, connection)
            await prove_listener(connection, self._identity, remote)
            return remote

        try:
            remote = await self._within_time(connection, handshake)
        except Refused:
            return
        self._join(connection, remote)

    async def _dial(self, address: PeerAddress) -> None:
        if sum(not peer.connection.inbound for peer in self._live.values()) >= self._config.limits.outbound:
            raise Refused(Reason.TOO_MANY_CONNECTIONS, "the limit of outbound connections is reached")
        connection = self._endpoint.connect(resolve(address.host, address.port))

        async def handshake() -> RemoteIdentity:
            remote = await introduce(connection, self._identity, address.peer_id)
            self._admit(remote, connection)
            await prove_dialer(connection, self._identity, remote)
            return remote

        self._join(connection, await self._within_time(connection, handshake))

    async def _within_time(
        self, connection: Connection, handshake: Callable[[], Awaitable[RemoteIdentity]]
    ) -> RemoteIdentity:
        """Run a handshake; whatever stops it closes the connection and is counted once."""
        try:
            with trio.move_on_after(self._config.timing.handshake):
                with trio.move_on_after(self._config.timing.silence):
                    await connection.handshaken.wait()
                if not connection.bytes_received:
                    raise Refused(Reason.UNREACHABLE, "no answer in time")
                await connection.handshaken.wait()
                if connection.gone.is_set():
                    reason, detail = connection.ended
                    silent = reason is Reason.CONNECTION_LOST and not connection.core.group
                    raise Refused(Reason.UNREACHABLE if silent else reason, detail)
                return await handshake()
            reached = connection.handshaken.is_set()
            raise Refused(Reason.TIMED_OUT if reached else Reason.UNREACHABLE, "no answer in time")
        except Refused as refusal:
            connection.fail(refusal.reason, refusal.detail)
            self._counters.refusals[refusal.reason] += 1
            raise

    def _admit(self, remote: RemoteIdentity, connection: Connection) -> None:
        """Turn away before a signature is checked or made."""
        allowed = self._config.allowed
        if allowed is not None and remote.peer_id not in allowed:
            raise Refused(Reason.PEER_REFUSED, "the node id is not on the list of allowed peers")
        if self.is_banned(remote.peer_id):
            raise Refused(Reason.PEER_REFUSED, "the node broke a rule, or is shut out by the operator")
        older = self._live.get(remote.peer_id)
        if older is not None and not self._replaces(connection, remote, older):
            raise Refused(Reason.REPLACED, "an older connection stays")
        if connection.inbound and older is None and remote.peer_id not in self._kept:
            _check_room(self._live.values(), connection, self._config.limits)

    def _join(self, connection: Connection, remote: RemoteIdentity) -> None:
        """Make an authenticated connection the one with this peer, unless another one stays."""
        if self.is_banned(remote.peer_id):  # since it was let in to prove who it is
            connection.fail(Reason.PEER_REFUSED, "the node is shut out")
            self._counters.refusals[Reason.PEER_REFUSED] += 1
            return
        older = self._live.get(remote.peer_id)
        if older is not None:
            if not self._replaces(connection, remote, older):
                connection.fail(Reason.REPLACED, "an older connection stays")
                self._counters.refusals[Reason.REPLACED] += 1
                return
            older.connection.fail(Reason.REPLACED, "a newer connection takes over")
        if connection.gone.is_set():
            self._counters.refusals[connection.ended[0]] += 1
            return
        self._counters.handshakes += 1
        peer = Peer(
            connection, remote, self._config.limits, self._counters, self._consensus, self._bulk, self._company.meeting,
            self._company.lanes,
        )
        before = self._leaving.get(remote.peer_id)
        self._live[remote.peer_id] = peer
        self._leaving[remote.peer_id] = peer.done
        self._announce_change()
        self._nursery.start_soon(self._serve, peer, before)

    def _replaces(self, connection: Connection, remote: RemoteIdentity, older: Peer) -> bool:
        if older.connection.gone.is_set():
            return True
        if remote.instance != older.remote.instance or connection.inbound == older.connection.inbound:
            return True
        dialled_by_us = not connection.inbound
        return dialled_by_us == (self.peer_id < remote.peer_id)

    async def _serve(self, peer: Peer, before: trio.Event | None) -> None:
        if before is not None:
            await before.wait()
        try:
            await peer.serve()
            self._leave(peer)
            await peer.farewell()
        finally:
            peer.done.set()
            if self._leaving.get(peer.peer_id) is peer.done:
                del self._leaving[peer.peer_id]

    def _leave(self, peer: Peer) -> None:
        reason, _ = peer.connection.ended
        self._counters.refusals[reason] += 1
        if reason.permanent and peer.connection.ended_here:
            self._punish(peer.peer_id)
        if self._live.get(peer.peer_id) is peer:
            del self._live[peer.peer_id]
        self._announce_change()

    def _punish(self, peer_id: PeerId) -> None:
        """Shut a peer out for a while; one that the operator wants never for longer than the first time."""
        now = self._company.clock()
        if peer_id in self._kept:
            self._company.bans.ban(peer_id, now + round(self._config.limits.penalty * 1000), now)
        else:
            self._company.bans.offence(peer_id, now)

    async def _keep(self, address: PeerAddress, scope: trio.CancelScope) -> None:
        """Dial a persistent peer whenever there is no connection with it."""
        with scope:
            if self.peer_id > address.peer_id:
                await trio.sleep(SECOND_DIAL_DELAY)
            timing = self._config.timing
            wait = timing.redial_least
            while True:
                if address.peer_id in self._live:
                    since = trio.current_time()
                    while address.peer_id in self._live:
                        await self._changed.wait()
                    if trio.current_time() - since >= STABLE:
                        wait = timing.redial_least
                    await trio.sleep(random.uniform(0.5, 1.0) * wait)
                    continue
                for place in dict.fromkeys((self._moved.get(address.peer_id, address), address)):
                    try:
                        await self._dial(place)
                        self._failures.pop(address.peer_id, None)
                        break
                    except Refused as refusal:
                        self._failures[address.peer_id] = refusal
                if address.peer_id in self._live:
                    continue
                await trio.sleep(random.uniform(0.5, 1.0) * wait)
                wait = min(2 * wait, timing.redial_most)

    def _send(self, peer_id: PeerId, channel: Channel, frame: bytes) -> bool:
        peer = self._live.get(peer_id)
        if peer is None or not peer.connection.offer(channel, frame):
            self._counters.dropped_frames[channel] += 1
            return False
        self._counters.frames_sent[channel] += 1
        return True

    def _announce_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _check_room(live: Iterable[Peer], connection: Connection, limits: Limits) -> None:
    inbound = Counter(prefix_of(peer.connection.address[0]) for peer in live if peer.connection.inbound)
    prefix = prefix_of(connection.address[0])
    exempt = limits.loopback_exempt and prefix == LOOPBACK
    if inbound.total() >= limits.inbound or (not exempt and inbound[prefix] >= limits.per_prefix):
        raise Refused(Reason.TOO_MANY_CONNECTIONS, "no room for another inbound connection")


@asynccontextmanager
async def open_network(
    config: NetworkConfig, identity: SecretKey, chain_id: ChainId, company: Company | None = None
) -> AsyncIterator[Mesh]:
    """Listen, dial the persistent peers, and keep both up while the context lasts.

    Args:
        config: where to listen, whom to dial, how much to allow.
        identity: the node key, of scheme FALCON.
        chain_id: the genesis hash; peers of another chain are refused with WRONG_GENESIS.
        company: what is known of others; by default nothing, and nobody is told anything.

    Raises:
        Refused: PORT_IN_USE if the port is taken; BAD_CONFIG if a setting cannot be used; BAD_KEY for another scheme.
    """
    if identity.scheme is not Scheme.FALCON:
        raise Refused(Reason.BAD_KEY, "a node key is of scheme Falcon-1024")
    if not MIN_DATAGRAM <= config.datagram_size <= MAX_DATAGRAM:
        raise Refused(Reason.BAD_CONFIG, f"datagram_size is {MIN_DATAGRAM} to {MAX_DATAGRAM}")
    certificate, private_key = make_certificate()
    settings = CoreSettings(config.core, certificate, private_key, config.datagram_size, config.timing.idle)
    counters = Counters()
    endpoint = Endpoint(bind(config.host, config.port), settings, config.limits, config.timing, counters)
    local = LocalIdentity(identity, chain_id, os.urandom(INSTANCE_SIZE), endpoint.port)
    async with trio.open_nursery() as nursery:
        alone = Company(NoMeeting(), Bans(config.limits.penalty))
        mesh = Mesh(config, local, endpoint, counters, nursery, company or alone)
        nursery.start_soon(endpoint.run, mesh.accept)
        nursery.start_soon(mesh.watch_stalls)
        for address in config.persistent:
            mesh.dial(address)
        try:
            yield mesh
        finally:
            nursery.cancel_scope.cancel()
