"""A peer that is in control of every byte: STOQ's own parts without their manners."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from crypto.errors import Refused
from crypto.keys import SecretKey
from p2p.config import CoreName, Limits, Timing
from p2p.metrics import Counters
from p2p.network import Channel, PeerId
from p2p.stoq.auth import LocalIdentity, RemoteIdentity, introduce, prove_dialer
from p2p.stoq.connection import Connection
from p2p.stoq.cores import CoreSettings
from p2p.stoq.endpoint import Endpoint, bind
from p2p.stoq.tls import make_certificate
from state.types import ChainId

HANDSHAKE: Final = 10.0
"""Seconds that the other side gets for TLS."""
IDLE: Final = 5.0
DATAGRAM: Final = 1232


class Place(Protocol):
    """Whom to dial, on ::1: a mesh in this process, or a node in another one."""

    @property
    def peer_id(self) -> PeerId:
        """Who must be there."""
        ...

    @property
    def port(self) -> int:
        """UDP."""
        ...


class Ears:
    """A receiver that remembers everything and takes what it is told to."""

    def __init__(self) -> None:
        self.frames: list[tuple[Channel, bytes]] = []
        self.willing = True

    def on_frame(self, channel: Channel, payload: bytes) -> bool:
        """See `p2p.stoq.connection.Receiver`."""
        self.frames.append((channel, payload))
        return self.willing


class Deaf(Ears):
    """A receiver that takes what comes and forgets it."""

    def on_frame(self, channel: Channel, payload: bytes) -> bool:
        """See `p2p.stoq.connection.Receiver`."""
        return True


@dataclass
class Stranger:
    """One dialled connection, at any stage."""

    endpoint: Endpoint
    connection: Connection
    identity: LocalIdentity
    ears: Ears

    async def authenticate(self, place: Place) -> RemoteIdentity:
        """Say and prove who we are. Raises Refused, as the listener refuses."""
        remote = await introduce(self.connection, self.identity, place.peer_id)
        await prove_dialer(self.connection, self.identity, remote)
        self.connection.open(self.ears)
        return remote

    def write(self, stream_id: int, data: bytes) -> None:
        """Put bytes on a stream, past every queue, credit and cap."""
        self.connection.core.send(stream_id, data)
        self.endpoint.wake(self.connection)


class Band:
    """Many strangers behind one socket.

    Args:
        endpoint: runs already.
        place: whom they dial.
        chain_id: which chain they claim to be of.
    """

    def __init__(self, endpoint: Endpoint, place: Place, chain_id: ChainId) -> None:
        self.endpoint = endpoint
        self._place = place
        self._chain_id = chain_id

    async def dial(
        self, key: SecretKey, prepare: Callable[[Connection], None] = lambda connection: None, ears: Ears | None = None
    ) -> Stranger:
        """Finish TLS and say nothing yet. Raises Refused if the other side ends it, trio.TooSlowError."""
        connection = self.endpoint.connect(("::1", self._place.port, 0, 0))
        prepare(connection)
        with trio.fail_after(HANDSHAKE):
            await connection.handshaken.wait()
        if connection.gone.is_set():
            raise Refused(*connection.ended)
        identity = LocalIdentity(key, self._chain_id, os.urandom(16), self.endpoint.port)
        return Stranger(self.endpoint, connection, identity, ears or Ears())

    async def join(self, key: SecretKey, ears: Ears | None = None) -> Stranger:
        """Dial and authenticate. Raises Refused, trio.TooSlowError."""
        made = await self.dial(key, ears=ears)
        with trio.fail_after(HANDSHAKE):
            await made.authenticate(self._place)
        return made


@asynccontextmanager
async def band(
    place: Place, chain_id: ChainId, core: CoreName = CoreName.QH3, sock: socket.socket | None = None
) -> AsyncIterator[Band]:
    """Open a socket to dial `place` from."""
    certificate, private_key = make_certificate()
    settings = CoreSettings(core, certificate, private_key, DATAGRAM, IDLE)
    endpoint = Endpoint(sock or bind("::1", 0), settings, Limits(), Timing(), Counters())

    async def nobody(connection: Connection) -> None:
        connection.fail(*connection.ended)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.run, nobody)
        yield Band(endpoint, place, chain_id)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def stranger(
    place: Place, key: SecretKey, chain_id: ChainId, core: CoreName = CoreName.QH3,
    prepare: Callable[[Connection], None] = lambda connection: None,
) -> AsyncIterator[Stranger]:
    """Dial `place` and finish TLS; say nothing yet. `prepare` sees the connection before its first datagram."""
    async with band(place, chain_id, core) as strangers:
        yield await strangers.dial(key, prepare)
