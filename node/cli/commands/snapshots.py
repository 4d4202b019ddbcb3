"""`nexus snapshots`: copies of the state, to join by and as a backup."""

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.api.text import hash_from
from node.chain import open_chain
from node.cli.progress import bar
from node.cli.session import Session, command
from node.home import Home, open_home
from node.light.checkpoint import load_checkpoint
from node.node import load_genesis
from node.restore import restore_file, settle
from node.snapshots import SnapshotFile, copy_snapshot, draft_snapshot, snapshots_in, write_snapshot
from node.snapshotting import REQUEST
from state.leveldb import LevelDB
from state.types import BlockId, Height

PATIENCE: Final = 600.0
"""Seconds that a running node has for a snapshot."""
app = typer.Typer(no_args_is_help=True)
Wanted = Annotated[int, typer.Option("--height", min=0, help="Of the snapshot; 0 for the newest.")]


@command(app, "list")
def list_snapshots(session: Session) -> None:
    """Show the snapshots of this home, and the block id by which each is trusted."""
    session.show([_shown(one) for one in snapshots_in(open_home(session.home).snapshots)])


@command(app)
def create(session: Session) -> None:
    """Make a snapshot now: of the state before the last block. A running node makes it while blocks go on."""
    home = open_home(session.home)
    settle(home)
    try:
        store = LevelDB.open(home.chain)
    except Refused as refused:
        if refused.reason is not Reason.HOME_IN_USE:
            raise
        session.show(_shown(_asked_of_node(home)))
        return
    try:
        draft = draft_snapshot(open_chain(store, load_genesis(home)))
        try:
            with bar(session, "writing") as tell:
                made = write_snapshot(draft, home.snapshots, tell)
        finally:
            draft.frozen.close()
    finally:
        store.close()
    session.show(_shown(made))


@command(app)
def export(
    session: Session, file: Annotated[Path, typer.Argument(help="Where to write it.")], height: Wanted = 0
) -> None:
    """Copy a snapshot of this home into a file: a backup, also while the node runs."""
    found = {one.height: one for one in snapshots_in(open_home(session.home).snapshots)}
    wanted = Height(height or max(found, default=0))
    if wanted not in found:
        raise Refused(
            Reason.NOT_AVAILABLE, "there is no such snapshot in this home: nexus snapshots list shows what there is, "
            "nexus snapshots create makes one",
        )
    copy_snapshot(found[wanted], file)
    session.show({**_shown(found[wanted]), "file": str(file)})
    session.note(f"keep trust_hash with it: nexus snapshots restore {file.name} --trust-hash asks for it")


@command(app)
def restore(
    session: Session, file: Annotated[Path, typer.Argument(help="A snapshot.")],
    trust_hash: Annotated[str, typer.Option(help="Id of the block after it, from somebody you trust.")] = "",
    checkpoint: Annotated[Path | None, typer.Option(help="File that holds that block.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also if the chain here is further.")] = False,
) -> None:
    """Put the state of a snapshot in the place of this home's chain. The node must be stopped."""
    home = open_home(session.home)
    snapshot = SnapshotFile.open(file)
    trusted = _trusted(snapshot, trust_hash, checkpoint)
    with bar(session, "restoring") as tell:
        height = restore_file(home, load_genesis(home), snapshot, trusted, SchemeVerifier(), tell, replace=replace)
    session.show({"height": height, "state_root": snapshot.index.following.header.state_root.hex()})
    session.note(f"the next start goes on with block {height + 1}")


def _trusted(snapshot: SnapshotFile, text: str, checkpoint: Path | None) -> BlockId:
    if bool(text) == (checkpoint is not None):
        raise Refused(
            Reason.USAGE, f"what is trusted? Give the id of block {snapshot.height + 1} with --trust-hash, or a "
            "checkpoint file of that block with --checkpoint; nexus snapshots list shows the id where it was made",
        )
    if checkpoint is None:
        return BlockId(hash_from(text))
    block = load_checkpoint(checkpoint, SchemeVerifier())
    return block.header.block_id


def _asked_of_node(home: Home) -> SnapshotFile:
    """Let the running node make one, and wait for it."""
    before = {one.path: one.path.stat().st_mtime_ns for one in snapshots_in(home.snapshots)}
    home.snapshots.mkdir(mode=0o700, exist_ok=True)
    request = home.snapshots / REQUEST
    request.touch()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for one in snapshots_in(home.snapshots):
            if before.get(one.path) != one.path.stat().st_mtime_ns:
                return one
        time.sleep(0.2)
    request.unlink(missing_ok=True)
    raise Refused(Reason.TIMED_OUT, "the running node made no snapshot: its log says why")


def _shown(snapshot: SnapshotFile) -> dict[str, Any]:
    offer, following = snapshot.offer, snapshot.index.following
    return {
        "height": offer.height, "chunks": offer.chunks, "bytes": offer.size, "file": str(snapshot.path),
        "trust_height": following.height, "trust_hash": following.header.block_id.hex(),
    }
