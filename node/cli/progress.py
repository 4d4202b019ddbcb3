"""Progress of long work on the terminal: one line on stderr that is written over, and nothing where nobody looks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from node.cli.session import Form, Session

BAR: Final = 30
"""Characters of a full bar."""


@contextmanager
def bar(session: Session, what: str) -> Iterator[Callable[[float], None]]:
    """Give a function that shows how far the work is, from 0 to 1."""
    shown = session.output is Form.TEXT and sys.stderr.isatty()

    def tell(share: float) -> None:
        if shown:
            full = round(BAR * min(share, 1.0))
            sys.stderr.write(f"\r{what} [{'#' * full}{'.' * (BAR - full)}] {share:4.0%}")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        if shown:
            sys.stderr.write("\n")


@contextmanager
def hashcash(session: Session, difficulty: int) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many tries a hashcash has taken, against the number that it takes on average."""
    shown = session.output is Form.TEXT and sys.stderr.isatty()
    last = 0

    def tell(tries: int) -> None:
        nonlocal last
        last = tries
        if shown:
            sys.stderr.write(f"\rhashcash of {difficulty} bits: {tries:,} tries, {2**difficulty:,} on average")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        if shown and last:
            sys.stderr.write("\n")
