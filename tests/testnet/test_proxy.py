"""The UDP proxy: datagrams and answers pass; delay, loss and cuts do what they say."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import trio

from testnet.proxy import HOST, UdpProxy, Weather, halves, running_proxy


class Desk(NamedTuple):
    """Two nodes and what lies between them; the second answers in capitals."""

    proxy: UdpProxy
    first: trio.socket.SocketType
    front: tuple[str, int]


async def bound() -> trio.socket.SocketType:
    one = trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM)
    await one.bind((HOST, 0))
    return one


@asynccontextmanager
async def desk(weather: Weather) -> AsyncIterator[Desk]:
    first, second = await bound(), await bound()
    proxy = UdpProxy([first.getsockname()[1], second.getsockname()[1]], weather, seed=random.randrange(1000))

    async def answer() -> None:
        while True:
            datagram, sender = await second.recvfrom(100)
            await second.sendto(datagram.upper(), sender)

    async with trio.open_nursery() as nursery:
        fronts = await nursery.start(proxy.run)
        nursery.start_soon(answer)
        yield Desk(proxy, first, (HOST, fronts[0, 1]))
        nursery.cancel_scope.cancel()


async def ask(here: Desk, datagram: bytes, patience: float = 5.0) -> bytes | None:
    await here.first.sendto(datagram, here.front)
    with trio.move_on_after(patience):
        found, sender = await here.first.recvfrom(100)
        assert sender[:2] == here.front
        return found
    return None


async def test_datagrams_and_answers_pass() -> None:
    async with desk(Weather()) as here:
        assert await ask(here, b"hello") == b"HELLO"
        assert (here.proxy.passed, here.proxy.lost) == (2, 0)


async def test_a_delay_is_waited_for_both_ways() -> None:
    async with desk(Weather(delay=0.1)) as here:
        begun = trio.current_time()
        assert await ask(here, b"hello") == b"HELLO"
        assert trio.current_time() - begun >= 0.2


async def test_what_is_lost_does_not_come() -> None:
    async with desk(Weather(loss=1.0)) as here:
        assert await ask(here, b"hello", patience=0.2) is None
        assert (here.proxy.passed, here.proxy.lost) == (0, 1)


@pytest.mark.parametrize("direction", [(0, 1), (1, 0)])
async def test_one_direction_is_cut_and_heals(direction: tuple[int, int]) -> None:
    async with desk(Weather(cut=frozenset({direction}))) as here:
        assert await ask(here, b"hello", patience=0.2) is None
        assert here.proxy.passed == (0 if direction == (0, 1) else 1)
        here.proxy.weather = Weather()
        assert await ask(here, b"again") == b"AGAIN"


def test_halves_are_cut_both_ways_and_stay_whole_inside() -> None:
    cut = halves(4, 2)
    assert len(cut) == 8
    assert (0, 2) in cut and (2, 0) in cut
    assert (0, 1) not in cut and (2, 3) not in cut


def test_a_proxy_on_a_thread_ends_with_its_context() -> None:
    with running_proxy([1, 2], Weather()) as proxy:
        assert set(proxy.fronts) == {(0, 1), (1, 0)}
        proxy.change(Weather(delay=1.0))
        assert proxy.weather.delay == 1.0
