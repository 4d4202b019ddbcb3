"""Real nodes behind the proxy: far apart with one of them dead, and parted for a while."""

import argparse
import signal

import pytest
import trio

from testnet.bench.partition import SIZE, measure
from testnet.bench.proxied import Payments, pay_steadily, proxied_network
from testnet.proxy import Weather

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_payments_become_final_over_a_distance_without_one_node() -> None:
    found = Payments([], [])
    with proxied_network(SIZE, Weather(delay=0.1, loss=0.01)) as here:
        here.network.stop(here.network.members[-1].name, signal.SIGKILL)
        urls = [member.url for member in here.network.members[:-1]]
        trio.run(pay_steadily, urls, here.network.root / "senders", 10, 0.3, found)
    assert found.refused == []
    assert len(found.delays) == 10


def test_a_parted_network_goes_on_when_it_is_whole_again() -> None:
    given = argparse.Namespace(times=1, duration=5.0, calm=3.0)
    with proxied_network(SIZE, Weather(delay=0.01)) as here:
        lines = trio.run(measure, here, given)
    assert [line.name for line in lines] == ["partition halves", "partition alone"]
