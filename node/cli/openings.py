"""What opens the commitments of contracts: `openings.json` in the home.

The chain does not tell what a Memo or a State holds, and its note-less commitment tells nobody. Who loses this file
loses the money in them, unless another party has the openings, too. It is private, and only ever grows.
"""

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.ristretto import decode_scalar, encode_scalar
from node.home import PRIVATE_FILE, PRIVATE_FOLDER, write_file

FILE: Final = "openings.json"
_FORMAT: Final = "nexus-openings-1"


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount: str
    blinding: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    openings: dict[str, _Entry]


def read_openings(path: Path) -> dict[bytes, Opening]:
    """Return what each commitment in a file holds; nothing if there is no file. Raises Refused(BAD_ARGUMENT)."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        found = {bytes.fromhex(key): _opening(one) for key, one in file.openings.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.DecodeError, Refused) as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} holds no openings: {error}") from None
    if file.format != _FORMAT:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} holds openings of another format")
    return found


def keep_openings(path: Path, openings: Mapping[bytes, Opening]) -> None:
    """Add openings to a file, in one step; what is there stays. Raises Refused(BAD_ARGUMENT)."""
    if not openings:
        return
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    try:
        with lock.open("ab") as held:  # two commands at once must not lose each other's
            lock.chmod(PRIVATE_FILE)
            fcntl.flock(held, fcntl.LOCK_EX)
            entries = {
                key.hex(): _Entry(str(one.amount), encode_scalar(one.blinding).hex())
                for key, one in {**read_openings(path), **openings}.items()
            }
            content = msgspec.json.encode(_File(_FORMAT, entries))
            write_file(path, msgspec.json.format(content) + b"\n")
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be written: {error.strerror}") from None


def _opening(entry: _Entry) -> Opening:
    return Opening(int(entry.amount), decode_scalar(bytes.fromhex(entry.blinding)))
