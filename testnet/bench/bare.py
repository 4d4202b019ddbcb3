"""The reference of the STOQ measurement: the least trio driver that works over a bare QUIC core."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from p2p.config import CoreName
from p2p.stoq.cores import Address, Core, CoreSettings, make_core
from p2p.stoq.retry import read_first_packet
from p2p.stoq.tls import make_certificate

REQUEST: Final = bytes(1024)


class Asker:
    """What a client can do, whatever the stack."""

    def __init__(
        self, frame: Callable[[int], Awaitable[None]], request: Callable[[int], Awaitable[None]],
        bulk: Callable[[int], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.frame = frame
        self.request = request
        self.bulk = bulk


class Bare:
    """One connection over a socket of its own: no authentication, no credit, no limits.

    The reference has to pay for I/O as STOQ does, and for nothing else: trio waits for the socket and for the core's
    timer, up to 128 datagrams are read at a time, and what the core then wants to send leaves at once, as in both
    libraries' own drivers. It runs over the same `Core` objects as STOQ, so a faster seam speeds up both. One habit is
    not STOQ's: with qh3 every second answer is acknowledged in a datagram of its own before the next request leaves
    (1.5 datagrams a request instead of 1), which costs the reference half a `sendto`.
    """

    def __init__(self, core: Core | None, settings: CoreSettings, sock: socket.socket) -> None:
        self.cores = [] if core is None else [core]
        self.settings = settings
        self.sock = sock
        self.arrived = 0
        self.news = trio.Event()
        self.room = trio.Event()
        self.sleep = trio.CancelScope()

    def on_handshake(self, alpn: str | None) -> None:
        """See Sink."""
        self.news.set()

    def on_reset(self, stream_id: int) -> None:
        """See Sink."""

    def on_id(self, connection_id: bytes, retired: bool) -> None:
        """See Sink."""

    def on_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """See Sink."""
        self.arrived += len(data)
        self.news.set()

    def flush(self) -> None:
        """Send what may leave."""
        for core in self.cores:
            for data, address in core.transmit(trio.current_time()):
                self.sock.sendto(data, address)
            self.sleep.deadline = min(self.sleep.deadline, core.timer() or 1e18)

    async def pump(self) -> None:
        """Receive and run timers until cancelled."""
        while True:
            timer = min((core.timer() or 1e18 for core in self.cores), default=1e18)
            with trio.CancelScope(deadline=timer) as self.sleep:
                await trio.lowlevel.wait_readable(self.sock)
            now = trio.current_time()
            datagrams: list[bytes] = []
            address: Address = ("::1", 0, 0, 0)
            for _ in range(128):
                try:
                    data, address = self.sock.recvfrom(16_384)
                except BlockingIOError:
                    break
                datagrams.append(data)
            if datagrams and not self.cores:
                first = read_first_packet(datagrams[0])
                if first is None:
                    continue
                self.cores.append(make_core(self.settings, first.destination_id))
            for core in self.cores:
                if datagrams:
                    core.receive(datagrams, address, now)
                if (core.timer() or 1e18) <= now:
                    core.handle_timer(now)
                core.drain(self)
            self.flush()
            self.room.set()
            self.room = trio.Event()

    async def until(self, count: int) -> None:
        """Wait for `count` more bytes than were asked for before."""
        while self.arrived < count:
            self.news = trio.Event()
            await self.news.wait()
        self.arrived -= count

    async def write(self, stream_id: int, size: int) -> None:
        """Send `size` bytes, waiting while much has not left."""
        core = self.cores[0]
        chunk = bytes(1 << 15)
        while size > 0:
            while core.backlog(stream_id) > 1 << 18:
                await self.room.wait()
            core.send(stream_id, chunk[:size])
            size -= len(chunk)
            self.flush()
            await trio.lowlevel.checkpoint()


def bare_socket() -> socket.socket:
    """Return a non-blocking socket on ::1 with large buffers."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    sock.setblocking(False)
    sock.bind(("::1", 0))
    return sock


async def serve_bare(core: CoreName, datagram_size: int, ready: Callable[[int], None]) -> None:
    """Echo one kilobyte at a time; the byte count of a bulk order comes as a request of eight bytes and 1016 zeros.

    Args:
        core: which QUIC.
        datagram_size: UDP payload in bytes.
        ready: told the port.
    """
    bare = Bare(None, CoreSettings(core, *make_certificate(), datagram_size, 30.0), bare_socket())
    ready(bare.sock.getsockname()[1])
    order = bytearray()
    async with trio.open_nursery() as nursery:

        def take(stream_id: int, data: bytes, end: bool) -> None:
            order.extend(data)
            while len(order) >= len(REQUEST):
                size = int.from_bytes(order[:8], "big")
                if size:
                    nursery.start_soon(bare.write, stream_id, size)
                else:
                    bare.cores[0].send(stream_id, bytes(order[: len(REQUEST)]))
                del order[: len(REQUEST)]

        bare.on_data = take  # type: ignore[method-assign]
        await bare.pump()


@asynccontextmanager
async def bare_client(core: CoreName, datagram_size: int, port: int) -> AsyncIterator[Asker]:
    """Connect, and give the ways to ask."""
    settings = CoreSettings(core, *make_certificate(), datagram_size, 30.0)
    quic = make_core(settings)
    bare = Bare(quic, settings, bare_socket())
    async with trio.open_nursery() as nursery:
        quic.connect(("::1", port, 0, 0), trio.current_time())
        bare.flush()
        nursery.start_soon(bare.pump)
        await bare.news.wait()

        async def request(lanes: int) -> None:
            quic.send(0, REQUEST * lanes)
            bare.flush()
            await bare.until(len(REQUEST) * lanes)

        async def bulk(size: int) -> None:
            quic.send(0, size.to_bytes(8, "big") + REQUEST[8:])
            bare.flush()
            await bare.until(size)

        yield Asker(request, request, bulk)
        nursery.cancel_scope.cancel()
