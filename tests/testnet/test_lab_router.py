"""The laboratory's router: who a datagram seems to come from, delay, loss, order, cuts."""

import socket
import time
from collections.abc import Iterator, Mapping

import pytest
import trio

from testnet.lab.manifest import LinkClass
from testnet.lab.router import Router, running_router
from testnet.proxy import HOST

NAMES = ("a", "b", "c")
Sockets = Mapping[str, trio.socket.SocketType]


@pytest.fixture
async def sockets() -> Sockets:
    made = {}
    for name in NAMES:
        made[name] = trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM)
        await made[name].bind((HOST, 0))
    return made


def ports(sockets: Sockets) -> dict[str, int]:
    return {name: one.getsockname()[1] for name, one in sockets.items()}


async def test_everybody_is_known_by_a_public_port(sockets: Sockets) -> None:
    router = Router(ports(sockets), {}, 1)
    async with trio.open_nursery() as nursery:
        public = await nursery.start(router.run)
        with trio.fail_after(10):
            await sockets["a"].sendto(b"hello", (HOST, public["b"]))
            datagram, sender = await sockets["b"].recvfrom(100)
            assert (datagram, sender[1]) == (b"hello", public["a"])
            await sockets["b"].sendto(b"answer", (HOST, sender[1]))
            datagram, sender = await sockets["a"].recvfrom(100)
            assert (datagram, sender[1]) == (b"answer", public["b"])
        assert (router.passed, router.lost) == (2, 0)
        nursery.cancel_scope.cancel()


async def test_a_stranger_is_not_heard(sockets: Sockets) -> None:
    router = Router(ports(sockets), {}, 1)
    async with trio.open_nursery() as nursery:
        public = await nursery.start(router.run)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger, trio.fail_after(10):
            stranger.sendto(b"?", (HOST, public["a"]))
            while not router.lost:
                await trio.sleep(0.01)
        assert router.passed == 0
        nursery.cancel_scope.cancel()


async def test_a_class_delays_one_way_and_keeps_the_order(sockets: Sockets) -> None:
    slow = LinkClass(delay=150.0, jitter=50.0)
    router = Router(ports(sockets), {("a", "b"): slow}, 1)
    async with trio.open_nursery() as nursery:
        public = await nursery.start(router.run)
        with trio.fail_after(10):
            begun = trio.current_time()
            for number in range(20):
                await sockets["a"].sendto(bytes([number]), (HOST, public["b"]))
            await sockets["c"].sendto(b"fast", (HOST, public["b"]))
            came = [(await sockets["b"].recvfrom(100))[0] for _ in range(21)]
            assert came == [b"fast", *(bytes([number]) for number in range(20))]
            assert trio.current_time() - begun >= 0.15
        nursery.cancel_scope.cancel()


async def test_a_share_gets_lost_by_the_seed(sockets: Sockets) -> None:
    async def lost(seed: int) -> int:
        router = Router(ports(sockets), {("a", "b"): LinkClass(loss=0.3)}, seed)
        async with trio.open_nursery() as nursery:
            public = await nursery.start(router.run)
            for number in range(200):
                await sockets["a"].sendto(bytes([number]), (HOST, public["b"]))
            with trio.fail_after(10):
                while router.passed + router.lost < 200:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        return router.lost

    assert 30 < await lost(1) == await lost(1) < 90


async def test_a_group_that_is_cut_off_hears_itself_alone(sockets: Sockets) -> None:
    router = Router(ports(sockets), {}, 1)
    async with trio.open_nursery() as nursery:
        public = await nursery.start(router.run)
        router.part((frozenset({"a", "b"}),))
        with trio.fail_after(10):
            await sockets["c"].sendto(b"no", (HOST, public["a"]))
            while not router.lost:
                await trio.sleep(0.01)
            await sockets["b"].sendto(b"yes", (HOST, public["a"]))
            assert (await sockets["a"].recvfrom(100))[0] == b"yes"
            router.part(())
            await sockets["c"].sendto(b"again", (HOST, public["a"]))
            assert (await sockets["a"].recvfrom(100))[0] == b"again"
        nursery.cancel_scope.cancel()


@pytest.fixture
def plain() -> Iterator[dict[str, socket.socket]]:
    made = {name: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for name in ("a", "b")}
    for one in made.values():
        one.bind((HOST, 0))
        one.settimeout(10)
    yield made
    for one in made.values():
        one.close()


def test_on_a_thread_of_its_own_it_is_cut_and_healed_from_outside(plain: dict[str, socket.socket]) -> None:
    real = {name: one.getsockname()[1] for name, one in plain.items()}
    with running_router(real, {}, 1) as router:
        for number in range(100):
            router.cut(frozenset("a"))
            router.heal(frozenset("a"))
            plain["a"].sendto(bytes([number]), (HOST, router.public["b"]))
            assert plain["b"].recvfrom(100)[0] == bytes([number])
        router.cut(frozenset("a"))
        plain["a"].sendto(b"never", (HOST, router.public["b"]))
        for _ in range(1000):
            if router.figures == (100, 1):
                break
            time.sleep(0.01)
        assert router.figures == (100, 1)
