"""The bar of a node that is on its way: shown below the log while there is a way to go, and gone afterwards."""

import io
import sys

import pytest
import trio

from node.showing import TERMINAL, Way, show_way


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_a_bar_is_shown_on_the_way_and_lines_stand_above_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    ways = iter([None, Way("joining: 3 of 12 chunks, 14 s left", 0.25), Way("catching up: 7 s left", 0.5), None])

    def way() -> Way | None:
        found = next(ways, None)
        if found is not None and found.share == 0.5:
            TERMINAL.write("a line of the log\n")
            TERMINAL.flush()
        return found

    with trio.move_on_after(3):
        await show_way(way)
    text = screen.getvalue()
    assert text.index("14 s left") < text.index("a line of the log") < text.index("7 s left")
    assert sys.stderr is screen and TERMINAL.isatty()
