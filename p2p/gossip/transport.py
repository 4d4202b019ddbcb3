"""STOQ as libp2p's transport: whoever is connected and has shown its record is a peer of the swarm, and nobody else.

The mesh makes and keeps the connections; libp2p gets those that are there, and may ask for more by `dial`. A peer of
libp2p is named by an Ed25519 key. That name is believed only with a record, signed by it and by the Falcon key that
the connection was authenticated with: so libp2p's names are as good as ours, though Ed25519 alone is not.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from libp2p.abc import IListener, INotifee, ITransport
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.peer.id import ID
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from crypto.errors import Reason, Refused
from p2p.gossip.streams import Kind, StoqConnection, frame_of, split_frame
from p2p.network import GossipCounts, Link, PeerAddress, PeerId, PeerInfo
from p2p.records import SignedRecord, check_record, record_codec
from state.encoding import encode
from state.types import ChainId

DIAL_TIMEOUT: Final = 10.0
"""Seconds from a connection to the peer's record."""
GOODBYE: Final = 5.0
"""Seconds that the swarm may take to let go of an older connection with the same peer."""
Connect = Callable[[PeerAddress], Awaitable[PeerInfo]]
Find = Callable[[ID], PeerAddress | None]
SwarmHandler = Callable[[Any], Awaitable[None]]


def name_of(ed25519: bytes) -> ID:
    """Return libp2p's name of an Ed25519 key."""
    return ID.from_pubkey(Ed25519PublicKey.from_bytes(ed25519))


class StoqListener(IListener):
    """Where the swarm waits for inbound connections: STOQ's own socket."""

    def __init__(self) -> None:
        self._addresses: tuple[Multiaddr, ...] = ()

    async def listen(self, maddr: Multiaddr) -> None:
        """Remember the address: the mesh listens."""
        self._addresses = (maddr,)

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        """Return the address."""
        return self._addresses

    async def close(self) -> None:
        """Nothing: the mesh ends the connections."""
        self._addresses = ()


class StoqTransport(ITransport, INotifee):
    """`ITransport` for the swarm, and `p2p.network.Lanes` for the mesh.

    Args:
        own: our record.
        chain_id: records of another chain are refused.
        find: returns where a peer of libp2p is, from the address book.
        connect: `Mesh.connect`.
        clock: ms since 1970.
    """

    provides_native_muxing = True

    def __init__(
        self, own: SignedRecord, chain_id: ChainId, find: Find, connect: Connect, clock: Callable[[], int]
    ) -> None:
        self._own = own
        self.chain_id = chain_id
        self.clock = clock
        self._find = find
        self._connect = connect
        self._listeners: list[StoqListener] = []
        self._links_in, self._links = trio.open_memory_channel[Link](1024)
        self._registering_in, self._registering = trio.open_memory_channel[StoqConnection](1024)
        self._connections: dict[Link, StoqConnection] = {}
        self._latest: dict[ID, StoqConnection] = {}
        self._changed = trio.Event()
        self._handlers: list[SwarmHandler] = []

    def show(self, own: SignedRecord) -> None:
        """Introduce ourselves with another record from now on: one that is old is believed by nobody."""
        self._own = own

    async def listen_at(self, host: str, port: int) -> None:
        """Tell libp2p where the mesh listens, which identify passes on."""
        for listener in self._listeners:
            await listener.listen(Multiaddr(f"/ip6/{host.partition('%')[0]}/udp/{port}/quic-v1"))

    def node_of(self, name: ID) -> PeerId | None:
        """Return the node id of a peer of the swarm."""
        connection = self._latest.get(name)
        return None if connection is None else connection.link.peer_id

    # ---- Lanes

    def opened(self, link: Link) -> None:
        """See `Lanes`."""
        self._links_in.send_nowait(link)

    def frame(self, link: Link, payload: bytes) -> None:
        """See `Lanes`. Raises Refused: PROTOCOL_VIOLATION, WRONG_PEER, as `check_record`."""
        kind, stream_id, body = split_frame(payload)
        connection = self._connections.get(link)
        if kind is not Kind.RECORD:
            if connection is None:
                raise Refused(Reason.PROTOCOL_VIOLATION, "a stream before the record")
            connection.feed(kind, stream_id, body)
            return
        if connection is not None:
            raise Refused(Reason.PROTOCOL_VIOLATION, "a second record")
        signed = record_codec.decode(body)
        check_record(signed, self.chain_id, self.clock())
        if signed.record.peer_id != link.peer_id:
            raise Refused(Reason.WRONG_PEER, "the record is of another node")
        self._connections[link] = connection = StoqConnection(link, name_of(signed.record.ed25519))
        self._registering_in.send_nowait(connection)

    def counts(self) -> GossipCounts:
        """See `Lanes`: whoever runs the host counts."""
        return GossipCounts()

    # ---- for the swarm, through TransportManager

    def set_background_nursery(self, nursery: trio.Nursery) -> None:
        """Begin to introduce ourselves."""
        nursery.start_soon(self._introduce, nursery)

    def set_swarm(self, swarm: Any) -> None:
        """Begin to hand over connections.

        An exception that leaves a stream handler would end the whole host (SwarmConn.start, libp2p 0.8.1): three bytes
        of a peer are enough for one. So each becomes a reset of that stream.
        """
        swarm.register_notifee(self)
        swarm.set_stream_handler(_guarded(swarm.common_stream_handler))
        swarm.manager.run_task(self._register_all, swarm)

    def create_listener(self, handler_function: Any) -> StoqListener:
        """Return the listener; `handler_function` is called with every inbound connection."""
        self._handlers.append(handler_function)
        self._listeners.append(StoqListener())
        return self._listeners[-1]

    def can_dial(self, maddr: Multiaddr) -> bool:
        """Tell whether it is /ip6/.../udp/.../quic-v1."""
        return [protocol.name for protocol in maddr.protocols()][:3] == ["ip6", "udp", "quic-v1"]

    def can_listen(self, maddr: Multiaddr) -> bool:
        """Tell whether it is /ip6/.../udp/.../quic-v1."""
        return self.can_dial(maddr)

    def protocols(self) -> list[str]:
        """Return what it is for."""
        return ["quic-v1"]

    async def dial(self, maddr: Multiaddr) -> Any:
        """Connect with a peer whose record we know, wherever the address points.

        Raises:
            OpenConnectionError: no record binds the name to a node, or the connection fails.
        """
        text = maddr.get_peer_id()
        address = self._find(ID.from_string(text)) if text else None
        if text is None or address is None:
            raise OpenConnectionError(f"no signed record says which node {text or maddr} is")
        try:
            await self._connect(address)
        except Refused as refused:
            if refused.reason is not Reason.REPLACED:
                raise OpenConnectionError(f"cannot connect with {text}: {refused}") from None
        name = ID.from_string(text)
        with trio.move_on_after(DIAL_TIMEOUT):
            while (connection := self._latest.get(name)) is None or connection.is_closed:
                await self._changed.wait()
            # The swarm is about to add what we return: it must know it already, or it would read its streams twice.
            await connection.registered.wait()
            return connection
        raise OpenConnectionError(f"{text} shows no record: it does not speak libp2p")

    # ---- tasks

    async def _introduce(self, nursery: trio.Nursery) -> None:
        async for link in self._links:
            nursery.start_soon(self._serve_link, link)

    async def _serve_link(self, link: Link) -> None:
        try:
            await link.send(frame_of(Kind.RECORD, 0, encode(self._own)))
        except Refused:
            return
        await link.gone.wait()
        connection = self._connections.pop(link, None)
        if connection is not None and self._latest.get(connection.peer_id) is connection:
            del self._latest[connection.peer_id]

    async def _register_all(self, swarm: Any) -> None:
        async with trio.open_nursery() as nursery:
            async for connection in self._registering:
                older = self._latest.get(connection.peer_id)
                self._latest[connection.peer_id] = connection
                nursery.start_soon(self._register, swarm, connection, older)

    async def _register(self, swarm: Any, connection: StoqConnection, older: StoqConnection | None) -> None:
        """Hand a connection to the swarm. Pubsub must see the older one leave before the new one comes."""
        if older is not None:
            with trio.move_on_after(GOODBYE):
                await older.finished.wait()
        self._changed.set()
        self._changed = trio.Event()
        try:
            if connection.is_initiator:
                await swarm.add_conn(connection, direction="outbound")
                return
            async with trio.open_nursery() as nursery:  # the swarm's handler holds one of 250 slots until it ends
                for handler in self._handlers[:1]:
                    nursery.start_soon(handler, connection)
                await connection.link.gone.wait()
                await connection.finished.wait()
                nursery.cancel_scope.cancel()
        except Exception:  # whatever libp2p makes of one peer is that peer's alone
            connection.finished.set()

    # ---- INotifee: only the end of a connection matters here

    async def disconnected(self, network: Any, conn: Any) -> None:
        """The swarm has let go of a connection."""
        if isinstance(conn.muxed_conn, StoqConnection):
            conn.muxed_conn.finished.set()

    async def connected(self, network: Any, conn: Any) -> None:
        """The swarm knows a connection."""
        if isinstance(conn.muxed_conn, StoqConnection):
            conn.muxed_conn.registered.set()

    async def opened_stream(self, network: Any, stream: Any) -> None:
        """Nothing."""

    async def closed_stream(self, network: Any, stream: Any) -> None:
        """Nothing."""

    async def listen(self, network: Any, multiaddr: Any) -> None:
        """Nothing."""

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        """Nothing."""


def _guarded(handler: SwarmHandler) -> SwarmHandler:
    async def guarded(stream: Any) -> None:
        try:
            await handler(stream)
        except Exception:
            await stream.reset()

    return guarded
