"""`make sim`: runs of the consensus core on the tests' made-up network, from one seed.

There are no sockets, disks or real signatures. Each run first loses, delays and reorders messages, and crashes nodes
that come back from what their log had synced; then the network heals and must reach its goal. A run fails if two
nodes commit different blocks at one height, if a node signs twice, or if the goal is not reached.
"""

import argparse
import sys
import time

from tests.consensus.simnet import Faults, Network

STEPS = 200_000
"""Inputs within which a healed network must reach its goal: a stall ends the run instead of hanging it."""


def run(seed: int, heights: int) -> str:
    """Simulate one network; return one line about it. Raises AssertionError if it went wrong."""
    size = (4, 7)[seed % 2]
    net = Network(size, seed, Faults(loss=0.15, delay=(1, 250)))
    begun, crashes = net.now, 0
    while max(net.heights()) < heights:
        net.run_for(net.random.randint(50, 600))
        node = net.random.choice(net.nodes)
        if not node.alive:
            node.boot()
        elif net.random.random() < 0.3 and sum(other.alive for other in net.nodes) > size * 2 // 3 + 1:
            node.crash()
            crashes += 1
    for node in net.nodes:
        if not node.alive:
            node.boot()
    net.faults.loss, net.faults.delay = 0.0, (1, 20)
    goal = max(net.heights()) + 10
    assert net.run_until(lambda: min(net.heights()) >= goal, STEPS), "the healed network stands still"
    rounds = max(commit.round for node in net.nodes for _, commit in node.decided.values())
    return (
        f"seed {seed:<6} {size} validators  height {min(net.heights()):<4} highest round {rounds:<2} "
        f"crashes {crashes:<3} inputs {net.steps:<7} simulated {(net.now - begun) / 1000:.0f} s"
    )


def main() -> int:
    """Run the seeds; the exit code is 1 at the first failure, whose seed is named."""
    parser = argparse.ArgumentParser(prog="make sim", description="Seeded simulation of the consensus core in memory.")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=6, help="how many seeds, one after the other")
    parser.add_argument("--heights", type=int, default=40, help="blocks to make under faults in each run")
    given = parser.parse_args()
    begun = time.monotonic()
    for seed in range(given.seed, given.seed + given.runs):
        try:
            line = run(seed, given.heights)
        except AssertionError as error:
            sys.stderr.write(f"seed {seed}: {error}; again with: make sim SEED={seed} RUNS=1\n")
            return 1
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{given.runs} runs agree, {time.monotonic() - begun:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
