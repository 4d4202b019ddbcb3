"""STOQ beside the bare QUIC cores, and beside py-libp2p's QUIC where it is installed.

Two processes on ::1 for each stack, with the same datagram size and the same key exchange (X25519MLKEM768):

    frame     1 kB there and back, one after another: STOQ's frames on CONSENSUS, the bare core's bytes on one stream
    request   the same by STOQ's `request` on SYNC, which adds ids, an end, a timeout and concurrency
    parallel  sixteen requests at a time; the bare core's are one write of 16 kB, so there is no ratio
    bulk      one large answer: STOQ's frames of 256 kB with credit, the bare core's bytes

A machine that others use too is never twice the same, so figures of different seconds are not compared. Both stacks
live at once and take turns, a twentieth of a second each (A B, B A, ...); each pair of neighbouring slices gives one
ratio; the ratio printed is the median of the pairs of several launches, `low` and `high` its quartiles. One of the two
processes of a stack always has work, so together they use a processor or more; a pair in which a stack got less
measured other programs, and is left out. If that leaves too few, all count: `undisturbed` says how many were good.
`cpu` is processor time of both processes together, which depends less on what else the machine does. The reference of
STOQ is the bare core (`bare.py`); the reference of that is py-libp2p's QUIC.

    python -m testnet.bench.stoq [MEGABYTES] [DATAGRAM_SIZE]
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

import trio

from crypto.keys import SecretKey
from p2p.config import CoreName, NetworkConfig
from p2p.mesh import Mesh, open_network
from p2p.network import Channel, FrameReceived, PeerAddress, PeerConnected, PeerId, RequestReceived
from state.types import ChainId
from testnet.bench.bare import REQUEST, Asker, bare_client, serve_bare

Result = dict[str, Any]
CHAIN: Final = ChainId(bytes(32))
SLICE: Final = 0.05
"""Seconds that one stack runs before it is the other's turn."""
SLICES: Final = 16
"""Undisturbed pairs of slices of each kind wanted from one launch; twice as many are tried at most."""
LAUNCHES: Final = 3
SHARE: Final = 0.9
"""Processors that an undisturbed stack has at least: one of its two processes always has something to do."""
ENOUGH: Final = 10
"""Undisturbed pairs of all launches that are enough for a median."""
PART: Final = 256 << 10
PARALLEL: Final = 16
KINDS: Final = ("frame", "request", "parallel", "bulk")
LIBP2P_PYTHON: Final = "NEXUS_LIBP2P_PYTHON"
"""Environment: an interpreter that has libp2p 0.8.1, if this one has not."""


# ---- STOQ


def stoq_config(core: CoreName, datagram_size: int, *dial: PeerAddress) -> NetworkConfig:
    """Return the settings of one side."""
    return NetworkConfig(host="::1", core=core, datagram_size=datagram_size, persistent=dial)


async def serve_stoq(core: CoreName, datagram_size: int, ready: Callable[..., None]) -> None:
    """Answer requests: echo, or so many bytes as the first eight say. `ready` is told the port and the peer id."""
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
async def stoq_client(core: CoreName, datagram_size: int, port: int, peer: str) -> AsyncIterator[Asker]:
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


# ---- one stack: a process that serves and one that asks


@dataclass(frozen=True, slots=True)
class Slice:
    """What one stack did in one turn.

    Attributes:
        rate: operations or MB a second.
        cpu: CPU seconds of both processes for each.
        share: processors that they had, on average.
    """

    rate: float
    cpu: float
    share: float


Pair = tuple[Slice, Slice]
"""Neighbouring slices of the bare core and of STOQ."""


def undisturbed(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs in which no other program had the processor that was needed."""
    return [pair for pair in pairs if min(one.share for one in pair) >= SHARE]


def ready(port: int, peer: str = "") -> None:
    """Tell the parent where we listen."""
    print(json.dumps([port, peer]), flush=True)


def cpu_of(process: int) -> float:
    """Return the CPU seconds that a process has used (Linux: its clock's id follows from its number)."""
    return time.clock_gettime(~process << 3 | 2)


async def take_turns(stack: str, core: CoreName, datagram_size: int, port: int, peer: str, server: int) -> None:
    """Be the client: run a slice for every line `[kind, amount]` on stdin and print its figures."""
    client = stoq_client(core, datagram_size, port, peer) if stack == "stoq" else bare_client(core, datagram_size, port)
    processes = (os.getpid(), server)
    async with client as asker:
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            kind, amount = json.loads(line)
            cpu, start = sum(map(cpu_of, processes)), time.perf_counter()
            done = await one_slice(asker, kind, amount)
            seconds = time.perf_counter() - start
            cpu = sum(map(cpu_of, processes)) - cpu
            print(json.dumps([done / seconds, cpu / done, cpu / seconds]), flush=True)


async def one_slice(asker: Asker, kind: str, amount: float) -> float:
    """Ask for `amount` seconds, or for so many MB; return how much was done."""
    if kind == "bulk":
        await asker.bulk(int(amount * 1e6))
        return amount
    ask, lanes = asker.frame if kind == "frame" else asker.request, PARALLEL if kind == "parallel" else 1
    count, end = 0, time.perf_counter() + amount
    while time.perf_counter() < end:
        await ask(lanes)
        count += lanes
    return count


@contextmanager
def running(command: list[str], stdin: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start a process; kill it at the end."""
    with subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> Any:
    """Return the next value that a process prints."""
    line = pipe(process.stdout).readline()
    if not line:
        raise ChildProcessError(process.args)
    return json.loads(line)


def pipe(end: IO[str] | None) -> IO[str]:
    """Return the end of a pipe that was asked for."""
    assert end is not None
    return end


class Stack:
    """The two processes of one stack."""

    def __init__(self, stack: str, core: CoreName, datagram_size: int, processes: ExitStack) -> None:
        command = [sys.executable, "-m", "testnet.bench.stoq", "child", stack, core, str(datagram_size)]
        server = processes.enter_context(running([*command, "serve"]))
        port, peer = line_of(server)
        asking = [*command, "ask", str(port), peer, str(server.pid)]
        self._client = processes.enter_context(running(asking, subprocess.PIPE))

    def turn(self, kind: str, amount: float) -> Slice:
        """Run one slice."""
        orders = pipe(self._client.stdin)
        orders.write(json.dumps([kind, amount]) + "\n")
        orders.flush()
        return Slice(*line_of(self._client))


# ---- comparing


def compare(core: CoreName, datagram_size: int, megabytes: int) -> dict[str, list[Pair]]:
    """Launch the bare core and STOQ, and return pairs of slices for every kind."""
    pairs: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
    with ExitStack() as processes:
        bare, stoq = (Stack(stack, core, datagram_size, processes) for stack in ("bare", "stoq"))
        for kind in KINDS:
            amount = megabytes if kind == "bulk" else SLICE
            for number in range(-1, 2 * SLICES):
                if len(undisturbed(pairs[kind])) == SLICES:
                    break
                if number % 2:
                    second, first = stoq.turn(kind, amount), bare.turn(kind, amount)
                else:
                    first, second = bare.turn(kind, amount), stoq.turn(kind, amount)
                if number >= 0:  # the first pair warms up
                    pairs[kind].append((first, second))
    return pairs


def libp2p_figures(megabytes: int) -> Result:
    """Return py-libp2p's figures, or none if it is not installed."""
    python = os.environ.get(LIBP2P_PYTHON, sys.executable)
    installed = subprocess.run([python, "-c", "import libp2p"], stderr=subprocess.DEVNULL, check=False)
    if installed.returncode:
        return {}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libp2p_quic.py")
    with running([python, script, "serve"]) as server:
        port, peer = line_of(server)
        with running([python, script, "ask", str(port), peer, str(megabytes)]) as client:
            found: Result = line_of(client)
            return found


def main(megabytes: int = 8, datagram_size: int = 1452) -> Iterator[Result]:
    """Measure every stack.

    Args:
        megabytes: size of one bulk answer, in MB of 10**6 bytes; py-libp2p sends a quarter of it.
        datagram_size: UDP payload in bytes.
    """
    libp2p = libp2p_figures(max(1, megabytes // 4))
    for core in CoreName:
        pairs: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
        for _ in range(LAUNCHES):
            for kind, found in compare(core, datagram_size, megabytes).items():
                pairs[kind] += found
        for kind in KINDS:
            yield from ({**figure, "datagram": datagram_size} for figure in figures(core, kind, pairs[kind], libp2p))
    if not libp2p:
        yield row("py-libp2p", [], "", [], "not installed")


def figures(core: CoreName, kind: str, pairs: list[Pair], libp2p: Result) -> Iterator[Result]:
    """Yield the lines of one kind of work."""
    good = undisturbed(pairs)
    counts = {"tried": len(pairs), "undisturbed": len(good)}
    for line in lines(core, kind, good if len(good) >= ENOUGH else pairs, libp2p):
        yield line | counts


def lines(core: CoreName, kind: str, pairs: list[Pair], libp2p: Result) -> Iterator[Result]:
    """Yield the lines of one kind of work, from the pairs that count."""
    unit, cpu_unit, scale = ("MB/s", "ms CPU/MB", 1e3) if kind == "bulk" else ("1/s", "us CPU", 1e6)
    bare, stoq = [first.rate for first, _ in pairs], [second.rate for _, second in pairs]
    if kind == "parallel":
        yield row(f"stoq {core} {kind}", stoq, unit, [], f"{PARALLEL} at a time")
        return
    yield row(f"stoq {core} {kind}", stoq, unit, bare, "the bare core")
    bare_cpu, stoq_cpu = [first.cpu * scale for first, _ in pairs], [second.cpu * scale for _, second in pairs]
    yield row(f"stoq {core} {kind} cpu", stoq_cpu, cpu_unit, bare_cpu, "the bare core")
    if libp2p:
        yield row(f"bare {core} {kind}", bare, unit, [libp2p[kind]] * len(bare), "py-libp2p's QUIC")


def row(name: str, values: list[float], unit: str, references: list[float], note: str) -> Result:
    """Return one line: medians; `ratio` is the median of the pairs' ratios, `low` and `high` their quartiles."""
    found: Result = {"name": name, "value": round(statistics.median(values or [0.0]), 2), "unit": unit}
    if not references:
        return found | {"reference": None, "ratio": None, "note": note}
    ratios = [value / reference for value, reference in zip(values, references, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    return found | {
        "reference": round(statistics.median(references), 2), "ratio": round(ratio, 3), "low": round(low, 3),
        "high": round(high, 3), "note": f"reference: {note}",
    }  # fmt: skip


def child(arguments: list[str]) -> None:
    """Be one process of one stack."""
    stack, core, datagram_size, role, *rest = arguments
    if role == "serve":
        trio.run(serve_stoq if stack == "stoq" else serve_bare, CoreName(core), int(datagram_size), ready)
        return
    port, peer, process = rest
    trio.run(take_turns, stack, CoreName(core), int(datagram_size), int(port), peer, int(process))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        for result in main(*map(int, sys.argv[1:])):
            print(json.dumps(result), flush=True)
