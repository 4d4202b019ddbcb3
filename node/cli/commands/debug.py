"""Look inside: transactions, addresses, and the files of a home."""

import contextlib
import stat
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from consensus.accountability import Finding, examine
from consensus.log import LogEntry, decode_entries
from consensus.signing import SchemeVerifier
from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from node.api.views import transaction_view
from node.cli.session import Session, command
from node.home import Home
from state.transaction import MAX_TRANSACTION, decode_transaction
from state.types import Address

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


@command(app)
def accountability(
    session: Session,
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG...", help="Homes of honest nodes, or their files in data/.")
    ],
) -> None:
    """Name who signed two things or forgot a lock, by the logs of honest nodes. Give all that there are.

    A home stands for its log and its archive of votes (data/consensus.log, data/votes.0, data/votes.1).
    """
    verdicts = examine([_entries(path) for path in logs], SchemeVerifier())
    by_whom: dict[Address, list[Finding]] = {}
    for verdict in verdicts:
        for finding in verdict.findings:
            by_whom.setdefault(finding.validator, []).append(finding)
    session.show({
        "logs": len(logs),
        "named": [
            {
                "validator": validator.hex(),
                "faults": ", ".join(f"{count} {name}" for name, count in Counter(f.fault for f in found).items()),
                "power": max(finding.power for finding in found),
                "first_height": found[0].height,
                "last_height": found[-1].height,
            }
            for validator, found in by_whom.items()
        ],
        "forks": [verdict.height for verdict in verdicts if len(verdict.decided) > 1],
        "heights": [
            {
                "height": verdict.height,
                "decided": [block_id.hex() for block_id in verdict.decided],
                "power_named": verdict.named,
                "power_total": verdict.total,
                "at_least_a_third": verdict.enough,
                "findings": [
                    {
                        "validator": finding.validator.hex(),
                        "fault": finding.fault.value,
                        "power": finding.power,
                        "rounds": " ".join(map(str, finding.rounds)),
                        "blocks": " ".join(block_id.hex()[:16] or "nil" for block_id in finding.block_ids),
                    }
                    for finding in verdict.findings
                ],
            }
            for verdict in verdicts
        ],
    })


def _entries(path: Path) -> tuple[LogEntry, ...]:
    """Return what a log, or all logs of a home, hold; a torn last record is left out."""
    home = Home(path)
    files = [file for file in (*home.vote_archive, home.consensus_log) if file.exists()] if path.is_dir() else [path]
    if not files:
        raise Refused(Reason.HOME_MISSING, f"{path} holds no logs")
    found: list[LogEntry] = []
    for file in files:
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise Refused(Reason.BAD_ARGUMENT, f"{file} cannot be read: {error.strerror}") from None
        found += decode_entries(raw)[0]
    return tuple(found)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused(Reason.BAD_ADDRESS, f"{text!r} is neither nx1... nor hexadecimal") from None
