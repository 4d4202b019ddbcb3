"""The consensus log's file. What its records mean and how they are framed is `consensus/log.py`.

An own vote or proposal is on disk before a byte of it leaves this machine. A block's batch in LevelDB comes before the
log is cleared, so whatever moment the power fails: the log belongs to the height after the tip, or holds only
heights that the chain has passed, which a restart ignores.
"""

import os
from pathlib import Path
from typing import Protocol

from crypto.errors import Reason, Refused
from node.home import PRIVATE_FILE, sync_folder


class LogFile(Protocol):
    """An append-only file. The simulator puts a disk that tears unsynced writes behind it."""

    def read(self) -> bytes:
        """Return the whole content."""
        ...

    def append(self, record: bytes) -> None:
        """Add a framed record; it reaches the disk with the next `sync`."""
        ...

    def sync(self) -> None:
        """Return when everything appended is on disk."""
        ...

    def cut(self, length: int) -> None:
        """Drop everything after `length` bytes."""
        ...


class DiskLog:
    """The log in a real file. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        except OSError as error:
            raise Refused(Reason.CORRUPT_LOG, f"{path} cannot be opened: {error.strerror}") from None
        sync_folder(path.parent)

    def __enter__(self) -> "DiskLog":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def read(self) -> bytes:
        """Return the whole content."""
        return self._path.read_bytes()

    def append(self, record: bytes) -> None:
        """Add a framed record in one write."""
        view = memoryview(record)
        while view:
            view = view[os.write(self._handle, view):]

    def sync(self) -> None:
        """Wait for the disk (0.1 ms on an SSD, 10 ms on a spinning disk)."""
        os.fdatasync(self._handle)

    def cut(self, length: int) -> None:
        """Drop everything after `length` bytes."""
        os.ftruncate(self._handle, length)
