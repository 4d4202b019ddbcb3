"""Taking over a chain: block by block as fast as a new node executes them, and by a snapshot from far behind.

    python -m testnet.bench.sync [--rate N] [--duration S] [--behind BLOCKS] [--only blocks|snapshot]

Four validators make full blocks under load. Then a fifth node, from a genesis file and one seed, takes the chain over
block by block; what it took is compared with the time in which the blocks were made. Then a chain is forged (minutes;
it is kept in the folder for temporary files for the next time), and a new node gets to its tip by a snapshot.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetStatus
from node.client import Client
from testnet.arrival import make_snapshot
from testnet.bench.temporary import running_network
from testnet.forge import Plan, forge
from testnet.load import run_load
from testnet.measure import Figure, commit, figure, json_lines
from testnet.network import LocalNetwork
from testnet.newcomer import invite
from testnet.view import look

TIMES: Final = 5.0
"""How many times as fast as it was made a chain shall be taken over."""
TO_TIP: Final = 60.0
"""Seconds in which a node that is far behind shall be at the tip by a snapshot."""
KEPT: Final = 86_400.0
"""Seconds for which a forged chain is used again: its genesis has to stay younger than the trust period."""
PATIENCE: Final = 300.0
LOOK_EVERY: Final = 0.02


class Chain(NamedTuple):
    """The part of a chain that was made under load: its heights, transactions, and the seconds that it took."""

    first: int
    last: int
    transactions: int
    seconds: float


def made_under_load(network: LocalNetwork, rate: float, duration: float, senders: int) -> Chain:
    """Load the network, and return the blocks from the first to the last that is nearly full."""
    with Client(network.members[0].url, timeout=30.0) as client:
        before = int(client.ask(GetStatus()).height)
    report = run_load(network, rate, duration, senders, lambda text: None)
    if report.committed < report.offered:
        raise Refused(Reason.TIMED_OUT, f"{report.committed} of {report.offered} payments became final")
    with Client(network.members[0].url, timeout=30.0) as client:
        last = int(client.ask(GetStatus()).height)
        blocks = [client.ask(GetBlock(height=str(height))) for height in range(before + 1, last + 1)]
    enough = max(len(block.transactions) for block in blocks) / 3
    full = [place for place, block in enumerate(blocks) if len(block.transactions) >= enough]
    begin, end = full[0], full[-1]
    count = sum(len(block.transactions) for block in blocks[begin + 1 : end + 1])
    seconds = (int(blocks[end].header.time) - int(blocks[begin].header.time)) / 1000
    return Chain(before + 1 + begin, before + 1 + end, count, seconds)


class TakenOver(NamedTuple):
    """How a new node took a chain over: seconds for the loaded part, and from the start of the process to the tip."""

    loaded: float
    whole: float


def taken_over(network: LocalNetwork, chain: Chain, home: Path) -> TakenOver:
    """Let a new node take over the chain block by block. Raises Refused(NODE_DIED, TIMED_OUT)."""
    newcomer = invite(home, network, network.members[0])
    began = time.perf_counter()
    process = newcomer.start("--sync", "blocks")
    marks: list[tuple[int, float]] = []
    try:
        while not marks or marks[-1][0] < chain.last:
            if time.perf_counter() - began > PATIENCE:
                raise Refused(Reason.TIMED_OUT, f"after {PATIENCE:.0f} s at {marks[-1:]} of {chain.last}")
            status = newcomer.status(process)
            if status is not None:
                marks.append((int(status.height), time.perf_counter()))
            time.sleep(LOOK_EVERY)
    finally:
        newcomer.stop(process)
    entered = max((at for height, at in marks if height <= chain.first), default=began)
    return TakenOver(marks[-1][1] - entered, marks[-1][1] - began)


def forged(blocks: int) -> LocalNetwork:
    """Return a network of one validator with so many blocks and a snapshot; that of the last time if it still fits."""
    place = Path(tempfile.gettempdir()) / f"nexus-bench-forged-{blocks}"
    mark = place / "commit"
    is_fresh = mark.exists() and time.time() - mark.stat().st_mtime < KEPT
    if not is_fresh or mark.read_text() != commit():
        shutil.rmtree(place, ignore_errors=True)
        forge(place / "net", Plan(blocks))
        make_snapshot(place / "net" / "node0")
        mark.write_text(commit())
    return LocalNetwork(place / "net")


def back_at_tip(network: LocalNetwork, home: Path, *words: str) -> tuple[float, int]:
    """Let a new node get to the tip; return the seconds from the start of its process, and the height.

    Raises:
        Refused: NODE_DIED, TIMED_OUT.
    """
    (member,) = network.members
    newcomer = invite(home, network, member)
    with Client(member.url, timeout=30.0) as client:
        goal = int(client.ask(GetStatus()).height)
    began = time.perf_counter()
    process = newcomer.start(*words)
    try:
        while time.perf_counter() - began < PATIENCE:
            status = newcomer.status(process)
            if status is not None and status.joining is None and int(status.height) >= goal:
                return time.perf_counter() - began, goal
            time.sleep(LOOK_EVERY)
    finally:
        newcomer.stop(process)
    raise Refused(Reason.TIMED_OUT, f"not at block {goal} after {PATIENCE:.0f} s")


def far_behind(blocks: int, folder: Path) -> Iterator[Figure]:
    """Yield the lines of a node that is so many blocks behind."""
    network = forged(blocks)
    network.start_all()
    try:
        network.wait_until(lambda: all(row.state == "running" for row in look(network)), "the forged chain's node")
        by_snapshot, height = back_at_tip(network, folder / "by-snapshot")
        note = f"from a genesis file and one seed, {height} blocks behind; imports, keys and peers included"
        yield figure("sync by snapshot", by_snapshot, "s", TO_TIP, note)
        by_blocks, _ = back_at_tip(network, folder / "by-blocks", "--sync", "blocks")
        yield figure("sync by blocks", by_blocks, "s", None, f"the same {height} blocks one by one, nearly empty")
    finally:
        network.stop_all()


def figures(chain: Chain, taken: TakenOver) -> Iterator[Figure]:
    """Yield the lines."""
    note = f"{chain.transactions} payments in {chain.last - chain.first} blocks, made in {chain.seconds:.1f} s"
    yield figure("sync full blocks", chain.seconds / taken.loaded, "times as fast as made", TIMES, note)
    made = chain.transactions / chain.seconds
    yield figure("sync payments", chain.transactions / taken.loaded, "tx/s", made * TIMES, "verified and executed")
    yield figure("sync from the start of the process to the tip", taken.whole, "s", None, "imports and peers included")


def main() -> int:
    """Measure and print the lines."""
    parser = argparse.ArgumentParser(prog="nexus bench sync", description=__doc__)
    parser.add_argument("--rate", type=float, default=600.0, help="payments a second that the chain is made with")
    parser.add_argument("--duration", type=float, default=20.0, help="seconds of load")
    parser.add_argument("--senders", type=int, default=64, help="accounts that pay")
    parser.add_argument("--behind", type=int, default=10_000, help="blocks of the forged chain")
    parser.add_argument("--only", choices=("blocks", "snapshot"), help="half of it")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nexus-bench-"))
    try:
        if given.only != "snapshot":
            with running_network() as network:
                chain = made_under_load(network, given.rate, given.duration, given.senders)
                taken = taken_over(network, chain, folder / "newcomer")
            for line in json_lines(figures(chain, taken)):
                print(line, flush=True)
        if given.only != "blocks":
            for line in json_lines(far_behind(given.behind, folder)):
                print(line, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
