"""STOQ beside the bare QUIC cores, and beside py-libp2p's QUIC where it is installed.

Two processes on ::1 each time, with the same datagram size and the same key exchange (X25519MLKEM768):

    frame     1 kB there and back, one after another: STOQ's frames on CONSENSUS, the bare core's bytes on one stream
    request   the same by STOQ's `request` on SYNC, which adds ids, an end, a timeout and concurrency
    parallel  sixteen requests at a time; the bare core's are one write of 16 kB, so there is no ratio
    bulk      one large answer: STOQ's frames of 256 kB with credit, the bare core's bytes

The runs of the stacks alternate, and each figure is the median of them. The reference of STOQ is the bare core; the
reference of that is py-libp2p's QUIC.

    python -m testnet.bench.stoq [MEGABYTES] [DATAGRAM_SIZE]
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import psutil
import trio

from crypto.keys import SecretKey
from p2p.config import CoreName, NetworkConfig
from p2p.mesh import Mesh, open_network
from p2p.network import Channel, FrameReceived, PeerAddress, PeerConnected, PeerId, RequestReceived
from p2p.stoq.cores import Address, Core, CoreSettings, make_core, read_first_packet
from p2p.stoq.tls import make_certificate
from state.types import ChainId

Result = dict[str, Any]
CHAIN: Final = ChainId(bytes(32))
REQUEST: Final = bytes(1024)
SECONDS: Final = 1.0
PART: Final = 256 << 10
ROUNDS: Final = 3
PARALLEL: Final = 16
LIBP2P_PYTHON: Final = "NEXUS_LIBP2P_PYTHON"
"""Environment: an interpreter that has libp2p 0.8.1, if this one has not."""


# ---- the bare core: the least driver that works


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


async def serve_bare(core: CoreName, datagram_size: int) -> None:
    """Echo one kilobyte at a time; the byte count of a bulk order comes as a request of eight bytes and 1016 zeros."""
    bare = Bare(None, CoreSettings(core, *make_certificate(), datagram_size, 30.0), bare_socket())
    ready(bare.sock.getsockname()[1], "")
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
async def bare_client(core: CoreName, datagram_size: int, port: int) -> AsyncIterator["Asker"]:
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


# ---- STOQ


def stoq_config(core: CoreName, datagram_size: int, *dial: PeerAddress) -> NetworkConfig:
    """Return the settings of one side."""
    return NetworkConfig(host="::1", core=core, datagram_size=datagram_size, persistent=dial)


async def serve_stoq(core: CoreName, datagram_size: int) -> None:
    """Answer requests: echo, or so many bytes as the first eight say."""
    async with open_network(stoq_config(core, datagram_size), SecretKey.generate(), CHAIN) as mesh:
        ready(mesh.port, mesh.peer_id.hex())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo_frames, mesh)
            async for event in mesh.bulk_events:
                if isinstance(event, RequestReceived):
                    size = int.from_bytes(event.payload[:8], "big")
                    if size:
                        nursery.start_soon(answer_bulk, event, size)
                    else:
                        await event.reply.send(event.payload)
                        await event.reply.end()


async def echo_frames(mesh: Mesh) -> None:
    """Send every frame back."""
    async for event in mesh.consensus_events:
        if isinstance(event, FrameReceived):
            mesh.send(event.peer_id, event.channel, event.payload)


async def answer_bulk(event: RequestReceived, size: int) -> None:
    """Send `size` bytes in parts."""
    for start in range(0, size, PART):
        await event.reply.send(bytes(min(PART, size - start)))
    await event.reply.end()


@asynccontextmanager
async def stoq_client(core: CoreName, datagram_size: int, port: int, peer: str) -> AsyncIterator["Asker"]:
    """Connect, and give the ways to ask."""
    peer_id = PeerId(bytes.fromhex(peer))
    config = stoq_config(core, datagram_size, PeerAddress(peer_id, "::1", port))
    async with open_network(config, SecretKey.generate(), CHAIN) as mesh:
        while not isinstance(await mesh.consensus_events.receive(), PeerConnected):
            pass

        async def frame(lanes: int) -> None:
            mesh.send(peer_id, Channel.CONSENSUS, REQUEST)
            await mesh.consensus_events.receive()

        async def request(lanes: int) -> None:
            if lanes == 1:
                await one(mesh, peer_id, REQUEST)
                return
            async with trio.open_nursery() as nursery:
                for _ in range(lanes):
                    nursery.start_soon(one, mesh, peer_id, REQUEST)

        async def bulk(size: int) -> None:
            await one(mesh, peer_id, size.to_bytes(8, "big") + REQUEST[8:])

        yield Asker(frame, request, bulk)


async def one(mesh: Mesh, peer_id: PeerId, payload: bytes) -> None:
    """Ask, and drop the answer."""
    async for _ in mesh.request(peer_id, payload, 30.0):
        pass


# ---- measuring


class Asker:
    """What a client can do, whatever the stack."""

    def __init__(
        self, frame: Callable[[int], Awaitable[None]], request: Callable[[int], Awaitable[None]],
        bulk: Callable[[int], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.frame = frame
        self.request = request
        self.bulk = bulk


async def measure(stack: str, core: CoreName, datagram_size: int, megabytes: int, port: int, peer: str) -> Result:
    """Run one client and return its figures."""
    client = (
        stoq_client(core, datagram_size, port, peer) if stack == "stoq" else bare_client(core, datagram_size, port)
    )
    found: Result = {}
    async with client as asker:
        for lanes, name in ((1, "frame"), (1, "request"), (PARALLEL, "parallel")):
            ask = asker.frame if name == "frame" else asker.request
            for _ in range(20):
                await ask(lanes)
            count, start, cpu = 0, time.perf_counter(), time.process_time()
            while time.perf_counter() - start < SECONDS:
                await ask(lanes)
                count += lanes
            found[name] = count / (time.perf_counter() - start)
            found[f"{name} cpu"] = (time.process_time() - cpu) / count * 1e6
        await asker.bulk(1 << 20)
        start, cpu = time.perf_counter(), time.process_time()
        await asker.bulk(megabytes * 1_000_000)
        found["bulk"] = megabytes / (time.perf_counter() - start)
        found["bulk cpu"] = (time.process_time() - cpu) / megabytes * 1e3
    return found


def ready(port: int, peer: str) -> None:
    """Tell the parent where we listen."""
    print(json.dumps([port, peer]), flush=True)


@contextmanager
def server(command: list[str]) -> Iterator[tuple[int, str, psutil.Process]]:
    """Start the listening process; yield its port, its peer id and itself."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise ChildProcessError(command[-1])
            port, peer = json.loads(line)
            yield port, peer, psutil.Process(process.pid)
        finally:
            process.kill()


def run_pair(command: list[str], megabytes: int) -> Result:
    """Run a server and a client of one stack; return the client's figures and the server's CPU."""
    with server([*command, "serve"]) as (port, peer, process):
        done = subprocess.run(
            [*command, "ask", str(port), peer, str(megabytes)], stdout=subprocess.PIPE, text=True, check=True,
            timeout=300,
        )  # fmt: skip
        found: Result = json.loads(done.stdout)
        times = process.cpu_times()
        found["server cpu"] = times.user + times.system
    return found


def command_of(stack: str, core: CoreName, datagram_size: int) -> list[str]:
    """Return the command line of one side of a stack."""
    return [sys.executable, "-m", "testnet.bench.stoq", "child", stack, core, str(datagram_size)]


def libp2p_figures(megabytes: int) -> Result:
    """Return py-libp2p's figures, or none if it is not installed."""
    python = os.environ.get(LIBP2P_PYTHON, sys.executable)
    installed = subprocess.run([python, "-c", "import libp2p"], stderr=subprocess.DEVNULL, check=False)
    if installed.returncode:
        return {}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libp2p_quic.py")
    return run_pair([python, script], megabytes)


def main(megabytes: int = 16, datagram_size: int = 1452) -> list[Result]:
    """Measure every stack.

    Args:
        megabytes: size of the bulk answer, in MB of 10**6 bytes; py-libp2p sends an eighth of it.
        datagram_size: UDP payload in bytes.
    """
    runs: dict[tuple[str, CoreName], list[Result]] = {}
    for _ in range(ROUNDS):
        for core in CoreName:
            for stack in ("bare", "stoq"):
                figures = run_pair(command_of(stack, core, datagram_size), megabytes)
                runs.setdefault((stack, core), []).append(figures)
    libp2p = libp2p_figures(max(1, megabytes // 8))

    def median(stack: str, core: CoreName, name: str) -> float:
        return statistics.median(float(run[name]) for run in runs[stack, core])

    results: list[Result] = []
    for core in CoreName:
        results.append(row(f"stoq {core} parallel", median("stoq", core, "parallel"), "1/s", None, "16 at a time"))
        for name, unit in (("frame", "1/s"), ("request", "1/s"), ("bulk", "MB/s")):
            bare, stoq = median("bare", core, name), median("stoq", core, name)
            cpu_unit = "ms client CPU/MB" if name == "bulk" else "us client CPU"
            cpus = median("bare", core, f"{name} cpu"), median("stoq", core, f"{name} cpu")
            results += [
                row(f"stoq {core} {name}", stoq, unit, bare, "the bare core"),
                row(f"stoq {core} {name} cpu", cpus[1], cpu_unit, cpus[0], "the bare core"),
                row(f"bare {core} {name}", bare, unit, libp2p.get(name), "py-libp2p's QUIC"),
            ]
    if not libp2p:
        results.append(row("py-libp2p", 0.0, "", None, "not installed"))
    return [{**result, "datagram": datagram_size} for result in results]


def row(name: str, value: float, unit: str, reference: float | None, note: str) -> Result:
    """Return one line; `ratio` is value / reference."""
    if reference is None:
        return {"name": name, "value": round(value, 2), "unit": unit, "reference": None, "ratio": None, "note": note}
    return {
        "name": name, "value": round(value, 2), "unit": unit, "reference": round(reference, 2),
        "ratio": round(value / reference, 3), "note": f"reference: {note}",
    }  # fmt: skip


def child(arguments: list[str]) -> None:
    """Be one side of one stack, as a process of its own."""
    stack, core, datagram_size, role, *rest = arguments
    if role == "serve":
        trio.run(serve_stoq if stack == "stoq" else serve_bare, CoreName(core), int(datagram_size))
        return
    port, peer, megabytes = rest
    found = trio.run(measure, stack, CoreName(core), int(datagram_size), int(megabytes), int(port), peer)
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        for result in main(*map(int, sys.argv[1:])):
            print(json.dumps(result))
