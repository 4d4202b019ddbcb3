"""py-libp2p 0.8.1's own QUIC as a reference for `stoq.py`. A program of its own: only it imports libp2p.

As shipped, that QUIC does not work over IPv6: the listener unpacks a socket address of four parts into two, and aioquic
drops datagrams whose address differs from the dialled one. Two subclasses below cut addresses to host and port.

    python libp2p_quic.py serve
    python libp2p_quic.py ask PORT PEER_ID MEGABYTES
"""

import json
import sys
import time
from importlib import import_module
from typing import Any

import trio
from aioquic.quic.connection import QuicConnection

# By name, because an installation without the extra has none of them and must still pass the type checker.
libp2p: Any = import_module("libp2p")
ed25519: Any = import_module("libp2p.crypto.ed25519")
peer_ids: Any = import_module("libp2p.peer.id")
peer_infos: Any = import_module("libp2p.peer.peerinfo")
quic_config: Any = import_module("libp2p.transport.quic.config")
quic_listener: Any = import_module("libp2p.transport.quic.listener")
quic_transport: Any = import_module("libp2p.transport.quic.transport")
Multiaddr: Any = import_module("multiaddr").Multiaddr

ECHO = "/bench/echo/1"
BULK = "/bench/bulk/1"
REQUEST = bytes(1024)
SECONDS = 1.0


class _Listener(quic_listener.QUICListener):  # type: ignore[misc]
    async def _process_packet(self, data: bytes, addr: Any) -> None:
        await super()._process_packet(data, addr[:2])


class _Dialler(QuicConnection):
    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        super().receive_datagram(data, addr[:2], now)


quic_transport.QUICListener = _Listener
quic_transport.NativeQUICConnection = _Dialler


def make_host(port: int) -> Any:
    """Return a host with QUIC alone, tuned as far as its settings go."""
    config = quic_config.QUICTransportConfig(idle_timeout=30, initial_rtt=0.002, congestion_control_algorithm="cubic")
    return libp2p.new_host(
        key_pair=ed25519.create_new_key_pair(), enable_quic=True, enable_tcp=False, quic_transport_opt=config,
        listen_addrs=[Multiaddr(f"/ip6/::1/udp/{port}/quic-v1")],
    )


async def read_exactly(stream: Any, size: int) -> bytes:
    """Read `size` bytes."""
    data = b""
    while len(data) < size:
        part = await stream.read(size - len(data))
        if not part:
            break
        data += part
    return data


async def serve() -> None:
    """Echo kilobytes; send as many bytes as the first eight of a bulk order say."""

    async def echo(stream: Any) -> None:
        while data := await read_exactly(stream, len(REQUEST)):
            await stream.write(data)

    async def bulk(stream: Any) -> None:
        left = int.from_bytes(await read_exactly(stream, 8), "big")
        while left > 0:
            await stream.write(bytes(min(left, 65_536)))
            left -= 65_536

    host = make_host(0)
    host.set_stream_handler(ECHO, echo)
    host.set_stream_handler(BULK, bulk)
    async with host.run(listen_addrs=[Multiaddr("/ip6/::1/udp/0/quic-v1")]):
        port = int(str(host.get_addrs()[0]).split("/udp/")[1].split("/")[0])
        print(json.dumps([port, str(host.get_id())]), flush=True)
        await trio.sleep_forever()


async def ask(port: int, peer: str, megabytes: int) -> None:
    """Measure as `stoq.py` does."""
    host = make_host(0)
    async with host.run(listen_addrs=[Multiaddr("/ip6/::1/udp/0/quic-v1")]):
        peer_id = peer_ids.ID.from_base58(peer)
        await host.connect(peer_infos.PeerInfo(peer_id, [Multiaddr(f"/ip6/::1/udp/{port}/quic-v1")]))
        stream = await host.new_stream(peer_id, [ECHO])
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            await stream.write(REQUEST)
            await read_exactly(stream, len(REQUEST))
            count += 1
        rate = count / (time.perf_counter() - start)
        stream = await host.new_stream(peer_id, [BULK])
        start = time.perf_counter()
        await stream.write((megabytes * 1_000_000).to_bytes(8, "big"))
        left = megabytes * 1_000_000
        while left > 0:
            left -= len(await stream.read(65_536))
        speed = megabytes / (time.perf_counter() - start)
        print(json.dumps({"frame": rate, "request": rate, "bulk": speed}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve)
    else:
        trio.run(ask, int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
