"""Four validators under load: payments signed beforehand, sent to all nodes, counted when final on all of them."""

import argparse
import sys
from collections.abc import Iterator

from testnet.bench.temporary import running_network
from testnet.load import LoadReport, run_load
from testnet.measure import Figure, figure, json_lines

P50_TARGET = 1.0
P99_TARGET = 2.0
CPU_TARGET = 2000.0
MEMORY_TARGET = 300.0


def figures(report: LoadReport) -> Iterator[Figure]:
    """Yield the lines of one load. References: the targets for 600 payments a second, and the ceiling by signatures."""
    offer = f"{report.rate:.0f}/s for {report.duration:.0f} s, {report.senders} senders, {len(report.nodes)} nodes"
    micro, mega = 1e6, 1e6
    yield figure("network committed", report.per_second, "tx/s", report.rate, f"reference: offered; {offer}")
    ceiling = "reference: 2 cores / (nodes x one verification)"
    yield figure("network of ceiling", report.per_second, "tx/s", report.ceiling, ceiling)
    yield figure("network refused", float(sum(report.refused.values())), "tx", None, str(report.refused or "none"))
    yield figure("network unfinished", float(report.offered - report.committed), "tx")
    yield figure("network finality p50", report.p50, "s", P50_TARGET, "reference: target")
    yield figure("network finality p99", report.p99, "s", P99_TARGET, "reference: target")
    yield figure("network cpu", report.cpu_each * micro, "us/tx over all nodes", CPU_TARGET, "reference: target")
    yield figure("network falcon verify", report.verify * micro, "us", None, "just before the load")
    yield figure("network signing", report.signing, "s", None, "before the load, not counted")
    for node in report.nodes:
        yield figure(f"network {node.name} memory", node.memory / mega, "MB", MEMORY_TARGET, "reference: target")
        yield figure(f"network {node.name} cpu", node.cpu_seconds / report.elapsed, "cores")


def main() -> int:
    """Run the load and print its lines."""
    parser = argparse.ArgumentParser(prog="nexus bench network", description=__doc__)
    parser.add_argument("--rate", type=float, default=600.0, help="payments a second")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds")
    parser.add_argument("--senders", type=int, default=64, help="accounts that pay")
    given = parser.parse_args()
    with running_network() as network:
        report = run_load(network, given.rate, given.duration, given.senders, lambda text: None)
    for line in json_lines(figures(report)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
