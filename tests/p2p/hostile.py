"""A peer that is in control of every byte: STOQ's own parts without their manners."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from crypto.keys import SecretKey
from p2p.config import CoreName, Limits, Timing
from p2p.mesh import Mesh
from p2p.metrics import Counters
from p2p.network import Channel
from p2p.stoq.auth import LocalIdentity, RemoteIdentity, introduce, prove_dialer
from p2p.stoq.connection import Connection
from p2p.stoq.cores import CoreSettings
from p2p.stoq.endpoint import Endpoint, bind
from p2p.stoq.tls import make_certificate
from state.types import ChainId


class Ears:
    """A receiver that remembers everything and takes what it is told to."""

    def __init__(self) -> None:
        self.frames: list[tuple[Channel, bytes]] = []
        self.willing = True

    def on_frame(self, channel: Channel, payload: bytes) -> bool:
        self.frames.append((channel, payload))
        return self.willing


@dataclass
class Stranger:
    """One dialled connection, at any stage."""

    endpoint: Endpoint
    connection: Connection
    identity: LocalIdentity
    ears: Ears

    async def authenticate(self, mesh: Mesh) -> RemoteIdentity:
        remote = await introduce(self.connection, self.identity, mesh.peer_id)
        await prove_dialer(self.connection, self.identity, remote)
        self.connection.open(self.ears)
        return remote

    def write(self, stream_id: int, data: bytes) -> None:
        """Put bytes on a stream, past every queue, credit and cap."""
        self.connection.core.send(stream_id, data)
        self.endpoint.wake(self.connection)


@asynccontextmanager
async def stranger(
    mesh: Mesh, key: SecretKey, chain_id: ChainId, core: CoreName = CoreName.QH3,
    prepare: Callable[[Connection], None] = lambda connection: None,
) -> AsyncIterator[Stranger]:
    """Dial `mesh` and finish TLS; say nothing yet. `prepare` sees the connection before its first datagram."""
    certificate, private_key = make_certificate()
    settings = CoreSettings(core, certificate, private_key, 1232, 5.0)
    endpoint = Endpoint(bind("::1", 0), settings, Limits(), Timing(), Counters())

    async def nobody(connection: Connection) -> None:
        connection.fail(*connection.ended)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.run, nobody)
        connection = endpoint.connect(("::1", mesh.port, 0, 0))
        prepare(connection)
        with trio.fail_after(10):
            await connection.handshaken.wait()
        yield Stranger(endpoint, connection, LocalIdentity(key, chain_id, os.urandom(16), endpoint.port), Ears())
        nursery.cancel_scope.cancel()
