"""A snapshot of a million outputs: written while blocks go on, with what that does to them, and restored.

    python -m testnet.bench.snapshot [outputs]
"""

import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from consensus.light import LightBlock
from consensus.types import commit_codec, header_codec
from node.snapshots import Draft, SnapshotFile, write_snapshot
from node.snapshotting import REST
from state.encoding import encode
from state.leveldb import LevelDB
from state.restoring import Restoration
from state.types import Height
from testnet.bench.execution import Bench, Clock, admit, bodies, known, open_bench, pretended, run_block, settle
from testnet.measure import Figure, figure, json_lines

OUTPUTS: Final = 1_000_000
BLOCK_SIZE: Final = 250
"""Transactions in a block: what four validators on one small machine commit in half a second."""
INTERVAL: Final = 0.5
"""Seconds from one block to the next."""
QUIET_BLOCKS: Final = 12
MOST_BLOCKS: Final = 120
MEGABYTE: Final = 1e6


def run(outputs: int = OUTPUTS, folder: Path | None = None) -> list[Figure]:
    """Load the outputs and measure.

    Args:
        outputs: how many unspent outputs the state holds at the start.
        folder: where the databases go for the time of the run; default is a temporary folder.
    """
    place = Path(tempfile.mkdtemp(prefix="nexus-bench-", dir=folder))
    try:
        bench = open_bench(place / "chain", outputs)
        settle()
        quiet = blocks(bench, lambda: True, QUIET_BLOCKS)
        draft = draft_of(bench)
        files: list[SnapshotFile] = []
        began = time.perf_counter()
        thread = threading.Thread(target=lambda: files.append(write_snapshot(draft, place, rest=REST)))
        thread.start()
        busy = blocks(bench, thread.is_alive, MOST_BLOCKS)
        thread.join()
        exported = time.perf_counter() - began
        draft.frozen.close()
        restored = restore(files[0], place / "restored")
        return figures(outputs, quiet, busy, exported, restored, files[0])
    finally:
        shutil.rmtree(place)


def blocks(bench: Bench, goes_on: Callable[[], bool], most: int) -> list[float]:
    """Run a block every INTERVAL and return the seconds that each took, from wire bytes to the disk."""
    times: list[float] = []
    while goes_on() and len(times) < most:
        raws = pretended(bodies(bench, BLOCK_SIZE))
        admit(bench, raws)
        began = time.perf_counter()
        run_block(bench, raws, known, indexes=True, clock=Clock())
        times.append(time.perf_counter() - began)
        time.sleep(max(0.0, INTERVAL - times[-1]))
    return times


def draft_of(bench: Bench) -> Draft:
    """Freeze the state; the light blocks beside it are unsigned, and nobody checks them here."""
    chain, validators = bench.chain, bench.tip.validators

    def light(height: int) -> LightBlock:
        header = header_codec.decode(chain.header(Height(height)))
        return LightBlock(header, commit_codec.decode(chain.commit(Height(height))), validators)

    return Draft(chain.freeze(), light(chain.height - 1), light(chain.height))


def restore(snapshot: SnapshotFile, folder: Path) -> float:
    """Restore a snapshot into a new database and return the seconds that it took, checks included."""
    began = time.perf_counter()
    store = LevelDB.open(folder)
    try:
        index = snapshot.index
        restoration = Restoration(store, index.manifest, index.following.header.state_root)
        for number in restoration.missing:
            restoration.add(number, snapshot.chunk(number))
        block, following = index.block, index.following
        restoration.finish(b"", encode(block.header), encode(block.commit), following.header.receipts_root)
    finally:
        store.close()
    return time.perf_counter() - began


def figures(
    outputs: int, quiet: list[float], busy: list[float], exported: float, restored: float, snapshot: SnapshotFile
) -> list[Figure]:
    """Return what was measured."""
    offer, sizes = snapshot.offer, snapshot.index.sizes
    note = f"{outputs} outputs, blocks of {BLOCK_SIZE}"
    before, during = statistics.median(quiet) * 1e3, statistics.median(busy) * 1e3
    return [
        figure("snapshot export", exported, "s", note=f"{note}; {offer.chunks} chunks, {offer.size / MEGABYTE:.1f} MB"),
        figure("snapshot block time while exporting", during, "ms", before, f"{note}; {len(busy)} blocks"),
        figure("snapshot longest block while exporting", max(busy) * 1e3, "ms", max(quiet) * 1e3, note),
        figure("snapshot median chunk", statistics.median(sizes) / 1024, "KiB", 256, note),
        figure("snapshot restore", restored, "s", 60, f"{note}; chunks checked, owner index made"),
    ]


if __name__ == "__main__":
    for line in json_lines(run(int(sys.argv[1]) if len(sys.argv) > 1 else OUTPUTS)):
        print(line)
