"""A disk that counts: every write and sync of this process is a point, before and after; at one of them it dies.

Python's own file operations are met in `os`, which the node calls by name; LevelDB's in `LevelDB.open` and `write`.
`os._exit` leaves the page cache as it is, so the shim also keeps what was surely on disk: a test can then take away
what was not (notes on crash points: a killed process alone cannot reveal a missing fsync).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from state.leveldb import LevelDB
from state.store import Write

DIED: Final = 86
"""Exit code of a process that the disk killed."""

_os_write, _os_open, _os_exit = os.write, os.open, os._exit


class Unsynced(msgspec.Struct, frozen=True):
    """A file whose present content may be lost: what of it was surely on disk (None: not even its name)."""

    path: str
    durable: bytes | None
    length: int = -1
    """For a file of LevelDB, which only grows: how much of it was on disk. `durable` is empty then."""
    name_only: bool = False
    """The present content is on disk under another name: the rename is what may be lost."""


class Death(msgspec.Struct, frozen=True):
    """Where the process died, and what a power cut might have taken."""

    point: int
    what: str
    unsynced: tuple[Unsynced, ...]


class CountingDisk:
    """Counts the points below some folders; dies at one.

    Args:
        folders: what counts.
        die_at: number of the point to die at, from 1 on; 0 lives on.
        report: where to leave the Death.
    """

    def __init__(self, folders: Sequence[Path], die_at: int, report: Path) -> None:
        self.points = 0
        self._folders = tuple(str(folder) + os.sep for folder in folders)
        self._die_at = die_at
        self._report = report
        self._paths: dict[int, str] = {}
        self._durable: dict[str, bytes | None] = {}
        self._lengths: dict[str, int] = {}
        self._renamed: dict[str, bytes | None] = {}

    def install(self) -> None:
        """Stand between this process and its disk from now on. There is no way back: the process is to end."""
        self._wrap("write", self._by_handle)
        self._wrap("fsync", self._by_handle, self._synced)
        self._wrap("fdatasync", self._by_handle, self._synced)
        self._wrap("ftruncate", self._by_handle)
        self._wrap("unlink", str)
        self._wrap_replace()
        self._wrap_open()
        self._wrap_leveldb()

    # ---- points

    def _point(self, what: str, path: str) -> None:
        if not f"{path}{os.sep}".startswith(self._folders):
            return
        self.points += 1
        if self.points == self._die_at:
            death = Death(self.points, f"{what} {Path(path).name}", tuple(self._unsynced()))
            handle = _os_open(self._report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            _os_write(handle, msgspec.msgpack.encode(death))
            _os_exit(DIED)

    def _unsynced(self) -> list[Unsynced]:
        found = []
        for path, durable in self._durable.items():
            present = Path(path).read_bytes() if Path(path).is_file() else None
            if present != durable:
                found.append(Unsynced(path, durable, name_only=self._renamed.get(path) == present))
        for path, length in self._lengths.items():
            if Path(path).is_file() and Path(path).stat().st_size > length:
                found.append(Unsynced(path, b"", length))
        return found

    # ---- files

    def _by_handle(self, handle: int) -> str:
        return self._paths.get(handle, "")

    def _wrap(self, name: str, path_of: Callable[[Any], str], then: Callable[[str], None] | None = None) -> None:
        real = getattr(os, name)

        def wrapped(target: Any, *rest: Any, **named: Any) -> Any:
            path = path_of(target)
            if path and not Path(path).is_dir():
                self._durable.setdefault(path, _content(path))
            self._point(f"before {name}", path)
            result = real(target, *rest, **named)
            if then is not None and path:
                then(path)
            self._point(f"after {name}", path)
            return result

        setattr(os, name, wrapped)

    def _synced(self, path: str) -> None:
        if not Path(path).is_dir():
            self._durable[path] = _content(path)
            return
        for name in [name for name in self._durable if os.path.dirname(name) == path]:
            if self._durable[name] is None or not Path(name).is_file():
                self._durable[name] = _content(name)
        for name in [name for name in self._renamed if os.path.dirname(name) == path]:
            self._durable[name] = self._renamed.pop(name)

    def _wrap_replace(self) -> None:
        real = os.replace

        def wrapped(source: Any, target: Any) -> None:
            self._durable.setdefault(str(target), _content(str(target)))
            self._point("before replace", str(target))
            real(source, target)
            # the new content is on disk, its name is not before the folder is synced
            self._renamed[str(target)] = self._durable.pop(str(source), b"")
            self._point("after replace", str(target))

        os.replace = wrapped  # type: ignore[assignment]

    def _wrap_open(self) -> None:
        def wrapped(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            fresh = bool(flags & os.O_CREAT) and not os.path.exists(path)
            handle = _os_open(path, flags, *rest, **named)
            self._paths[handle] = str(path)
            if fresh:
                self._durable[str(path)] = None
                self._point("after create", str(path))
            return handle

        os.open = wrapped

    # ---- LevelDB

    def _wrap_leveldb(self) -> None:
        disk = self
        real_open, real_write = LevelDB.open.__func__, LevelDB.write  # type: ignore[attr-defined]
        folders: dict[int, str] = {}

        def opened(kind: type[LevelDB], path: Any) -> LevelDB:
            disk._point("before open", str(path))
            store: LevelDB = real_open(kind, path)
            folders[id(store)] = str(path)
            disk._settle(str(path))
            disk._point("after open", str(path))
            return store

        def written(store: LevelDB, batch: Sequence[Write], *, sync: bool = True) -> None:
            path = folders[id(store)]
            disk._point("before write", path)
            real_write(store, batch, sync=sync)
            disk._point("in write", path)
            if sync:
                disk._settle(path)
            disk._point("after write", path)

        LevelDB.open = classmethod(opened)  # type: ignore[assignment,method-assign]
        LevelDB.write = written  # type: ignore[assignment,method-assign]

    def _settle(self, folder: str) -> None:
        for file in Path(folder).iterdir():
            if file.is_file():
                self._lengths[str(file)] = file.stat().st_size


def _content(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).is_file() else None
