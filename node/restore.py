"""A chain restored from a snapshot takes the place of the one in a home, in steps that a crash may come between.

The new chain is built in a folder of its own, and opened to see that its records give its root, before anything of the
old one is touched. Then two renames change the folders; `settle` finishes at the next start what a crash left between.
"""

import shutil
from collections.abc import Callable

from apps.genesis import init_genesis
from consensus.effects import Verifier
from crypto.errors import Reason, Refused
from node.home import Home, sync_folder
from node.snapshots import SnapshotFile
from state.chainstore import ChainStore
from state.encoding import encode
from state.genesis import Genesis, genesis_hash
from state.leveldb import LevelDB
from state.restoring import Restoration, restored_height
from state.types import BlockId, Height


def restore_file(
    home: Home, genesis: Genesis, snapshot: SnapshotFile, trusted: BlockId, verifier: Verifier,
    tell: Callable[[float], None], *, replace: bool = False,
) -> Height:
    """Put the state of a snapshot in the place of a stopped node's chain, and return its height.

    Args:
        home: exists.
        genesis: of its chain.
        snapshot: opened, not checked.
        trusted: id of the block after it.
        verifier: checks commits.
        tell: is told how much is done, from 0 to 1.
        replace: also if the home's chain is as far, or further.

    Raises:
        Refused: HOME_IN_USE; NOT_AVAILABLE if the chain is as far; BAD_PROOF, BAD_SNAPSHOT and those of
            `SnapshotFile.check`; CORRUPT_DATABASE. The chain stays as it was.
    """
    settle(home)
    old = LevelDB.open(home.chain)
    try:
        height = restored_height(old) or Height(0)
        if height >= snapshot.height and not replace:
            raise Refused(
                Reason.NOT_AVAILABLE, f"this home's chain is at block {height}, the snapshot at {snapshot.height}: "
                "there is nothing to win; --replace goes back nevertheless",
            )
        snapshot.check(genesis_hash(genesis), trusted, verifier)
        discard(home)
        store = LevelDB.open(home.new_chain)
        try:
            following = snapshot.index.following.header
            restoration = Restoration(store, snapshot.index.manifest, following.state_root)
            for done, index in enumerate(restoration.missing, 1):
                restoration.add(index, snapshot.chunk(index))
                tell(done / len(restoration.chunks))
            block = snapshot.index.block
            restoration.finish(
                encode(genesis), encode(block.header), encode(block.commit), following.receipts_root
            )
        finally:
            store.close()
    finally:
        old.close()
    swap(home, genesis)
    return snapshot.height


def swap(home: Home, genesis: Genesis) -> None:
    """Let the restored chain take the place of the old one, if its records give its root.

    Raises:
        Refused: CORRUPT_DATABASE, GENESIS_MISMATCH; the old chain is in its place then.
    """
    store = LevelDB.open(home.new_chain)
    try:
        ChainStore.open(store, genesis, init_genesis)
    finally:
        store.close()
    shutil.rmtree(home.old_chain, ignore_errors=True)
    if home.chain.exists():
        home.chain.rename(home.old_chain)
    home.new_chain.rename(home.chain)
    sync_folder(home.data)
    shutil.rmtree(home.old_chain, ignore_errors=True)


def settle(home: Home) -> None:
    """Finish a swap that a crash interrupted. Call it before the chain of a home is opened."""
    if home.old_chain.exists() and not home.chain.exists():
        home.new_chain.rename(home.chain)  # it was checked before the first rename
        sync_folder(home.data)
    if home.old_chain.exists():
        shutil.rmtree(home.old_chain)


def adopt_finished(home: Home, genesis: Genesis) -> Height | None:
    """Let a restored chain that only lacked its swap take the place of a chain that is behind it; return its height.

    It was finished from a proven snapshot in an earlier life. What is older than the chain, or not finished, stays.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE of the old chain; GENESIS_MISMATCH.
    """
    settle(home)
    if not home.new_chain.exists():
        return None
    heights: list[Height | None] = []
    for folder in (home.new_chain, home.chain):
        store = LevelDB.open(folder)
        try:
            heights.append(restored_height(store))
        finally:
            store.close()
    finished, here = heights
    if finished is None or finished <= (here or 0):
        return None
    swap(home, genesis)
    return finished


def discard(home: Home) -> None:
    """Throw away what an interrupted restoration left."""
    if home.new_chain.exists():
        shutil.rmtree(home.new_chain)
