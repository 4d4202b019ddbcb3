"""Builds a chain's store out of a snapshot, chunk by chunk, in any order; a restart goes on where it was.

It works in a store of its own. Only `finish` makes a chain of it, and only when every chunk is there.
"""

from collections.abc import Sequence
from typing import Final

from crypto.errors import Reason, Refused
from state.archive import parse
from state.blockrows import BlockRow, Meta, OutputCounts, meta_codec, record_rows
from state.chainstore import SCHEMA
from state.changes import Changes
from state.columns import (
    BASE,
    BLOCK,
    GENESIS,
    META,
    RESTORED_CHUNK,
    RESTORED_MANIFEST,
    corrupt,
    height_key,
)
from state.encoding import Codec, encode
from state.snapshot import Chunk, Manifest, Row, check_chunk, chunks_of, manifest_codec
from state.store import Store, Write
from state.types import Height

_AFTER_CHUNKS: Final = bytes([RESTORED_CHUNK[0] + 1])
_counts_codec: Final = Codec(OutputCounts)


class Restoration:
    """A store that becomes a copy of a state.

    Args:
        store: empty, or left behind by an earlier restoration of the same manifest.
        manifest: what to restore.
        root: of the state, from a verified header.

    Raises:
        Refused: BAD_PROOF; NOT_AVAILABLE if the store holds something else; CORRUPT_DATABASE.
    """

    def __init__(self, store: Store, manifest: Manifest, root: bytes) -> None:
        self._store = store
        self._root = root
        self.manifest = manifest
        self.chunks: tuple[Chunk, ...] = chunks_of(manifest, root)
        known = store.get(RESTORED_MANIFEST)
        if known is None and (store.get(META) is not None or store.get(GENESIS) is not None):
            raise Refused(Reason.NOT_AVAILABLE, "there is a chain in this store already")
        if known is not None and known != encode(manifest):
            raise Refused(Reason.NOT_AVAILABLE, "another snapshot is being restored in this store")
        if known is None:
            store.write([(RESTORED_MANIFEST, encode(manifest))], sync=True)
        self._counts: dict[int, OutputCounts] = {}
        for key, row in store.scan(RESTORED_CHUNK, _AFTER_CHUNKS):
            self._counts[int.from_bytes(key[1:], "big")] = parse(_counts_codec, row, "a restored chunk")
        if any(index >= len(self.chunks) for index in self._counts):
            raise corrupt("a restored chunk")

    @property
    def missing(self) -> list[int]:
        """Numbers of the chunks that are not here."""
        return [index for index in range(len(self.chunks)) if index not in self._counts]

    def add(self, index: int, data: bytes) -> None:
        """Check a chunk and write it. Twice does no harm.

        Raises:
            Refused: BAD_PROOF, TOO_LARGE for the chunk; CORRUPT_DATABASE.
        """
        self.write(index, check_chunk(self.chunks[index], data))

    def write(self, index: int, rows: Sequence[Row]) -> None:
        """Write the rows of a checked chunk in one batch that says that they are here."""
        values: dict[bytes, tuple[bytes | None, bytes | None]] = {}
        for _, row in rows:
            end = 2 + int.from_bytes(row[:2], "big")
            values[row[2:end]] = (None, row[end:])
        written, counts = record_rows(Changes(values), [key for key, _ in rows], OutputCounts())
        written.append((_chunk_key(index), encode(counts)))
        self._store.write(written, sync=False)
        self._counts[index] = counts

    def finish(self, genesis: bytes, header: bytes, commit: bytes, receipts_root: bytes) -> None:
        """Make a chain of it.

        Args:
            genesis: canonical bytes of the document.
            header: canonical bytes of the header at the manifest's height, verified.
            commit: a verified commit for it.
            receipts_root: of that block, from the header after it.

        Raises:
            Refused: NOT_AVAILABLE if chunks are missing.
        """
        if self.missing:
            raise Refused(Reason.NOT_AVAILABLE, f"{len(self.missing)} chunks are missing")
        height, root = self.manifest.height, self._root
        counts = self._counts.values()
        outputs = OutputCounts(
            sum(one.coins for one in counts), sum(one.memos for one in counts), sum(one.states for one in counts)
        )
        block = BlockRow(header, b"", b"", commit, 0, (), root, receipts_root)
        rows: list[Write] = [(_chunk_key(index), None) for index in self._counts]
        rows += [
            (RESTORED_MANIFEST, None), (GENESIS, genesis), (BASE, (height + 1).to_bytes(8, "big")),
            (height_key(BLOCK, height), encode(block)),
            (META, encode(Meta(SCHEMA, height, root, receipts_root, outputs))),
        ]
        self._store.write(rows, sync=True)


def unfinished(store: Store) -> Manifest | None:
    """Return what is being restored in a store, or None. Raises Refused(CORRUPT_DATABASE)."""
    raw = store.get(RESTORED_MANIFEST)
    return None if raw is None else parse(manifest_codec, raw, "the manifest")


def restored_height(store: Store) -> Height | None:
    """Return the height of the chain in a store, or None if there is none. Raises Refused(CORRUPT_DATABASE)."""
    raw = store.get(META)
    return None if raw is None else parse(meta_codec, raw, "the chain's position").height


def _chunk_key(index: int) -> bytes:
    return RESTORED_CHUNK + index.to_bytes(4, "big")
