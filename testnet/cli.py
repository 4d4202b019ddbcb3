"""Run a network of real nodes on this machine."""

import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import httpx
import msgspec
import typer
from rich.box import SIMPLE
from rich.live import Live
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from crypto.errors import Reason, Refused
from node.cli.session import Form, Session
from testnet.attacks.cli import app as attacks
from testnet.bench.temporary import running_network
from testnet.byzantine.behaviours import check_names
from testnet.containers import homes
from testnet.create import PLAIN, PROVING, WALLET_PASSWORD, WALLETS, create_network
from testnet.drills.cli import drill
from testnet.faucet.cli import faucet
from testnet.faucet.process import check_faucet, start_faucet, stop_faucet
from testnet.forge import Forged, Plan
from testnet.forge import forge as run_forge
from testnet.lab.cli import add_commands
from testnet.load import LoadReport, run_load
from testnet.network import LocalNetwork, exists
from testnet.plotting import make_plots, missing_plots
from testnet.senders import SENDERS
from testnet.soak import soak as run_soak
from testnet.view import NodeRow, Throughput, as_table, look, make_console

DEFAULT_ROOT: Final = Path.home() / ".nexus-testnet"
FAUCET_LOOKS: Final = 100
"""How often to look whether the faucet answers ..."""
FAUCET_LOOK: Final = 0.2
"""... and how long to wait in between, in seconds."""
REFRESH: Final = 1.0
"""Seconds between two looks of the live table."""

app = typer.Typer(help="Run a network of real nodes on this machine.", no_args_is_help=True, add_completion=False)
add_commands(app)
app.command()(faucet)
app.command()(drill)
app.command()(homes)
app.add_typer(attacks, name="attack")
HomeOption = Annotated[Path, typer.Option("--home", help="The testnet's folder.")]
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="node2, or 2.")]
_console = make_console()
_progress = make_console(stderr=True)


@app.command()
def up(
    ctx: typer.Context,
    nodes: Annotated[int, typer.Option("-n", "--nodes", min=1, max=32, help="How many validators, if it is new.")] = 4,
    home: HomeOption = DEFAULT_ROOT,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and return.")] = False,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Ask validators for space, work and time besides stake, if it is new.")
    ] = False,
    byzantine: Annotated[
        list[str] | None, typer.Option(metavar="NODE=BEHAVIOUR", help="Have a node lie, e.g. 3=double_prevote; repeat.")
    ] = None,
    faucet_port: Annotated[
        int | None, typer.Option("--faucet", min=1, max=65535, help="Run a faucet on this port, too.")
    ] = None,
) -> None:
    """Start the network, making it first if there is none, and watch it. Ctrl-C stops it; --detach leaves it."""
    lies = [liar(text) for text in byzantine or ()]
    if not exists(home):
        with _progress.status(f"making keys and homes for {nodes} validators"):
            create_network(home, nodes, rules=PROVING if proofs else PLAIN)
    network = LocalNetwork(home)
    for name, behaviours in lies:
        network.let_lie(name, *behaviours)
    plot_all(network)
    try:
        with _progress.status("starting"):
            network.start_all()
            network.wait_until(lambda: all(row.state == "running" for row in look(network)), "the nodes start")
            if faucet_port is not None:
                open_faucet(home, faucet_port)
    except Refused:
        stop_faucet(home)
        network.stop_all()
        raise
    _progress.print(_hint(network), soft_wrap=True, markup=False)
    if detach:
        _show(ctx, network)
        return
    try:
        watch(network)
    except KeyboardInterrupt:
        _progress.print("stopping")
    finally:
        stop_faucet(home)
        network.stop_all()


def open_faucet(home: Path, port: int) -> None:
    """Start the faucet and wait until it answers. Raises Refused(NODE_DIED | TIMED_OUT)."""
    url = start_faucet(home, port).url
    for _ in range(FAUCET_LOOKS):
        check_faucet(home)
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(FAUCET_LOOK)
            continue
        _progress.print(f"faucet at {url}", markup=False)
        return
    raise Refused(Reason.TIMED_OUT, "the faucet does not answer")


def plot_all(network: LocalNetwork) -> None:
    """Make the plots that the chain asks for, with a bar for each validator."""
    missing = missing_plots(network)
    if not missing:
        return
    with Progress(console=_progress) as bars:
        tasks = {name: bars.add_task(f"{name} plots, k = {plot.k}", total=1.0) for name, plot in missing.items()}
        make_plots(missing, lambda name, share: bars.update(tasks[name], completed=share))


def liar(text: str) -> tuple[str, list[str]]:
    """Return node and behaviours of `3=double_prevote` or `3=equivocating_proposal,double_prevote`.

    Raises:
        Refused: USAGE.
    """
    name, sign, behaviours = text.partition("=")
    if not sign:
        raise Refused(Reason.USAGE, f"{text!r} is not of the form NODE=BEHAVIOUR")
    names = behaviours.split(",")
    check_names(names)
    return name, names


def _hint(network: LocalNetwork) -> str:
    """Return how to use the network from another terminal."""
    wallets, node = network.root / "wallets", network.members[0].url
    return (
        f"chain id {network.manifest.chain_id}; wallets {', '.join(WALLETS)} with the password {WALLET_PASSWORD!r}:\n"
        f"  NEXUS_PASSWORD={WALLET_PASSWORD} nexus tx transfer bob 5nxs --from alice --home {wallets} --node {node}"
    )


def watch(network: LocalNetwork) -> None:
    """Show the live table until interrupted."""
    throughput = Throughput()
    with Live(console=_console, auto_refresh=False) as live:
        while True:
            rows = look(network)
            live.update(as_table(rows, f"testnet in {network.root}", throughput.update(network, rows)), refresh=True)
            time.sleep(REFRESH)
            network = LocalNetwork(network.root)  # another command may have stopped or restarted a node


@app.command()
def status(ctx: typer.Context, home: HomeOption = DEFAULT_ROOT) -> None:
    """Show how every node is; exit code 1 if one that should run does not answer."""
    rows = _show(ctx, LocalNetwork(home))
    if any(row.state in ("died", "no answer") for row in rows):
        raise typer.Exit(1)


@app.command()
def load(
    ctx: typer.Context,
    rate: Annotated[float, typer.Option(help="Payments a second, to all nodes together.")] = 100.0,
    duration: Annotated[float, typer.Option(help="Seconds.")] = 10.0,
    senders: Annotated[int, typer.Option(min=1, max=SENDERS, help="Accounts that pay.")] = SENDERS,
    home: HomeOption = DEFAULT_ROOT,
) -> None:
    """Offer payments, signed beforehand, at a given rate; report when they were final on all nodes."""
    network = LocalNetwork(home)
    with _progress.status("preparing") as line:
        report = run_load(network, rate, duration, senders, line.update)
    if _form(ctx) is Form.JSON:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _console.print(load_table(report))
    if report.committed != report.offered:
        missing = report.offered - report.committed
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.refused.items()) or "none refused"
        raise Refused(Reason.NOT_AVAILABLE, f"{missing} of {report.offered} payments are not final ({reasons})")


@app.command()
def kill(
    ctx: typer.Context,
    node: NodeArgument,
    hard: Annotated[bool, typer.Option("-9", help="SIGKILL instead of SIGTERM.")] = False,
    home: HomeOption = DEFAULT_ROOT,
) -> None:
    """Stop one node: cleanly, or with -9 as a power cut would."""
    member = LocalNetwork(home).stop(node, signal.SIGKILL if hard else signal.SIGTERM)
    _progress.print(f"{member.name} is stopped")


@app.command()
def restart(ctx: typer.Context, node: NodeArgument, home: HomeOption = DEFAULT_ROOT) -> None:
    """Start one node again (stopping it first if it runs) and wait until it has caught up."""
    network = LocalNetwork(home)
    member = network.stop(node)
    network.start(node)
    with _progress.status(f"{member.name} starts and catches up"):
        network.wait_until(
            lambda: any(row.name == member.name and row.state == "running" for row in look(network)), member.name
        )
    _show(ctx, network)


@app.command()
def down(
    home: HomeOption = DEFAULT_ROOT,
) -> None:
    """Stop every node. The chain stays: `up` goes on where it stopped."""
    network = LocalNetwork(home)
    with _progress.status("stopping"):
        stop_faucet(home)
        network.stop_all()
    _progress.print(f"stopped; {home} keeps the chain")


@app.command()
def soak(
    ctx: typer.Context,
    cycles: Annotated[int, typer.Option(min=1, help="How often to kill.")] = 200,
    nodes: Annotated[int, typer.Option("-n", "--nodes", min=4, max=32, help="How many validators.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Of victims and moments; by default another one each time.")] = None,
) -> None:
    """Kill -9 random nodes of a new network under load; afterwards nothing acknowledged is missing anywhere."""
    chosen = secrets.randbelow(10**6) if seed is None else seed
    _progress.print(f"{nodes} nodes, {cycles} cycles, --seed {chosen}")
    with running_network(nodes) as network, _progress.status("starting") as line:
        report = run_soak(network, cycles, chosen, line.update if _progress.is_terminal else _progress.print)
    if _form(ctx) is Form.JSON:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        table = Table(show_header=False, title=f"soak, seed {report.seed}", title_justify="left", box=SIMPLE)
        table.add_row("kill -9", f"{report.kills} in {report.cycles} cycles")
        table.add_row("payments called committed", f"{report.acknowledged}, each looked for on {nodes} nodes")
        table.add_row("blocks", str(report.height))
        table.add_row("votes and proposals compared", str(report.votes))
        table.add_row("problems", "\n".join(report.problems) or "none")
        _console.print(table)
    if report.problems:
        raise Refused(Reason.INTERNAL, f"{len(report.problems)} problems; run it again with --seed {chosen}")


@app.command()
def forge(
    ctx: typer.Context,
    blocks: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    txs: Annotated[int, typer.Option(min=0, help="Payments in each block.")] = 0,
    outputs: Annotated[int, typer.Option(min=0, help="Unspent outputs that the first blocks make.")] = 0,
    nodes: Annotated[int, typer.Option("-n", "--nodes", min=1, max=32, help="How many validators sign.")] = 1,
    signed: Annotated[
        bool, typer.Option("--signed/--unsigned", help="Without signatures it is faster, and no other node takes it.")
    ] = True,
    archive: Annotated[bool, typer.Option("--archive", help="Keep the state of every height.")] = False,
    home: HomeOption = DEFAULT_ROOT,
) -> None:
    """Make a network that has a long chain already: the nodes' own code, without waiting. `up` goes on with it."""
    plan = Plan(blocks, nodes, txs, outputs, signed, archive=archive)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=_progress, transient=True) as bars:
        task = bars.add_task("making keys", total=blocks)
        made = run_forge(home, plan, lambda height, what: bars.update(task, completed=height, description=what))
    if _form(ctx) is Form.JSON:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
    else:
        _console.print(forged_table(made))
        _progress.print(f"nexus testnet up --home {home}", soft_wrap=True, markup=False)


def forged_table(made: Forged) -> Table:
    """Return what was forged, for people."""
    table = Table(show_header=False, title="forged", title_justify="left", box=SIMPLE)
    table.add_row("blocks", f"{made.height} in {made.seconds:.1f} s")
    table.add_row("transactions", str(made.transactions))
    table.add_row("unspent outputs", str(made.outputs))
    table.add_row("chain id", made.chain_id)
    table.add_row("last block", made.block_id)
    return table


def load_table(report: LoadReport) -> Table:
    """Return a load's outcome for people."""
    table = Table(show_header=False, title="payments, final on all nodes", title_justify="left", box=SIMPLE)
    table.add_row("committed", f"{report.committed} of {report.offered} offered, {report.per_second:.1f} a second")
    for reason, count in report.refused.items():
        table.add_row("refused", f"{count} {reason}")
    delays = f"p50 {report.p50:.3f} s, p99 {report.p99:.3f} s, slowest {report.slowest:.3f} s"
    table.add_row("submission to finality", delays)
    table.add_row("CPU", f"{report.cpu_each * 1e6:.0f} us a payment over {len(report.nodes)} nodes")
    ceiling = f"{report.verify * 1e6:.0f} us a verification now: at most {report.ceiling:.0f} a second on 2 cores"
    table.add_row("ceiling by signatures", f"{ceiling}; reached {report.per_second / report.ceiling:.2f} of it")
    table.add_row("signing beforehand", f"{report.signing:.1f} s, {report.senders} senders, not counted")
    for node in report.nodes:
        share = node.cpu_seconds / report.elapsed if report.elapsed else 0.0
        table.add_row(node.name, f"{share:.2f} cores, {node.memory / 1e6:.0f} MB")
    return table


def _form(ctx: typer.Context) -> Form:
    session: Session | None = ctx.find_root().obj
    return session.output if session is not None else Form.TEXT


def _show(ctx: typer.Context, network: LocalNetwork) -> list[NodeRow]:
    rows = look(network)
    if _form(ctx) is Form.JSON:
        sys.stdout.write(msgspec.json.encode(rows).decode() + "\n")
    else:
        _console.print(as_table(rows, f"testnet in {network.root}"))
    return rows
