"""Mutual authentication on the control stream, before anybody sees the connection.

    dialer                                 listener
    Hello(version, chain, key, instance) ->
                                        <- Hello(version, chain, key, instance)
    Proof(signature)                     ->                                       only for the node that was dialled
                                        <- Proof(signature)                       only after the dialer's verified

What is signed is one digest over everything that both have said, the role of the signer and the TLS exporter, so that
a proof is worth nothing on another connection. A wrong chain or peer is named before anybody spends a signature
(12 ms without the native kernel); a signature is made on a thread.
"""

from dataclasses import dataclass
from typing import Final

import trio

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.schemes import Scheme, verify
from p2p.address import peer_id_of
from p2p.network import PeerId
from p2p.stoq.connection import Connection
from p2p.stoq.control import STOQ_VERSION, Hello, Proof
from state.encoding import encode
from state.types import ChainId

EXPORTER_LABEL: Final = b"EXPORTER-stoq-auth-1"
_DIALER: Final = "dialer"
_LISTENER: Final = "listener"


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """Who we are on every connection of one endpoint."""

    key: SecretKey
    chain_id: ChainId
    instance: bytes
    port: int

    @property
    def hello(self) -> Hello:
        """What we say first."""
        return Hello(STOQ_VERSION, self.chain_id, self.key.public_key, self.instance, self.port)


@dataclass(frozen=True, slots=True)
class RemoteIdentity:
    """Who the other side claims to be, and after the proof is."""

    peer_id: PeerId
    public_key: bytes
    instance: bytes
    port: int


def auth_digest(role: str, exporter: bytes, dialer: Hello, listener: Hello) -> bytes:
    """Return the 32 bytes that the side `role` ("dialer" or "listener") signs.

    H("stoq-auth", [role, exporter, dialer's id, listener's id, dialer's key, listener's key, dialer's instance,
    listener's instance, chain id, version]); the last two are equal on both sides.
    """
    return digest(
        Label.STOQ_AUTH,
        encode((
            role, exporter, peer_id_of(dialer.public_key), peer_id_of(listener.public_key), dialer.public_key,
            listener.public_key, dialer.instance, listener.instance, listener.chain_id, listener.version,
        )),
    )


async def introduce(connection: Connection, identity: LocalIdentity, expected: PeerId) -> RemoteIdentity:
    """Dialer, first half: say hello and learn who answers.

    Raises:
        Refused: WRONG_VERSION, WRONG_GENESIS, WRONG_PEER, BAD_KEY, or whatever the other side closed with.
    """
    connection.say(identity.hello)
    remote = _check(_hello(await connection.hear()), identity)
    if remote.peer_id != expected:
        raise Refused(Reason.WRONG_PEER, f"dialled {expected.hex()[:16]}, found {remote.peer_id.hex()[:16]}")
    return remote


async def receive_introduction(connection: Connection, identity: LocalIdentity) -> RemoteIdentity:
    """Listener, first half: learn who claims to call. Nothing is proven yet.

    Raises:
        Refused: WRONG_VERSION, WRONG_GENESIS, WRONG_PEER (our own id), BAD_KEY.
    """
    return _check(_hello(await connection.hear()), identity)


async def prove_dialer(connection: Connection, identity: LocalIdentity, remote: RemoteIdentity) -> None:
    """Dialer, second half: prove who we are, then verify the listener's proof.

    Raises:
        Refused: BAD_SIGNATURE, or whatever the other side closed with.
    """
    theirs = _as_hello(remote, identity)
    exporter = connection.core.export(EXPORTER_LABEL, b"")
    connection.say(await _sign(identity, auth_digest(_DIALER, exporter, identity.hello, theirs)))
    connection.allow_channels()
    _verify(await connection.hear(), remote, auth_digest(_LISTENER, exporter, identity.hello, theirs))


async def prove_listener(connection: Connection, identity: LocalIdentity, remote: RemoteIdentity) -> None:
    """Listener, second half: answer the hello, verify the dialer's proof, and only then sign.

    Raises:
        Refused: BAD_SIGNATURE, or whatever the other side closed with.
    """
    theirs = _as_hello(remote, identity)
    exporter = connection.core.export(EXPORTER_LABEL, b"")
    connection.say(identity.hello)
    _verify(await connection.hear(), remote, auth_digest(_DIALER, exporter, theirs, identity.hello))
    proof = await _sign(identity, auth_digest(_LISTENER, exporter, theirs, identity.hello))
    connection.allow_channels()
    connection.say(proof)


def _hello(message: Hello | Proof) -> Hello:
    if not isinstance(message, Hello):
        raise Refused(Reason.PROTOCOL_VIOLATION, "a proof came before the hello")
    return message


def _check(hello: Hello, identity: LocalIdentity) -> RemoteIdentity:
    if hello.version != STOQ_VERSION:
        raise Refused(Reason.WRONG_VERSION, f"the peer speaks STOQ version {hello.version}, we {STOQ_VERSION}")
    if hello.chain_id != identity.chain_id:
        raise Refused(
            Reason.WRONG_GENESIS,
            f"the peer's genesis is {hello.chain_id.hex()[:16]}, ours {identity.chain_id.hex()[:16]}",
        )
    if hello.public_key[0] != Scheme.FALCON:
        raise Refused(Reason.BAD_KEY, "a node key is of scheme Falcon-1024")
    if hello.public_key == identity.key.public_key:
        raise Refused(Reason.WRONG_PEER, "this is our own node id")
    return RemoteIdentity(peer_id_of(hello.public_key), hello.public_key, hello.instance, hello.port)


def _as_hello(remote: RemoteIdentity, identity: LocalIdentity) -> Hello:
    return Hello(STOQ_VERSION, identity.chain_id, remote.public_key, remote.instance, remote.port)


async def _sign(identity: LocalIdentity, message: bytes) -> Proof:
    return Proof(await trio.to_thread.run_sync(identity.key.sign, message))


def _verify(message: Hello | Proof, remote: RemoteIdentity, signed: bytes) -> None:
    if not isinstance(message, Proof):
        raise Refused(Reason.PROTOCOL_VIOLATION, "a second hello instead of a proof")
    if not verify(remote.public_key, signed, message.signature):
        raise Refused(Reason.BAD_SIGNATURE, "the proof does not verify on this connection")
