"""Look inside: transactions, addresses, and the files of a home."""

import contextlib
import stat
from pathlib import Path
from typing import Annotated

import typer

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from node.api.views import transaction_view
from node.cli.session import Session, command
from node.home import Home
from state.transaction import MAX_TRANSACTION, decode_transaction

app = typer.Typer(no_args_is_help=True)


@command(app)
def decode(session: Session, file: Annotated[Path, typer.Argument(help="Wire bytes, or their hexadecimal.")]) -> None:
    """Decode a transaction."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(2 * MAX_TRANSACTION + 2)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{file} cannot be read: {error.strerror}") from None
    with contextlib.suppress(ValueError):  # if it is not hexadecimal, it is the bytes themselves
        raw = bytes.fromhex(raw.decode("ascii"))
    session.show(transaction_view(decode_transaction(raw), None))


@command(app)
def address(session: Session, text: Annotated[str, typer.Argument(help="nx1... or 64 hexadecimal digits.")]) -> None:
    """Show an address in both forms."""
    raw = decode_address(text) if text.startswith("nx1") else _hex(text)
    session.show({"address": encode_address(raw), "hex": raw.hex()})


@command(app)
def home(session: Session) -> None:
    """List the files of a home with their modes and sizes."""
    home = Home(session.home)
    if not home.root.is_dir():
        raise Refused(Reason.HOME_MISSING, f"there is nothing at {home.root}")
    session.show([
        {"mode": stat.filemode(path.stat().st_mode), "bytes": path.stat().st_size, "path": str(path)}
        for path in sorted(home.root.rglob("*")) if path.is_file()
    ])


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused(Reason.BAD_ADDRESS, f"{text!r} is neither nx1... nor hexadecimal") from None
