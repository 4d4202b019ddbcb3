"""The chain's store on disk: LevelDB through plyvel. The only module that imports plyvel.

plyvel neither syncs nor verifies checksums unless told to, so every read here passes `verify_checksums` and a write is
synced unless the caller says otherwise. `paranoid_checks` makes opening fail on a damaged log or manifest instead of
silently dropping what it cannot read; a log that merely ends early (a torn last write) still opens.
"""

from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Self

import plyvel

from crypto.errors import Reason, Refused
from state.store import Write

BLOCK_CACHE_BYTES: Final = 16 << 20
"""Decoded table blocks that LevelDB keeps; records that are in use sit in the chain's own cache above."""
WRITE_BUFFER_BYTES: Final = 32 << 20
"""Size of the in-memory table before it goes to disk. At 1,000,000 outputs 8 MiB cost 137 us of compaction for each
transaction, 32 MiB 57 us; the price is some 50 MB of memory and a longer restart.
"""
FILE_BYTES: Final = 8 << 20
"""Size of a table file. A block adds 2-3 MB, so LevelDB's own 2 MiB would make many files and compactions."""
BLOOM_BITS: Final = 10
"""Bits per key of the filter that spares disk reads for absent keys (about 1 % false positives)."""


def _text(error: Exception) -> str:
    """Return LevelDB's own words: plyvel passes them on as bytes."""
    words = error.args[0] if error.args else ""
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)


def _corrupt(error: Exception) -> Refused:
    return Refused(Reason.CORRUPT_DATABASE, f"the database is damaged: {_text(error)}")


def _check_present(folder: Path) -> None:
    """Make sure that LevelDB does not take a damaged database for a new one, and delete all that is in it."""
    if folder.is_dir() and not (folder / "CURRENT").exists() and any(
        file.suffix in (".ldb", ".log") for file in folder.iterdir()
    ):
        raise Refused(Reason.CORRUPT_DATABASE, "the database's file CURRENT is missing")


class _View:
    """Reads of a database or of a snapshot of it: plyvel gives both the same methods."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises Refused(CORRUPT_DATABASE)."""
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _corrupt(error) from None
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < stop as of the first step. Raises Refused(CORRUPT_DATABASE)."""
        try:
            with self._source.iterator(start=start, stop=stop, verify_checksums=True) as rows:
                yield from rows
        except plyvel.Error as error:
            raise _corrupt(error) from None

    def close(self) -> None:
        """Release what this view holds. Closing twice does no harm."""
        self._source.close()


class LevelDBSnapshot(_View):
    """A frozen view. Close it before the database: an open one keeps old versions on disk."""


class LevelDB(_View):
    """A `state.store.Store` on disk. One process may hold it at a time; its methods may be called from any thread."""

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Open the database in folder `path`, making it if it is missing (its parent must exist).

        Raises:
            Refused: HOME_IN_USE if another process (or this one) holds it, else CORRUPT_DATABASE.
        """
        _check_present(Path(path))
        try:
            return cls(plyvel.DB(
                fspath(path),
                create_if_missing=True,
                paranoid_checks=True,
                compression=None,
                lru_cache_size=BLOCK_CACHE_BYTES,
                write_buffer_size=WRITE_BUFFER_BYTES,
                max_file_size=FILE_BYTES,
                bloom_filter_bits=BLOOM_BITS,
            ))
        except plyvel.IOError as error:
            if _text(error).startswith("IO error: lock "):  # and not, say, that the file cannot be made
                raise Refused(Reason.HOME_IN_USE, "another process uses this database") from None
            raise Refused(Reason.CORRUPT_DATABASE, f"the database cannot be opened: {_text(error)}") from None
        except plyvel.Error as error:
            raise _corrupt(error) from None

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        """Apply the whole batch or nothing of it; with `sync` it is on disk when this returns.

        Raises:
            Refused: CORRUPT_DATABASE if LevelDB refuses, as after a failed background compaction or a full disk.
        """
        try:
            with self._source.write_batch(transaction=True, sync=sync) as rows:
                put, delete = rows.put, rows.delete
                for key, value in batch:
                    if value is None:
                        delete(key)
                    else:
                        put(key, value)
        except plyvel.Error as error:
            raise _corrupt(error) from None

    def snapshot(self) -> LevelDBSnapshot:
        """Return the present state as a view that later writes do not change."""
        return LevelDBSnapshot(self._source.snapshot())
