"""A store in memory, for tests and the simulator: the same protocol as LevelDB, without a disk."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from state.store import Write


class MemorySnapshot:
    """A frozen copy of a `MemoryStore`."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = dict(rows)
        self._order: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self._rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < stop, in key order, as they are now."""
        if len(self._order) != len(self._rows):
            self._order = sorted(self._rows)
        keys = self._order[bisect_left(self._order, start) : bisect_left(self._order, stop)]
        return iter([(key, self._rows[key]) for key in keys])

    def close(self) -> None:
        """Nothing to release."""


class MemoryStore(MemorySnapshot):
    """A `state.store.Store` that forgets everything when the process ends."""

    def __init__(self, rows: Mapping[bytes, bytes] | None = None) -> None:
        super().__init__(rows or {})

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        """Apply the whole batch; there is nothing to sync."""
        for key, value in batch:
            if value is not None:
                self._rows[key] = value
            elif self._rows.pop(key, None) is None:
                continue
        self._order = []  # sorted again by the next scan

    def snapshot(self) -> MemorySnapshot:
        """Return a copy that later writes do not change."""
        return MemorySnapshot(self._rows)
