"""The narrow protocol between the chain's memory and whatever keeps bytes: LevelDB, or a simulated disk."""

from collections.abc import Iterator, Sequence
from typing import Protocol

Write = tuple[bytes, bytes | None]
"""A key with its new value; None deletes it."""


class View(Protocol):
    """Something that can be read at one moment."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises Refused(CORRUPT_DATABASE) on a failed checksum."""
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < stop, in key order. Raises Refused(CORRUPT_DATABASE)."""
        ...


class Snapshot(View, Protocol):
    """A frozen view that later writes do not change. Close it: an open one holds old data on disk."""

    def close(self) -> None:
        """Let the old versions go."""
        ...


class Store(View, Protocol):
    """An ordered map of bytes with atomic batches."""

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        """Apply the whole batch or nothing of it; with `sync` it is on disk when this returns."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the present state as a view that stays as it is."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...
