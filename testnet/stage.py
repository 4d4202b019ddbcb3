"""What the demo runs on: it tells the story line by line, checks each step, and keeps the score."""

import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from crypto.errors import Reason, Refused


class Row(NamedTuple):
    """One step that was done, and how it ended."""

    scene: str
    step: str
    outcome: str
    seconds: float
    good: bool


class StepFailed(Exception):
    """A step did not end as it should; the demo goes on with the next scene."""


class Stage:
    """Narrates, checks, counts. `failed` tells whether any step was not as it should be."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows: list[Row] = []
        self._scene = ""
        self._since = time.monotonic()

    @property
    def failed(self) -> bool:
        """Whether a step failed."""
        return any(not row.good for row in self.rows)

    def scene(self, name: str, title: str) -> None:
        """Begin a scene."""
        self._scene = name
        self._since = time.monotonic()
        self.console.print()
        self.console.rule(f"[bold]{title}[/]", align="left")

    def tell(self, text: str) -> None:
        """Say something that is no step."""
        self.console.print(f"  [dim]{text}[/]")

    def done(self, step: str, outcome: str) -> None:
        """Note a step that went as it should."""
        self._note(step, outcome, True)

    def check(self, good: bool, step: str, outcome: str) -> None:
        """Note a step. Raises StepFailed if it is not as it should be."""
        self._note(step, outcome, good)
        if not good:
            raise StepFailed(step)

    async def refused(self, step: str, reason: Reason, attempt: Awaitable[Any]) -> None:
        """Note a step that must be refused by this very name. Raises StepFailed if it is not."""
        try:
            result = await attempt
        except Refused as refused:
            self.check(refused.reason is reason, step, f"refused: {refused.reason.value}")
            self.tell(refused.detail)
        else:
            self.check(False, step, f"not refused, but {result}")

    def broken(self, error: Refused) -> None:
        """Note that a scene ended by a refusal that nobody expected."""
        self._note("the scene goes through", f"{error.reason.value}: {error.detail}", False)

    def score(self) -> Table:
        """Return the table of everything that happened."""
        table = Table(title="What happened", title_justify="left", box=SIMPLE)
        for name in ("scene", "step", "outcome"):
            table.add_column(name)
        table.add_column("seconds", justify="right")
        last = ""
        for row in self.rows:
            mark = "[green]✓[/]" if row.good else "[bold red]✗[/]"
            scene = row.scene if row.scene != last else ""
            table.add_row(scene, row.step, f"{mark} {row.outcome}", f"{row.seconds:.2f}")
            last = row.scene
        return table

    def _note(self, step: str, outcome: str, good: bool) -> None:
        now = time.monotonic()
        self.rows.append(Row(self._scene, step, outcome, now - self._since, good))
        mark = "[green]✓[/]" if good else "[bold red]✗[/]"
        self.console.print(f"  {mark} {step} [dim]·[/] {outcome} [dim]{now - self._since:.2f} s[/]")
        self._since = now
