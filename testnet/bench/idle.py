"""Four validators with nothing to do: no blocks, hardly any CPU."""

import argparse
import sys
import time

from testnet.bench.temporary import running_network
from testnet.measure import figure, json_lines, usage
from testnet.view import look

CPU_TARGET = 0.10
"""Cores for four idle nodes together."""
SETTLE = 3.0
"""Seconds after the start before the measurement begins."""


def main() -> int:
    """Watch an idle network and print its lines."""
    parser = argparse.ArgumentParser(prog="nexus bench idle", description=__doc__)
    parser.add_argument("--duration", type=float, default=20.0, help="seconds")
    given, _ = parser.parse_known_args()
    with running_network() as network:
        time.sleep(SETTLE)
        heights = [row.height for row in look(network)]
        processes = [member.process for member in network.members]
        before, begun = sum(usage(process).cpu for process in processes), time.monotonic()
        time.sleep(given.duration)
        used, elapsed = sum(usage(process).cpu for process in processes) - before, time.monotonic() - begun
        made = sum((row.height or 0) - (old or 0) for row, old in zip(look(network), heights, strict=True))
        memory = max(usage(process).memory for process in processes)
    lines = [
        figure("idle blocks", float(made), "blocks", None, f"in {elapsed:.0f} s; should be 0"),
        figure("idle cpu", used / elapsed, "cores for four nodes", CPU_TARGET, "reference: target"),
        figure("idle memory", memory / 1e6, "MB, largest node"),
    ]
    for line in json_lines(lines):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
