"""Attacks before a connection is authenticated."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated
from aioquic.tls import Group

from crypto.errors import Reason
from p2p.config import CoreName
from p2p.stoq.auth import EXPORTER_LABEL, auth_digest, introduce
from p2p.stoq.channel import framed
from p2p.stoq.connection import CONTROL
from p2p.stoq.control import STOQ_VERSION, ControlMessage, Hello, Proof
from p2p.stoq.cores import CoreSettings, make_core
from p2p.stoq.endpoint import bind
from p2p.stoq.tls import ALPN, make_certificate
from state.encoding import encode
from state.types import ChainId
from testnet.attacks.raid import Count, Row, Target, ended, keep, new_key
from testnet.attacks.stranger import DATAGRAM, band

SILENT: Final = 200
"""Connections that say nothing."""
BATCH: Final = 16


@asynccontextmanager
async def open_socket(target: Target) -> AsyncIterator[trio.socket.SocketType]:
    """Open a UDP socket towards the node."""
    with trio.socket.from_stdlib_socket(bind("::1", 0)) as opened:
        await opened.connect(("::1", target.port))
        yield opened


async def first_packets(target: Target, count: Count) -> None:
    """Send genuine first packets from ever new connections, and never a second one."""
    certificate, key = make_certificate()
    settings = CoreSettings(CoreName.QH3, certificate, key, DATAGRAM, 5.0)
    async with open_socket(target) as opened:
        while True:
            core = make_core(settings)
            core.connect(("::1", target.port, 0, 0), trio.current_time())
            for data, _ in core.transmit(trio.current_time()):
                await opened.send(data)
                count.add(len(data))


async def garbage(target: Target, count: Count) -> None:
    """Send datagrams that look like QUIC and are nothing."""
    dice = random.Random(1)
    async with open_socket(target) as opened:
        while True:
            for _ in range(BATCH):
                data = bytearray(dice.randbytes(dice.choice((1, 40, 1200, 1452))))
                if len(data) >= 1200:
                    data[:6] = b"\xc3\x00\x00\x00\x01\x08"
                await opened.send(data)
                count.add(len(data))
            await trio.sleep(0.002)


async def silence(target: Target, count: Count) -> None:
    """Finish TLS on many connections and say nothing."""
    key = new_key()
    async with band(target, target.chain_id) as strangers:

        async def once() -> None:
            party = await strangers.dial(key)
            count.add(0)
            await ended(party)

        await keep(SILENT, once, count)


async def drip_greeting(target: Target, count: Count) -> None:
    """Say hello on many connections, a byte at a time."""
    async with band(target, target.chain_id) as strangers:
        key = new_key()
        said = framed(encode(Hello(STOQ_VERSION, target.chain_id, key.public_key, bytes(16), 1)))

        async def once() -> None:
            party = await strangers.dial(key)
            for byte in said:
                if party.connection.gone.is_set():
                    await ended(party)
                party.write(CONTROL, bytes([byte]))
                count.add(1)
                await trio.sleep(0.1)

        await keep(48, once, count)


async def wrong_keys(target: Target, count: Count) -> None:
    """Claim one Falcon key and sign with another; claim the node's own; sign as the other side; sign noise."""
    dice = random.Random(2)
    claimed, other = new_key(), new_key()
    async with band(target, target.chain_id) as strangers:

        async def once() -> None:
            party = await strangers.dial(claimed)
            remote = await introduce(party.connection, party.identity, target.peer_id)
            theirs = Hello(STOQ_VERSION, target.chain_id, remote.public_key, remote.instance, remote.port)
            exporter = party.connection.core.export(EXPORTER_LABEL, b"")
            role = dice.choice(("dialer", "listener"))
            signed = auth_digest(role, exporter, party.identity.hello, theirs)
            signer = other if role == "dialer" else claimed
            signature = await trio.to_thread.run_sync(signer.sign, signed)
            party.connection.say(Proof(dice.choice((signature, signature[:1] + dice.randbytes(len(signature) - 1)))))
            count.add(len(signature))
            await ended(party)

        await keep(4, once, count)


async def wrong_chains(target: Target, count: Count) -> None:
    """Greet with another genesis, another version, another kind of key, the node's own key."""
    key = new_key()
    wrong = (
        Hello(STOQ_VERSION, ChainId(bytes(32)), key.public_key, bytes(16), 1),
        Hello(9, target.chain_id, key.public_key, bytes(16), 1),
        Hello(STOQ_VERSION, target.chain_id, b"\x02" + key.public_key[1:], bytes(16), 1),
        b"\xc1" * 30, b"\x91" * 4000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff" + bytes(20),
    )
    dice = random.Random(3)
    async with band(target, target.chain_id) as strangers:

        async def once() -> None:
            party = await strangers.dial(key)
            chosen = dice.choice(wrong)
            data = framed(chosen if isinstance(chosen, bytes) else encode(chosen))
            party.write(CONTROL, data)
            count.add(len(data))
            await ended(party)

        await keep(4, once, count)


class Recorder(socket.socket):
    """A socket that remembers what left by it."""

    sent: list[bytes]

    def sendto(self, data: Any, *where: Any) -> int:
        """See socket."""
        self.sent.append(bytes(data))
        return super().sendto(data, *where)


def recorder() -> Recorder:
    """Return one that is bound to a free port of ::1."""
    made = Recorder(fileno=bind("::1", 0).detach())
    made.setblocking(False)
    made.sent = []
    return made


async def replays(target: Target, count: Count) -> None:
    """Repeat a true peer's authentication over new connections, and its datagrams byte for byte after it has left."""
    said: list[ControlMessage] = []
    tape, key = recorder(), new_key()
    async with band(target, target.chain_id, sock=tape) as honest:
        party = await honest.dial(new_key())
        say = party.connection.say

        def record(message: ControlMessage) -> None:
            said.append(message)
            say(message)

        party.connection.say = record  # type: ignore[method-assign]
        await party.authenticate(target)
        await trio.sleep(0.3)
    async with band(target, target.chain_id) as strangers, trio.open_nursery() as nursery:
        nursery.start_soon(_replay_datagrams, target, count, list(tape.sent))

        async def once() -> None:
            again = await strangers.dial(key)
            for message in said:
                again.connection.say(message)
                count.add(len(encode(message)))
            await ended(again)

        await keep(4, once, count, 0.02)


async def _replay_datagrams(target: Target, count: Count, sent: list[bytes]) -> None:
    async with open_socket(target) as opened:
        while True:
            for data in sent:
                await opened.send(data)
                count.add(len(data))
            await trio.sleep(0.02)


async def downgrades(target: Target, count: Count) -> None:
    """Offer a key exchange without ML-KEM: X25519 alone, P-256 alone, both."""
    dice = random.Random(4)
    choices = ([Group.X25519], [Group.SECP256R1], [Group.X25519, Group.SECP256R1])

    async def once() -> None:
        count.heard[await _offer(target, dice.choice(choices), count)] += 1

    await keep(4, once, count)


async def _offer(target: Target, groups: list[Group], count: Count) -> str:
    """Try a handshake with these groups; return how it ended."""
    quic: Any = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=[ALPN], verify_mode=0))
    initialize = quic._initialize

    def initialize_with(*arguments: Any) -> None:
        initialize(*arguments)
        quic.tls._supported_groups = groups

    quic._initialize = initialize_with
    address = ("::1", target.port, 0, 0)
    quic.connect(address, trio.current_time())
    async with open_socket(target) as opened:
        with trio.move_on_after(2.0):
            while True:
                for data, _ in quic.datagrams_to_send(trio.current_time()):
                    await opened.send(data)
                    count.add(len(data))
                quic.receive_datagram(await opened.recv(2048), address, trio.current_time())
                while (event := quic.next_event()) is not None:
                    if type(event).__name__ == "HandshakeCompleted":
                        return "ACCEPTED"
                    if isinstance(event, ConnectionTerminated):
                        return Reason.HANDSHAKE_FAILED.value
                close = quic._close_event
                if close is not None:
                    return Reason.HANDSHAKE_FAILED.value if close.error_code == 0x128 else f"code {close.error_code}"
    return "no answer"


ROWS: Final = {
    "first-packets": Row("handshakes that are begun and left", "datagrams", first_packets),
    "garbage": Row("datagrams that look like QUIC", "datagrams", garbage),
    "silence": Row("TLS, then nothing, on 200 connections", "connections", silence),
    "drip-greeting": Row("the greeting byte by byte", "bytes", drip_greeting),
    "wrong-keys": Row("proofs by another Falcon key", "proofs", wrong_keys),
    "wrong-chains": Row("greetings of another chain, version or key; bombs", "greetings", wrong_chains),
    "replays": Row("an old connection's bytes, and its proofs on new ones", "messages", replays),
    "downgrades": Row("TLS without ML-KEM", "datagrams", downgrades),
}
