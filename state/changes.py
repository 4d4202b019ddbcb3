"""What a block changes: records before and after, so that it can be applied, undone and looked through.

Keys here are raw record keys (`state.records`); the tree and the store hash them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, Protocol

from msgspec import Meta

from crypto.errors import Reason, Refused
from state.encoding import Codec, Record, encode


class Reader(Protocol):
    """Read access to records by raw key."""

    def get(self, key: bytes) -> bytes | None:
        """Return the record's value, or None if there is none."""
        ...


_Maybe = Annotated[tuple[bytes, ...], Meta(max_length=1)]


class _Change(Record, frozen=True):
    key: bytes
    before: _Maybe  # empty: absent; one element: the value
    after: _Maybe


_codec: Final = Codec(tuple[_Change, ...], max_size=1 << 30)


def _wrap(value: bytes | None) -> tuple[bytes, ...]:
    return () if value is None else (value,)


def _unwrap(values: tuple[bytes, ...]) -> bytes | None:
    return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Changes:
    """Net effect of a block: raw key -> (value before, value after); None stands for absent."""

    entries: Mapping[bytes, tuple[bytes | None, bytes | None]]

    def invert(self) -> "Changes":
        """Return the changes that undo these."""
        return Changes({key: (after, before) for key, (before, after) in self.entries.items()})

    def __iter__(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield (key, new value) pairs."""
        return ((key, after) for key, (_, after) in self.entries.items())

    def __len__(self) -> int:
        return len(self.entries)

    def encode(self) -> bytes:
        """Return canonical bytes, entries in key order: the undo record of a block."""
        entries = sorted(self.entries.items())
        return encode([_Change(key, _wrap(before), _wrap(after)) for key, (before, after) in entries])

    @classmethod
    def decode(cls, raw: bytes) -> "Changes":
        """Return what `encode` wrote. Raises Refused(MALFORMED | NOT_CANONICAL)."""
        changes = _codec.decode(raw)
        if any(first.key >= second.key for first, second in pairwise(changes)):
            raise Refused(Reason.NOT_CANONICAL, "changes are not in rising order of key")
        return cls({change.key: (_unwrap(change.before), _unwrap(change.after)) for change in changes})


class Overlay:
    """A reader with pending writes on top. Branches nest: a message runs in a branch that is kept or dropped.

    Each record is read from the base at most once: the base must not change while the overlay is in use.
    """

    __slots__ = ("_base", "_before", "_pending")

    def __init__(self, base: Reader) -> None:
        self._base = base
        self._before: dict[bytes, bytes | None] = {}
        self._pending: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the pending value, else the base's."""
        if key in self._pending:
            return self._pending[key]
        return self._read(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a record."""
        self._pending[key] = value

    def create(self, key: bytes, value: bytes) -> None:
        """Set a record that the caller knows to be absent in the base: saves the look-up of what it replaces."""
        self._before.setdefault(key, None)
        self._pending[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a record; removing an absent one changes nothing."""
        self._pending[key] = None

    def branch(self) -> "Overlay":
        """Return an overlay on top of this one."""
        return Overlay(self)

    def merge(self, branch: "Overlay") -> None:
        """Take over what a branch of this overlay wrote."""
        for key, before in branch._before.items():
            if key not in self._pending:
                self._before.setdefault(key, before)
        self._pending.update(branch._pending)

    def changes(self) -> Changes:
        """Return the net changes against the base, leaving out records that end as they began."""
        entries: dict[bytes, tuple[bytes | None, bytes | None]] = {}
        for key, after in self._pending.items():
            before = self._read(key)
            if before != after:
                entries[key] = (before, after)
        return Changes(entries)

    def _read(self, key: bytes) -> bytes | None:
        try:
            return self._before[key]
        except KeyError:
            value = self._before[key] = self._base.get(key)
            return value
