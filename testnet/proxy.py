"""UDP between the nodes of a testnet, with delay, loss and cuts: the kernel of most machines cannot, so a proxy does.

    node i  ->  [::1]:front(i, j)  ...delay, loss...  back(i, j)  ->  node j's real port
    node j  ->  back(i, j)         ...delay, loss...  front(i, j) ->  node i

Each node knows the others by their fronts alone, so all that it dials goes through here, and so do the answers. A link
has a direction: what i sends to j may be lost while what j sends to i arrives.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import trio

Direction = tuple[int, int]
"""Sender and receiver, by number."""
HOST: Final = "::1"
MAX_DATAGRAM: Final = 65_535
BUFFER: Final = 4 << 20
"""Bytes of each socket's buffers: bursts are not to be lost here."""
MAX_IN_FLIGHT: Final = 20_000
"""Datagrams on their way over one link; what comes on top is lost, as on a full queue."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What the links do to datagrams.

    Attributes:
        delay: seconds one way.
        jitter: up to so many seconds more; the order is kept.
        loss: share that gets lost.
        cut: directions in which nothing arrives.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    cut: frozenset[Direction] = frozenset()


def halves(size: int, first: int) -> frozenset[Direction]:
    """Return the cuts that part the first so many nodes from the rest."""
    return frozenset(
        (one, other) for one in range(size) for other in range(size) if (one < first) != (other < first)
    )


class _Link(NamedTuple):
    """A connection between what one node dials and another node: two sockets, and the dialer's address once known."""

    dialer: int
    target: int
    front: trio.socket.SocketType
    back: trio.socket.SocketType
    address: tuple[str, int]


class UdpProxy:
    """The links between nodes on one machine.

    Args:
        ports: the real UDP port of each node.
        weather: to begin with.
        seed: of what gets lost.

    Attributes:
        weather: may be replaced at any time, from the proxy's own thread.
        passed: datagrams that went through.
        lost: datagrams that did not.
    """

    def __init__(self, ports: list[int], weather: Weather, seed: int = 1) -> None:
        self.weather = weather
        self.passed = self.lost = 0
        self._ports = ports
        self._dice = random.Random(seed)

    async def run(
        self, task_status: trio.TaskStatus[Mapping[Direction, int]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Carry datagrams until cancelled; started with the port at which each node finds each other one."""
        links = [
            await _open_link(dialer, target, port)
            for dialer in range(len(self._ports)) for target, port in enumerate(self._ports) if dialer != target
        ]
        async with trio.open_nursery() as nursery:
            for link in links:
                dialers: list[tuple[str, int]] = []
                nursery.start_soon(self._forwards, link, dialers)
                nursery.start_soon(self._backwards, link, dialers)
            fronts = {(link.dialer, link.target): link.front.getsockname()[1] for link in links}
            task_status.started(MappingProxyType(fronts))

    async def _forwards(self, link: _Link, dialers: list[tuple[str, int]]) -> None:
        """Carry what the dialer sends; remember where it sends from."""
        carry = self._carrier((link.dialer, link.target), link.back, lambda: link.address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry.deliver)
            while True:
                datagram, sender = await link.front.recvfrom(MAX_DATAGRAM)
                dialers[:] = [sender[:2]]
                carry.take(datagram)

    async def _backwards(self, link: _Link, dialers: list[tuple[str, int]]) -> None:
        """Carry the answers to who dialled last."""
        carry = self._carrier((link.target, link.dialer), link.front, lambda: dialers[0] if dialers else None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry.deliver)
            while True:
                try:
                    datagram, _ = await link.back.recvfrom(MAX_DATAGRAM)
                except ConnectionRefusedError:
                    continue  # the target is down
                carry.take(datagram)

    def _carrier(
        self, direction: Direction, socket: trio.socket.SocketType, address: Callable[[], tuple[str, int] | None]
    ) -> "_Carrier":
        return _Carrier(self, direction, socket, address, *trio.open_memory_channel[tuple[float, bytes]](MAX_IN_FLIGHT))

    def fate(self, direction: Direction) -> float | None:
        """Return how long a datagram takes in this direction, or None if it gets lost."""
        weather = self.weather
        if direction in weather.cut or (weather.loss and self._dice.random() < weather.loss):
            self.lost += 1
            return None
        self.passed += 1
        return weather.delay + weather.jitter * self._dice.random()


class _Carrier(NamedTuple):
    """Datagrams on their way in one direction of a link."""

    proxy: UdpProxy
    direction: Direction
    socket: trio.socket.SocketType
    address: Callable[[], tuple[str, int] | None]
    entrance: trio.MemorySendChannel[tuple[float, bytes]]
    exit: trio.MemoryReceiveChannel[tuple[float, bytes]]

    def take(self, datagram: bytes) -> None:
        """Let a datagram set out, or lose it."""
        delay = self.proxy.fate(self.direction)
        if delay is None:
            return
        try:
            self.entrance.send_nowait((trio.current_time() + delay, datagram))
        except trio.WouldBlock:
            self.proxy.lost += 1

    async def deliver(self) -> None:
        """Hand datagrams over when their time has come."""
        async for due, datagram in self.exit:
            await trio.sleep_until(due)
            address = self.address()
            if address is None or self.direction in self.proxy.weather.cut:
                continue
            try:
                await self.socket.sendto(datagram, address)
            except OSError:
                continue  # the receiver is down


async def _open_link(dialer: int, target: int, port: int) -> _Link:
    sockets = []
    for _ in range(2):
        one = trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM)
        for option in (trio.socket.SO_RCVBUF, trio.socket.SO_SNDBUF):
            one.setsockopt(trio.socket.SOL_SOCKET, option, BUFFER)
        await one.bind((HOST, 0))
        sockets.append(one)
    return _Link(dialer, target, sockets[0], sockets[1], (HOST, port))


class ProxyThread:
    """A proxy on a thread of its own, so that whoever uses it may do what he likes. Made by `running_proxy`.

    Attributes:
        fronts: the port at which each node finds each other one.
        weather: what the links do now.
    """

    def __init__(self, proxy: UdpProxy, fronts: Mapping[Direction, int], token: trio.lowlevel.TrioToken) -> None:
        self.fronts = fronts
        self.weather = proxy.weather
        self._proxy = proxy
        self._token = token

    def change(self, weather: Weather) -> None:
        """Let the links do something else, for all that arrives from now on."""
        self.weather = self._proxy.weather = weather  # the other thread reads the old value or the new one

    def stop(self, scope: trio.CancelScope) -> None:
        """End the proxy, which runs in this scope."""
        self._token.run_sync_soon(scope.cancel)

    @property
    def passed(self) -> int:
        """Datagrams that went through so far."""
        return self._proxy.passed


@contextmanager
def running_proxy(ports: list[int], weather: Weather) -> Iterator[ProxyThread]:
    """Run a proxy between nodes at these ports while the context lasts."""
    proxy = UdpProxy(ports, weather)
    ready: list[ProxyThread] = []
    scopes: list[trio.CancelScope] = []
    started = threading.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            fronts = await nursery.start(proxy.run)
            scopes.append(nursery.cancel_scope)
            ready.append(ProxyThread(proxy, fronts, trio.lowlevel.current_trio_token()))
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    started.wait()
    try:
        yield ready[0]
    finally:
        ready[0].stop(scopes[0])
        thread.join()
