"""A machine's disk: a database and files whose unsynced writes are not there after a power loss, or only in part.

What a write or a sync does is final only when it returned. At each of them power may fail, or the operation itself, as
it does on a full or a broken disk: then the caller gets what the real thing raises, and nobody can say how much of the
operation reached the disk.
"""

import errno
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Final

from crypto.errors import Reason, Refused
from state.memory import MemorySnapshot
from state.store import Write

TORN_PERCENT: Final = 50
"""How often what was not synced is torn rather than lost as a whole."""
ZEROS_PERCENT: Final = 25
"""How often a torn record's rest is zeros: the file's size reached the disk before its bytes."""


class PowerLoss(BaseException):
    """Power failed in the middle of a disk operation. Like the end of a process, no code of the node may catch it."""


class Trouble(StrEnum):
    """What can go wrong in an operation."""

    POWER = "power"
    """Power fails: before the operation, halfway or after it."""
    FAILURE = "failure"
    """The operation fails: no space, or an I/O error."""


class Disk:
    """The disk of one machine.

    Attributes:
        store: the chain's database.
        operations: writes and syncs so far.
        failed: an operation has failed since the last start; a node must not go on after that.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.operations = 0
        self.failed = False
        self.store = SimStore(self)
        self._files: dict[str, SimFile] = {}
        self._documents: dict[str, SimDocument] = {}
        self._armed: dict[int, Trouble] = {}

    def file(self, name: str) -> "SimFile":
        """Return a file, empty if it is new."""
        return self._files.setdefault(name, SimFile(self))

    def document(self, name: str, reason: Reason) -> "SimDocument":
        """Return a small file that is replaced as a whole, empty if it is new; failing writes give this reason."""
        return self._documents.setdefault(name, SimDocument(self, reason))

    def arm(self, trouble: Trouble, after: int) -> None:
        """Let the operation after the next `after` ones go wrong."""
        self._armed[self.operations + after] = trouble

    def disarm(self) -> None:
        """Let no operation go wrong any more."""
        self._armed.clear()

    def wipe(self, kept: str) -> None:
        """Lose everything but one document."""
        self.store = SimStore(self)
        self._files.clear()
        self._documents = {name: one for name, one in self._documents.items() if name == kept}

    def lose_power(self) -> None:
        """Drop or tear what was not synced."""
        self.store.lose_power()
        for file in self._files.values():
            file.lose_power()
        self.started()

    def started(self) -> None:
        """A new process: errors of the one before are forgotten, and what they left shows."""
        self.failed = False
        self.store.reopen()

    def operate(self, apply: Callable[[], None], spoil: Callable[[], None], error: Exception) -> None:
        """Carry out an operation, or let it go wrong.

        Args:
            apply: does it.
            spoil: does some part of it, or nothing.
            error: what the real thing raises when it fails.

        Raises:
            PowerLoss: power failed.
            Exception: `error`.
        """
        trouble = self._armed.pop(self.operations, None)
        self.operations += 1
        if trouble is None:
            apply()
        elif trouble is Trouble.POWER:
            self.random.choice((apply, spoil))()
            raise PowerLoss
        else:
            spoil()
            self.failed = True
            raise error


class SimFile:
    """An append-only file (`node.consensus_log.LogFile`). It holds what was synced, and what was done since then."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._content = bytearray()
        self._synced = bytearray()
        self._since: list[bytes | int] = []
        """What was done since the last sync: appended bytes, or the length that the file was cut to."""

    def read(self) -> bytes:
        """Return the whole content."""
        return bytes(self._content)

    def append(self, record: bytes) -> None:
        """Add bytes. Raises OSError(ENOSPC), with some of them written."""
        self._disk.operate(
            lambda: self._do(record), lambda: self._do(record[: self._disk.random.randrange(len(record) + 1)]),
            OSError(errno.ENOSPC, "No space left on device"),
        )

    def sync(self) -> None:
        """Make everything durable. Raises OSError(EIO), with nothing or all of it durable."""
        self._disk.operate(
            self._sync, lambda: self._disk.random.choice((self._sync, lambda: None))(),
            OSError(errno.EIO, "Input/output error"),
        )

    def cut(self, length: int) -> None:
        """Drop everything after `length` bytes. Raises OSError(EIO), with nothing done."""
        self._disk.operate(lambda: self._do(length), lambda: None, OSError(errno.EIO, "Input/output error"))

    def lose_power(self) -> None:
        """Keep what was synced, and of what was done since then some first part."""
        random = self._disk.random
        if self._since and random.randrange(100) < TORN_PERCENT:
            done = random.randrange(len(self._since))
            kept, torn = self._since[:done], self._since[done]
            if isinstance(torn, bytes):
                whole = random.randrange(len(torn) + 1)
                zeros = len(torn) - whole if random.randrange(100) < ZEROS_PERCENT else 0
                kept.append(torn[:whole] + bytes(zeros))
            for one in kept:
                _apply(self._synced, one)
        self._since.clear()
        self._content[:] = self._synced

    def _do(self, change: bytes | int) -> None:
        _apply(self._content, change)
        self._since.append(change)

    def _sync(self) -> None:
        for change in self._since:
            _apply(self._synced, change)
        self._since.clear()


def _apply(content: bytearray, change: bytes | int) -> None:
    if isinstance(change, int):
        del content[change:]
    else:
        content += change


class SimDocument:
    """A small file that is replaced as a whole (`node.document.Document`)."""

    def __init__(self, disk: Disk, reason: Reason) -> None:
        self._disk = disk
        self._reason = reason
        self._content = b""

    def read(self) -> bytes:
        """Return the whole content."""
        return self._content

    def replace(self, content: bytes) -> None:
        """Put this in its place. Raises Refused, with the old or the new content there."""
        error = Refused(self._reason, "the file cannot be written: Input/output error")
        self._disk.operate(lambda: self._replace(content), lambda: self._maybe(content), error)

    def _maybe(self, content: bytes) -> None:
        if self._disk.random.randrange(2):
            self._replace(content)

    def _replace(self, content: bytes) -> None:
        self._content = content


class SimStore:
    """A `state.store.Store` whose batches are atomic, and durable when they were synced."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._unsynced: list[list[Write]] = []
        """What undoes each batch since the last synced one."""
        self._doubtful: list[Sequence[Write]] = []
        """A batch whose write failed: it may be in LevelDB's log all the same."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self._rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < stop, in key order, as they are now."""
        keys = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
        return iter([(key, self._rows[key]) for key in keys])

    def snapshot(self) -> MemorySnapshot:
        """Return a copy that later writes do not change."""
        return MemorySnapshot(self._rows)

    def close(self) -> None:
        """Nothing to release."""

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        """Apply a batch. Raises Refused(CORRUPT_DATABASE), with the batch on disk or not; it cannot be seen before the
        next start, and every write until then fails too, as with LevelDB.
        """
        if self._disk.failed:
            raise _failed()
        self._disk.operate(lambda: self._write(batch, sync), lambda: self._doubtful.append(batch), _failed())

    def reopen(self) -> None:
        """Show what a failed write left."""
        for batch in self._doubtful:
            if self._disk.random.randrange(2):
                self._apply(batch)
        self._doubtful.clear()

    def lose_power(self) -> None:
        """Keep a first part of the batches that were not synced."""
        kept = self._disk.random.randrange(len(self._unsynced) + 1)
        for undo in reversed(self._unsynced[kept:]):
            self._apply(undo)
        self._unsynced.clear()

    def _write(self, batch: Sequence[Write], sync: bool) -> None:
        if sync:
            self._unsynced.clear()
        else:
            self._unsynced.append([(key, self._rows.get(key)) for key, _ in reversed(batch)])
        self._apply(batch)

    def _apply(self, batch: Sequence[Write]) -> None:
        rows, keys = self._rows, self._keys
        for key, value in batch:
            if value is None:
                if rows.pop(key, None) is not None:
                    del keys[bisect_left(keys, key)]
            else:
                if key not in rows:
                    insort(keys, key)
                rows[key] = value


def _failed() -> Refused:
    return Refused(Reason.CORRUPT_DATABASE, "the database is damaged: IO error: write failed")
