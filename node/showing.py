"""How far a node is that joins or catches up, as a bar on its terminal; where nobody looks, the log alone tells it."""

import io
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO, cast

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

LOOK_EVERY: Final = 0.25
"""Seconds between two looks."""


class Way(NamedTuple):
    """How far a node is: one sentence, and the share that is done, from 0 to 1."""

    sentence: str
    share: float


class Through(io.TextIOBase):
    """Standard error as it is at each moment: while a bar is shown, lines are written above it."""

    def write(self, text: str) -> int:
        """Write text."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Write what waits."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Tell whether a person looks."""
        return sys.stderr.isatty()


TERMINAL: Final = cast(TextIO, Through())
"""Where log lines go that a bar may stand below."""


async def show_way(way: Callable[[], Way | None]) -> None:
    """Show a bar while there is a way to go. It ends by being cancelled."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True,
                   auto_refresh=False)
    task: TaskID = bar.add_task("", total=1.0)
    shown = False
    try:
        while True:
            found = way()
            if found is not None:
                if not shown:
                    bar.start()
                bar.update(task, description=found.sentence, completed=found.share, refresh=True)
            elif shown:
                bar.stop()
            shown = found is not None
            await trio.sleep(LOOK_EVERY)
    finally:
        bar.stop()
