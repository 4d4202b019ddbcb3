"""Finality on real processes that are far apart, one of them dead: payments through the proxy, submission to commit."""

import argparse
import signal
import sys
from collections import Counter
from typing import Final

import trio

from testnet.bench.proxied import Payments, pay_steadily, proxied_network
from testnet.measure import figure, json_lines, percentile
from testnet.proxy import Weather

P99_TARGET: Final = 15.0
SIZE: Final = 4


def main() -> int:
    """Pay while one of four nodes is dead, and print the lines."""
    parser = argparse.ArgumentParser(prog="nexus bench distance", description=__doc__)
    parser.add_argument("--payments", type=int, default=60)
    parser.add_argument("--pace", type=float, default=0.4, help="seconds between two payments")
    parser.add_argument("--round-trip", type=float, default=0.2, help="seconds")
    parser.add_argument("--loss", type=float, default=0.0, help="share of datagrams that get lost")
    parser.add_argument("--alive", action="store_true", help="let the fourth node live")
    given = parser.parse_args()
    found = Payments([], [])
    with proxied_network(SIZE, Weather(delay=given.round_trip / 2, loss=given.loss)) as here:
        living = list(here.network.members)
        if not given.alive:
            here.network.stop(living.pop().name, signal.SIGKILL)
        urls = [member.url for member in living]
        trio.run(pay_steadily, urls, here.network.root / "senders", given.payments, given.pace, found)
        passed = here.proxy.passed
    about = f"{given.round_trip * 1000:.0f} ms round trips, {len(urls)} of {SIZE} nodes alive, {given.loss:.0%} loss"
    lines = [
        figure("distance finality p50", percentile(found.delays, 0.50), "s", None, about),
        figure("distance finality p99", percentile(found.delays, 0.99), "s", P99_TARGET, f"reference: target; {about}"),
        figure("distance slowest", max(found.delays, default=float("nan")), "s", None, about),
        figure("distance committed", float(len(found.delays)), "payments", float(given.payments), "reference: offered"),
        figure("distance refused", float(len(found.refused)), "payments", None, str(dict(Counter(found.refused)))),
        figure("distance datagrams", float(passed), "through the proxy"),
    ]
    for line in json_lines(lines):
        print(line)
    return 0 if len(found.delays) == given.payments else 1


if __name__ == "__main__":
    sys.exit(main())
