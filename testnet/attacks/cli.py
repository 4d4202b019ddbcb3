"""Commands: attacks on gossip in memory, and attacks on a real node."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.box import SIMPLE
from rich.table import Table

from crypto.errors import Reason, Refused
from node.cli.session import Form, Session
from testnet.attacks.raider import ROWS
from testnet.attacks.siege import Outcome, besiege
from testnet.bench.temporary import running_network
from testnet.view import make_console

OWN_SCENARIOS: Final = Path(__file__).parent / "scenarios"
app = typer.Typer(help="Attack a network, and see whether it holds.", invoke_without_command=True, add_completion=False)
_console = make_console()
_progress = make_console(stderr=True)


@app.callback()
def attack(
    ctx: typer.Context,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This attack alone; repeat for more.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each attack.")] = 5.0,
    nodes: Annotated[int, typer.Option("-n", "--nodes", min=4, max=16, help="Validators of the network.")] = 4,
) -> None:
    """Start a network, attack one node of it in every way, and show what that did; exit code 1 if it did not hold."""
    if ctx.invoked_subcommand is not None:
        return
    unknown = [name for name in only or () if name not in ROWS]
    if unknown:
        raise Refused(Reason.USAGE, f"there is no attack {unknown[0]!r}; there are {', '.join(ROWS)}")
    with running_network(nodes, senders=16) as network, _progress.status("attacking") as line:
        tell = line.update if _progress.is_terminal else _progress.print
        outcomes = besiege(network, only or list(ROWS), seconds, lambda one: tell(f"{one.name}: {one.verdict}"))
    session = ctx.find_root().obj
    if isinstance(session, Session) and session.output is Form.JSON:
        sys.stdout.write(msgspec.json.encode(outcomes).decode() + "\n")
    else:
        _console.print(siege_table(outcomes))
    if not all(outcome.holds for outcome in outcomes):
        raise typer.Exit(1)


def siege_table(outcomes: Sequence[Outcome]) -> Table:
    """Return what attacks did to the node, for people."""
    table = Table(box=SIMPLE, title="one node under attack, its neighbours not", title_justify="left")
    for name in ("attack", "sent", "MB", "blocks", "others", "MiB before", "peak", "after", "the node said", "verdict"):
        right = name not in ("attack", "the node said", "verdict")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "attack", overflow="fold")
    for one in outcomes:
        said = ", ".join(f"{number} {reason}" for reason, number in sorted(one.said.items(), key=lambda item: -item[1]))
        table.add_row(
            one.name, f"{one.sent} {one.unit}", f"{one.bytes / 1e6:.1f}", str(one.grown), str(one.others),
            *(str(size >> 20) for size in (one.memory_before, one.memory_peak, one.memory_after)), said, one.verdict,
        )
    return table


class GossipRow(msgspec.Struct, frozen=True):
    """A line of `testnet.attacks.gossip`; see `Verdict` there."""

    name: str
    scale: tuple[str, ...]
    messages: int
    delivered: float
    p50: float
    p99: float
    worst_node: float
    of_first: float
    to_first: float
    held: float
    refused: int
    dropped: int
    wall: float


def scenario_files() -> list[Path]:
    """Return our own scenarios, and those of NEXUS_VECTORS if it is set."""
    folders = [OWN_SCENARIOS]
    if "NEXUS_VECTORS" in os.environ:
        folders.insert(0, Path(os.environ["NEXUS_VECTORS"]) / "gossip_attacks")
    return [path for folder in folders for path in sorted(folder.glob("*.json"))]


def play_files(files: Sequence[Path], *options: str) -> Iterator[tuple[GossipRow, bool]]:
    """Play scenarios in processes of their own; yield what each showed and whether the network held.

    Raises:
        Refused: INTERNAL with what the process said if it shows nothing.
    """
    environment = dict(os.environ, PYTHONHASHSEED="0")
    for path in files:
        command = [sys.executable, "-m", "testnet.attacks.gossip", str(path), *options]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        if not run.stdout:
            raise Refused(Reason.INTERNAL, f"{path.name}: {(run.stderr.strip().splitlines() or ['no word'])[-1]}")
        yield msgspec.json.decode(run.stdout, type=GossipRow), run.returncode == 0


@app.command()
def gossip(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Scenarios; by default ours and those of NEXUS_VECTORS.")
    ] = None,
    honest: Annotated[int, typer.Option(min=8, max=200, help="Nodes that follow the protocol.")] = 50,
    attackers: Annotated[int, typer.Option(min=0, max=100, help="Nodes that do not.")] = 12,
    seed: Annotated[int, typer.Option(help="Of keys, links and choices.")] = 1,
) -> None:
    """Play gossip attacks in memory, a minute of simulated time each; exit code 1 if honest nodes miss messages."""
    options = ("--honest", str(honest), "--attackers", str(attackers), "--seed", str(seed))
    rows: list[tuple[GossipRow, bool]] = []
    with _progress.status("playing") as line:
        for row, held in play_files(files or scenario_files(), *options):
            rows.append((row, held))
            line.update(f"{row.name}: {row.delivered:.2%}, after {row.wall:.0f} s")
    _console.print(gossip_table(rows))
    for row, _ in rows:
        _console.print(f"{row.name}: " + "; ".join(row.scale), highlight=False)
    if not all(held for _, held in rows):
        raise typer.Exit(1)


def gossip_table(rows: Sequence[tuple[GossipRow, bool]]) -> Table:
    """Return the outcome for people. Times are simulated."""
    table = Table(box=SIMPLE, title="messages that honest nodes published, at honest nodes", title_justify="left")
    for name in ("attack", "delivered", "p50 ms", "p99 ms", "worst node", "of the first", "to the first", "mesh held",
                 "turned away", "holds"):
        table.add_column(name, justify="left" if name == "attack" else "right", no_wrap=name == "attack")
    for row, held in rows:
        table.add_row(
            row.name, f"{row.delivered:.2%}", f"{row.p50 * 1000:.0f}", f"{row.p99 * 1000:.0f}", f"{row.worst_node:.1%}",
            f"{row.of_first:.1%}", f"{row.to_first:.1%}", f"{row.held:.0%}", str(row.refused), "yes" if held else "NO",
        )
    return table
