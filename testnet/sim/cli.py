"""Simulate whole networks of production nodes from seeds, with faults; a failing seed can be run again exactly."""

import sys
import time
from typing import Annotated, Final

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crypto.errors import Reason, Refused
from node.cli.session import Form, Session, text_lines
from node.logs import configure_logging
from testnet.sim.faults import GROUPS, Kind
from testnet.sim.report import Report, quiet, run_seeds, setup_of
from testnet.view import make_console

app = typer.Typer(help="Simulate whole networks from seeds.", add_completion=False)
MAX_NODES: Final = 64


def kinds_of(text: str) -> tuple[Kind, ...]:
    """Return the faults that a list of names stands for, each once. Raises Refused(USAGE)."""
    found: dict[Kind, None] = {}
    for name in text.split(","):
        if name in GROUPS:
            found.update(dict.fromkeys(GROUPS[name]))
        elif name in tuple(Kind):
            found[Kind(name)] = None
        else:
            known = ", ".join((*GROUPS, *Kind))
            raise Refused(Reason.USAGE, f"there is no kind of fault {name!r}; there are {known}")
    return tuple(found)


@app.command()
def sim(
    ctx: typer.Context,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, one after the other.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, max=MAX_NODES, help="Validators.")] = 4,
    heights: Annotated[int, typer.Option(min=1, help="Blocks to make under faults, in each run.")] = 100,
    faults: Annotated[str, typer.Option(help="all, none, or kinds and groups of them, with commas between.")] = "all",
    byzantine: Annotated[str, typer.Option(help="Liars: any, or NAME=COUNT with commas between.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the seeds.")] = 1,
    output: Annotated[Form | None, typer.Option(help="How to print.", rich_help_panel="Everywhere")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the nodes' own logs.")] = False,
) -> None:
    """Run production nodes on a simulated clock, network and disk; exit code 1 if a check fails in any run.

    Every 100th seed (by its number) runs on real Falcon-1024 keys, every 4th has a machine that follows without a vote.
    """
    kinds = kinds_of(faults)
    if verbose:
        configure_logging("debug", "console")
    else:
        quiet()
    setups = [setup_of(one, nodes, heights, kinds, byzantine) for one in range(seed, seed + seeds)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=make_console(stderr=True), transient=True) as progress:
        task = progress.add_task("seeds", total=seeds)
        report = run_seeds(setups, jobs, time.monotonic, lambda: progress.advance(task))
    if (output or _form(ctx)) is Form.JSON:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _print(report)
    if report.failures:
        raise typer.Exit(1)


def _form(ctx: typer.Context) -> Form:
    session = ctx.find_object(Session)
    return session.output if session is not None else Form.TEXT


def _print(report: Report) -> None:
    totals = {name: value for name, value in msgspec.to_builtins(report).items() if name not in ("failures", "digests")}
    for name, value in totals.items():
        totals[name] = round(value, 2) if isinstance(value, float) else value
    if report.seeds == 1:
        totals["digest"] = next(iter(report.digests.values()))
    for line in text_lines(totals):
        sys.stdout.write(line + "\n")
    for failure in report.failures:
        sys.stdout.write(f"seed {failure.seed}, after {failure.simulated_seconds} simulated seconds: {failure.what}\n"
                         f"  again: {failure.command}\n")
