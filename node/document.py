"""A small file that is replaced as a whole: what a validator signed last, pending evidence, the address book."""

from pathlib import Path
from typing import Protocol

from crypto.errors import Reason, Refused
from node.home import write_file


class Document(Protocol):
    """What keeps a small content over a restart. The simulator puts its disk behind it."""

    def read(self) -> bytes:
        """Return the whole content; nothing if there is no file."""
        ...

    def replace(self, content: bytes) -> None:
        """Put this in its place: a crash leaves the old or the new, and once this returns the new is on disk."""
        ...


class DiskDocument:
    """A document in a real file.

    Args:
        path: of the file; its folder exists.
        fault: the reason of a refusal when the disk fails.
        expendable: others tell the content again, so a file that cannot be read counts as missing.
    """

    def __init__(self, path: Path, fault: Reason, *, expendable: bool = False) -> None:
        self._path = path
        self._fault = fault
        self._expendable = expendable

    def read(self) -> bytes:
        """Return the whole content; nothing if there is no file. Raises Refused(`fault`)."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            if self._expendable:
                return b""
            raise Refused(self._fault, f"{self._path} cannot be read: {error.strerror}") from None

    def replace(self, content: bytes) -> None:
        """Write a new file, sync it, and move it into place. Raises Refused(`fault`)."""
        try:
            write_file(self._path, content)
        except OSError as error:
            raise Refused(self._fault, f"{self._path} cannot be written: {error.strerror}") from None
