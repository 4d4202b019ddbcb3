"""UDP between nodes that may find each other by any way: one public port for each, links by who sends to whom.

    node A  ->  [::1]:public(B)  ...delay, loss...  public(A)  ->  node B's real port

Each node is known to all others by its public port alone: in settings, in records that seeds hand out, in what a peer
sees as the sender. A node has one UDP socket, so the port that a datagram comes from says who sent it, and what a node
sends leaves through its own public port, as behind an address translator. `testnet.proxy` has a port for each pair
instead, which cannot carry what discovery finds.
"""

import contextlib
import heapq
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, NamedTuple

import trio

from testnet.lab.manifest import LabManifest, LinkClass
from testnet.proxy import BUFFER, HOST, MAX_DATAGRAM, MAX_IN_FLIGHT

Way = tuple[str, str]
"""Sender and receiver, by name."""
_AT_ONCE: Final = 64
"""Datagrams that are taken from one socket before the others get their turn."""


def ways_of(manifest: LabManifest) -> dict[Way, LinkClass]:
    """Return what lies between every two nodes of a manifest, for those ways that have a class."""
    classes: dict[Way, LinkClass] = {}
    for link in manifest.links:
        one, other = link.between
        classes[one, other] = classes[other, one] = manifest.classes[link.link_class]
    regions = {name: manifest.nodes[name].region for name in manifest.full_nodes()}
    return {
        (a, b): classes[regions[a], regions[b]]
        for a in regions for b in regions if a != b and (regions[a], regions[b]) in classes
    }


class _Flight(NamedTuple):
    """A datagram on its way."""

    due: float
    number: int
    way: Way
    datagram: bytes


class Router:
    """Carries datagrams between the nodes of one machine.

    Args:
        real: the UDP port of each node.
        ways: what lies between two nodes; nothing, where it names none.
        seed: of what gets lost.

    Attributes:
        passed: datagrams that were handed over.
        lost: datagrams that were not.
    """

    def __init__(self, real: Mapping[str, int], ways: Mapping[Way, LinkClass], seed: int) -> None:
        self.passed = self.lost = 0
        self._real = dict(real)
        self._names = {port: name for name, port in real.items()}
        self._ways = ways
        self._dice = random.Random(seed)
        self._apart: tuple[frozenset[str], ...] = ()
        self._flights: list[_Flight] = []
        self._last: dict[Way, float] = {}
        self._number = 0
        self._sockets: dict[str, socket.socket] = {}
        self._woken = trio.Event()

    def part(self, groups: tuple[frozenset[str], ...]) -> None:
        """Cut each of these groups off from all who are not in it; what is on its way is lost."""
        self._apart = groups

    async def run(self, task_status: trio.TaskStatus[Mapping[str, int]] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry datagrams until cancelled; started with the public port of each node."""
        with contextlib.ExitStack() as stack:
            for name in self._real:
                self._sockets[name] = stack.enter_context(_open_socket())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deliver)
                for name in self._real:
                    nursery.start_soon(self._receive, name)
                ports = {name: one.getsockname()[1] for name, one in self._sockets.items()}
                task_status.started(MappingProxyType(ports))

    async def _receive(self, receiver: str) -> None:
        arrives = self._sockets[receiver]
        while True:
            await trio.lowlevel.wait_readable(arrives)
            for _ in range(_AT_ONCE):
                try:
                    datagram, sender = arrives.recvfrom(MAX_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # told that an earlier receiver is down
                self._take(self._names.get(sender[1], ""), receiver, datagram)

    def _take(self, sender: str, receiver: str, datagram: bytes) -> None:
        """Let a datagram set out, or lose it."""
        way = sender, receiver
        link = self._ways.get(way)
        lost = link is not None and link.loss and self._dice.random() < link.loss
        if not sender or lost or self._is_cut(way) or len(self._flights) >= MAX_IN_FLIGHT:
            self.lost += 1
            return
        delay = 0.0 if link is None else (link.delay + link.jitter * self._dice.random()) / 1000
        if not delay:
            self._hand_over(way, datagram)
            return
        due = max(trio.current_time() + delay, self._last.get(way, 0.0))
        self._last[way] = due
        self._number += 1
        if not self._flights or due < self._flights[0].due:
            self._woken.set()
        heapq.heappush(self._flights, _Flight(due, self._number, way, datagram))

    async def _deliver(self) -> None:
        """Hand datagrams over when their time has come."""
        while True:
            self._woken = trio.Event()
            now = trio.current_time()
            while self._flights and self._flights[0].due <= now:
                flight = heapq.heappop(self._flights)
                if self._is_cut(flight.way):
                    self.lost += 1
                else:
                    self._hand_over(flight.way, flight.datagram)
            with trio.move_on_at(self._flights[0].due if self._flights else float("inf")):
                await self._woken.wait()

    def _is_cut(self, way: Way) -> bool:
        return any((way[0] in group) != (way[1] in group) for group in self._apart)

    def _hand_over(self, way: Way, datagram: bytes) -> None:
        sender, receiver = way
        try:
            self._sockets[sender].sendto(datagram, (HOST, self._real[receiver]))
            self.passed += 1
        except OSError:  # the receiver is down, or its buffer full
            self.lost += 1


def _open_socket() -> socket.socket:
    opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    opened.setblocking(False)
    opened.bind((HOST, 0))
    return opened


class RouterThread:
    """A router on a thread of its own. Made by `running_router`.

    Attributes:
        public: the port at which each node is found.
    """

    def __init__(self, router: Router, public: Mapping[str, int], token: trio.lowlevel.TrioToken) -> None:
        self.public = public
        self._router = router
        self._token = token
        self._apart: list[frozenset[str]] = []

    def cut(self, group: frozenset[str]) -> None:
        """Cut a group off from everybody else; when this returns, they are."""
        self._apart.append(group)
        self._part()

    def heal(self, group: frozenset[str]) -> None:
        """Undo one cut; when this returns, it is."""
        self._apart.remove(group)
        self._part()

    @property
    def figures(self) -> tuple[int, int]:
        """Datagrams that were handed over and lost so far."""
        return self._router.passed, self._router.lost

    def _part(self) -> None:
        self._router.part(tuple(self._apart))  # one assignment: the other thread reads the old value or the new one


@contextmanager
def running_router(real: Mapping[str, int], ways: Mapping[Way, LinkClass], seed: int) -> Iterator[RouterThread]:
    """Run a router between nodes while the context lasts. Arguments as of `Router`."""
    router = Router(real, ways, seed)
    ready: list[tuple[RouterThread, trio.CancelScope]] = []
    started = threading.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            public = await nursery.start(router.run)
            ready.append((RouterThread(router, public, trio.lowlevel.current_trio_token()), nursery.cancel_scope))
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    started.wait()
    made, scope = ready[0]
    try:
        yield made
    finally:
        trio.from_thread.run_sync(scope.cancel, trio_token=made._token)
        thread.join()
