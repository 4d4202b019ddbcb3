"""A bounded cache of records by raw key: what execution and admission read again and again."""

from typing import Final

ENTRY_BYTES: Final = 200
"""What Python spends on one entry besides its bytes (two object headers, dict slot)."""


class Missing:
    """The type of MISSING, which is neither a value nor the None of an absent record."""


MISSING: Final = Missing()


class ValueCache:
    """Records and absences by raw key, oldest entry out first. A write makes an entry new again, a read does not.

    Attributes:
        hits: reads that the cache answered.
        misses: reads that went to the store.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._values: dict[bytes, bytes | None] = {}
        self.hits = 0
        self.misses = 0

    def get(self, key: bytes) -> bytes | Missing | None:
        """Return the value, None for a record known to be absent, or MISSING."""
        value = self._values.get(key, MISSING)
        if value is MISSING:
            self.misses += 1
        else:
            self.hits += 1
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Remember a record, or with None that there is none."""
        self.drop(key)
        self._values[key] = value
        self._bytes += ENTRY_BYTES + len(key) + len(value or b"")
        if self._bytes > self._max_bytes:
            self._trim()

    def drop(self, key: bytes) -> None:
        """Forget a record."""
        value = self._values.pop(key, MISSING)
        if not isinstance(value, Missing):
            self._bytes -= ENTRY_BYTES + len(key) + len(value or b"")

    def _trim(self) -> None:
        """Forget the oldest entries beyond the bound, and some more, so that it is seldom needed."""
        surplus = self._bytes - self._max_bytes + self._max_bytes // 16
        victims = []
        for key, value in self._values.items():
            if surplus <= 0:
                break
            surplus -= ENTRY_BYTES + len(key) + len(value or b"")
            victims.append(key)
        for key in victims:
            self.drop(key)
