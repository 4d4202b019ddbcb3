"""A run for people: a live table while it goes on, a table of verdicts in the end."""

from typing import Final

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from testnet.lab.report import LabReport
from testnet.lab.run import Phase, Run

RECENT: Final = 8
"""Happenings that the live table shows."""
_COLOURS: Final = {
    Phase.WAITING: "dim", Phase.STARTING: "yellow", Phase.RUNNING: "green", Phase.DOWN: "red", Phase.PAUSED: "yellow",
    Phase.APART: "yellow", Phase.ENDED: "red",
}


def as_live(run: Run) -> RenderableType:
    """Return how everything is now."""
    title = f"{run.manifest.name}: height {run.top} of {run.manifest.until}, {run.elapsed:.0f} s"
    caption = f"{len(run.ledger.committed)} payments committed, {sum(run.ledger.refused.values())} not"
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE)
    for column in ("node", "role", "region", "state", "height", "peers"):
        table.add_column(column, justify="right" if column in ("height", "peers") else "left", no_wrap=True)
    for name, phase in run.phases.items():
        node, status = run.manifest.nodes[name], run.statuses.get(name)
        state = "catching up" if status is not None and status.catching_up else phase.value
        table.add_row(
            name, node.role, node.region, f"[{_COLOURS[phase]}]{state}[/]",
            *(("", "") if status is None else (str(status.height), str(status.peers))),
        )
    for name in run.lights:
        table.add_row(name, "light", "", "started", "", "")
    lines = [Text(f"{one.seconds:6.1f} s  {one.text}") for one in run.happenings[-RECENT:]]
    return Group(table, *lines)


class Teller:
    """Tells of a run while it goes on: a live table on a terminal, a line for each happening elsewhere.

    Args:
        console: where to.
        live: the live display, if the console is a terminal.
    """

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._told = 0

    def __call__(self, run: Run) -> None:
        """Show how the run is now."""
        if self._live is not None:
            self._live.update(as_live(run), refresh=True)
            return
        for one in run.happenings[self._told :]:
            line = f"{one.seconds:6.1f} s  height {one.height:3}  {one.text}"
            self._console.print(line, soft_wrap=True, markup=False)
        self._told = len(run.happenings)


def verdict_table(report: LabReport) -> Table:
    """Return the verdicts, and what there was of what."""
    outcome = "[green]passed[/]" if report.passed else "[bold red]failed[/]"
    table = Table(title=f"{report.name}: {outcome}", title_justify="left", box=SIMPLE, show_header=False)
    for verdict in report.verdicts:
        mark = "[green]holds[/]" if verdict.holds else "[bold red]BROKEN[/]"
        table.add_row(mark, verdict.what, Text(verdict.detail))
    figures = report.figures
    refused = ", ".join(f"{count} {reason}" for reason, count in figures.refused.items()) or "none"
    table.add_section()
    table.add_row("", "time and height", f"{figures.seconds:.0f} s, {figures.height} blocks")
    paid = f"{figures.committed} committed, {figures.late} late; refused or unanswered: {refused}"
    table.add_row("", "payments", paid)
    if figures.datagrams:
        table.add_row("", "datagrams", f"{figures.datagrams} through the router, {figures.lost} lost")
    return table
