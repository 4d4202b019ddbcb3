"""Snapshots as files: written while blocks go on, read, checked, and kept on a shelf that peers are served from.

A file is the chunks one after the other, an index, and a trailer that says where the index is:

    chunks || SnapshotIndex || length of the index (8, big-endian) || SHA3-256 of the index || "nexus-snapshot-1"

The index holds the manifest and two light blocks: of the snapshot's height, which becomes the restored chain's tip, and
of the one after, whose header names the state root. So a file holds all that a restoration takes, except a reason to
believe in that header: who restores names its id (`docs/protocol.md` says how chunks are checked).
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Protocol

from msgspec import Meta

from consensus.effects import Verifier
from consensus.light import MAX_LIGHT_BLOCK, LightBlock, check_light_block
from crypto.errors import Reason, Refused
from node.chain import Chain
from node.home import sync_folder
from p2p.wire import MAX_OFFERS, SnapshotOffer
from state.encoding import Codec, Record, encode
from state.snapshot import (
    MAX_CHUNK,
    MAX_MANIFEST,
    FrozenState,
    Manifest,
    chunks_of,
    make_manifest,
    read_chunk,
)
from state.types import BlockId, ChainId, Height

SUFFIX: Final = ".snapshot"
MAGIC: Final = b"nexus-snapshot-1"
MAX_CHUNKS: Final = 2**20
KEPT: Final = 2
"""Snapshots that a node keeps: a peer in the middle of one has time to finish."""
_DIGEST: Final = 32
_TRAILER: Final = 8 + _DIGEST + len(MAGIC)


class SnapshotIndex(Record, frozen=True):
    """What a file holds besides the chunks. `sizes` are those of the chunks in bytes."""

    manifest: Manifest
    block: LightBlock
    following: LightBlock
    sizes: Annotated[tuple[Annotated[int, Meta(ge=1, le=MAX_CHUNK)], ...], Meta(max_length=MAX_CHUNKS)]


index_codec: Final = Codec(SnapshotIndex, MAX_MANIFEST + 2 * MAX_LIGHT_BLOCK + 6 * MAX_CHUNKS)


def _bad(path: Path, why: str) -> Refused:
    return Refused(
        Reason.BAD_SNAPSHOT, f"{path.name} {why}: export it again (nexus snapshots export), or name another file"
    )


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot on disk. Its index is decoded; its chunks are read when they are wanted, and not checked here.

    Attributes:
        path: of the file.
        index: what it says of itself.
        starts: where each chunk begins.
    """

    path: Path
    index: SnapshotIndex
    starts: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> "SnapshotFile":
        """Read the index of a file. Raises Refused(BAD_SNAPSHOT)."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TRAILER))
                trailer = file.read()
                length = int.from_bytes(trailer[:8], "big")
                if not trailer.endswith(MAGIC) or len(trailer) != _TRAILER or length > size - _TRAILER:
                    raise _bad(path, "is no snapshot, or not all of one")
                file.seek(size - _TRAILER - length)
                raw = file.read(length)
        except OSError as error:
            raise _bad(path, f"cannot be read ({error.strerror})") from None
        if hashlib.sha3_256(raw).digest() != trailer[8 : 8 + _DIGEST]:
            raise _bad(path, "is damaged")
        try:
            index = index_codec.decode(raw)
        except Refused as refused:
            raise _bad(path, f"is damaged ({refused.detail})") from None
        starts = [0]
        for one in index.sizes:
            starts.append(starts[-1] + one)
        if starts.pop() != size - _TRAILER - length:
            raise _bad(path, "has another length than it says")
        return cls(path, index, tuple(starts))

    @property
    def height(self) -> Height:
        """The state is the one after this block."""
        return self.index.manifest.height

    @property
    def offer(self) -> SnapshotOffer:
        """What peers are told of it."""
        return SnapshotOffer(
            self.height, self.index.manifest.limit, len(self.starts), sum(self.index.sizes)
        )

    def chunk(self, number: int) -> bytes:
        """Return the bytes of a chunk, unchecked. Raises Refused(NOT_AVAILABLE, BAD_SNAPSHOT)."""
        if not 0 <= number < len(self.starts):
            raise Refused(Reason.NOT_AVAILABLE, f"the snapshot has {len(self.starts)} chunks")
        try:
            with self.path.open("rb") as file:
                file.seek(self.starts[number])
                return file.read(self.index.sizes[number])
        except OSError as error:
            raise _bad(self.path, f"cannot be read ({error.strerror})") from None

    def check(self, chain_id: ChainId, trusted: BlockId, verifier: Verifier) -> None:
        """Check everything but the chunks.

        Args:
            chain_id: of the chain that is to be restored.
            trusted: id of the block after the snapshot's height, from somebody who is trusted.
            verifier: checks the commits.

        Raises:
            Refused: WRONG_CHAIN, BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE, BAD_PROOF, WRONG_VERSION.
        """
        block, following = self.index.block, self.index.following
        if following.header.chain_id != chain_id:
            raise Refused(Reason.WRONG_CHAIN, f"{self.path.name} is of another chain than this home")
        if following.header.block_id != trusted:
            raise Refused(
                Reason.BAD_HEADER, f"{self.path.name} leads to block {following.height} with the id "
                f"{following.header.block_id.hex()}, not to the trusted one: ask somebody you trust for the id of "
                "that block, or take another file",
            )
        check_pair(block, following, self.height, chain_id, verifier)
        if len(chunks_of(self.index.manifest, following.header.state_root)) != len(self.starts):
            raise _bad(self.path, "has another number of chunks than its manifest")


def check_pair(
    block: LightBlock, following: LightBlock, height: Height, chain_id: ChainId, verifier: Verifier
) -> None:
    """Check that a light block is the one of a height, and below another one that is trusted.

    Raises:
        Refused: BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE, WRONG_CHAIN, WRONG_VERSION.
    """
    if block.height != height or following.height != height + 1 or following.header.previous != block.header.block_id:
        raise Refused(Reason.BAD_HEADER, f"block {height} is not the one below the trusted block {height + 1}")
    for one in (block, following):
        check_light_block(one, chain_id, verifier)


# ---- writing


@dataclass(frozen=True, slots=True)
class Draft:
    """A snapshot that is about to be written: the state, and the two light blocks that belong to it."""

    frozen: FrozenState
    block: LightBlock
    following: LightBlock

    @property
    def height(self) -> Height:
        """The state is the one after this block."""
        return self.frozen.height


def draft_snapshot(chain: Chain) -> Draft:
    """Freeze the state before a chain's last block. Close `frozen` in the end.

    Raises:
        Refused: NOT_AVAILABLE below block 2, and for two blocks after a snapshot was restored.
    """
    if chain.height < 2:
        raise Refused(Reason.NOT_AVAILABLE, "there is a snapshot of a chain from its second block on")
    height = Height(chain.height - 1)
    block, following = chain.light_block(height), chain.light_block(chain.height)
    return Draft(chain.store.freeze(), block, following)


def write_snapshot(
    draft: Draft, folder: Path, tell: Callable[[float], None] = lambda _: None, rest: float = 0.0
) -> SnapshotFile:
    """Write a snapshot into a folder under its height, in one step. May run on a thread while blocks go on.

    Args:
        draft: stays open.
        folder: is made if it is missing.
        tell: is told how much is done, from 0 to 1.
        rest: pause after each chunk, as a share of the time that it took: leaves the processor to others.

    Raises:
        Refused: TOO_LARGE, CORRUPT_DATABASE; BAD_SNAPSHOT if it cannot be written.
    """
    manifest = make_manifest(draft.frozen)
    chunks = chunks_of(manifest, draft.frozen.root)
    sizes: list[int] = []
    path = folder / f"{draft.height:012d}{SUFFIX}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    except OSError as error:
        raise _bad(path, f"cannot be written ({error.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as file:
            for number, chunk in enumerate(chunks, 1):
                began = time.perf_counter()
                data = read_chunk(draft.frozen.view, chunk)
                file.write(data)
                sizes.append(len(data))
                tell(number / len(chunks))
                if rest:
                    time.sleep(rest * (time.perf_counter() - began))
            raw = encode(SnapshotIndex(manifest, draft.block, draft.following, tuple(sizes)))
            file.write(raw + len(raw).to_bytes(8, "big") + hashlib.sha3_256(raw).digest() + MAGIC)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _bad(path, f"cannot be written ({error.strerror})") from None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return SnapshotFile.open(path)


def copy_snapshot(snapshot: SnapshotFile, target: Path) -> None:
    """Copy a snapshot out of a home, in one step. Raises Refused(BAD_SNAPSHOT)."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(snapshot.path, temporary)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _bad(target, f"cannot be written ({error.strerror})") from None


# ---- the shelf


class Shelf(Protocol):
    """Snapshots that peers are served from."""

    def offers(self) -> tuple[SnapshotOffer, ...]:
        """Return what there is, rising by height."""
        ...

    def manifest(self, height: Height) -> bytes:
        """Return an encoded manifest. Raises Refused(NOT_AVAILABLE)."""
        ...

    def chunk(self, height: Height, number: int) -> bytes:
        """Return a chunk. Raises Refused(NOT_AVAILABLE)."""
        ...


class DiskShelf:
    """The snapshots in a folder, the newest few. What is no snapshot in it is left alone.

    Args:
        folder: need not exist.
        kept: how many stay when a new one is added.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder = folder
        self._kept = kept
        self._files: dict[Height, SnapshotFile] = {}
        self.look()

    def look(self) -> None:
        """See what is in the folder, and remove what a crash left half written."""
        self._files = {one.height: one for one in snapshots_in(self.folder)}
        for leftover in self.folder.glob(f".*{SUFFIX}.*"):
            leftover.unlink(missing_ok=True)

    def add(self, snapshot: SnapshotFile) -> None:
        """Take a snapshot that was just written, and delete what is too old."""
        self._files[snapshot.height] = snapshot
        for height in sorted(self._files)[: -self._kept]:
            self._files.pop(height).path.unlink(missing_ok=True)

    def all(self) -> tuple[SnapshotFile, ...]:
        """Return the snapshots, rising by height."""
        return tuple(self._files[height] for height in sorted(self._files))

    def offers(self) -> tuple[SnapshotOffer, ...]:
        """Return what there is, rising by height."""
        return tuple(one.offer for one in self.all()[-MAX_OFFERS:])

    def manifest(self, height: Height) -> bytes:
        """Return an encoded manifest. Raises Refused(NOT_AVAILABLE)."""
        return encode(self._at(height).index.manifest)

    def chunk(self, height: Height, number: int) -> bytes:
        """Return a chunk. Raises Refused(NOT_AVAILABLE)."""
        try:
            return self._at(height).chunk(number)
        except Refused as refused:
            if refused.reason is Reason.BAD_SNAPSHOT:
                del self._files[height]  # deleted behind our back: speak of it no more
            raise Refused(Reason.NOT_AVAILABLE, refused.detail) from None

    def _at(self, height: Height) -> SnapshotFile:
        found = self._files.get(height)
        if found is None:
            raise Refused(Reason.NOT_AVAILABLE, f"there is no snapshot of height {height} here")
        return found


class EmptyShelf:
    """The shelf of a node that serves no snapshots."""

    def offers(self) -> tuple[SnapshotOffer, ...]:
        """Return nothing."""
        return ()

    def manifest(self, height: Height) -> bytes:
        """Raises Refused(NOT_AVAILABLE)."""
        raise Refused(Reason.NOT_AVAILABLE, f"there is no snapshot of height {height} here")

    def chunk(self, height: Height, number: int) -> bytes:
        """Raises Refused(NOT_AVAILABLE)."""
        raise Refused(Reason.NOT_AVAILABLE, f"there is no chunk {number} of a snapshot of height {height} here")


def snapshots_in(folder: Path) -> Iterator[SnapshotFile]:
    """Yield the snapshots in a folder; files that are none are passed over."""
    for path in sorted(folder.glob(f"[!.]*{SUFFIX}")):
        with suppress(Refused):
            yield SnapshotFile.open(path)
