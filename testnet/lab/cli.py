"""`nexus testnet run`, `generate` and `check`: the laboratory on the command line."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.live import Live

from crypto.errors import Reason, Refused
from node.cli.session import Form, Session
from node.home import write_file
from testnet.lab.generator import generate as drawn
from testnet.lab.laboratory import run_manifest
from testnet.lab.manifest import LabManifest
from testnet.lab.reading import load_manifest, to_toml
from testnet.lab.report import LabReport
from testnet.lab.view import Teller, verdict_table
from testnet.view import make_console

_console = make_console()
_progress = make_console(stderr=True)
SHIPPED: Final = Path(__file__).resolve().parent.parent / "manifests"
"""Where the manifests are that come with the program."""
Manifests = Annotated[
    list[str], typer.Argument(metavar="MANIFEST...", help="TOML files, or names of those that come with the program.")
]


def add_commands(app: typer.Typer) -> None:
    """Add the laboratory's commands to `nexus testnet`."""
    for command in (run, generate, check):
        app.command()(command)


def found(text: str) -> Path:
    """Return the file that a person means: a path, or the name of a manifest that comes with the program."""
    shipped = SHIPPED / f"{text}.toml"
    return shipped if not Path(text).exists() and shipped.exists() else Path(text)


def run(
    ctx: typer.Context,
    manifests: Manifests,
    home: Annotated[
        Path | None, typer.Option("--home", help="Keep the network here, in a folder for each manifest.")
    ] = None,
) -> None:
    """Run networks as their manifests say, and judge them; exit code 1 if anything that had to hold did not."""
    asked = [load_manifest(found(text)) for text in manifests]
    reports = [_run_one(manifest, home) for manifest in asked]
    if _form(ctx) is Form.JSON:
        sys.stdout.write(msgspec.json.encode(reports).decode() + "\n")
    else:
        for report in reports:
            _console.print(verdict_table(report))
    failed = [report.name for report in reports if not report.passed]
    if failed:
        raise Refused(Reason.INTERNAL, f"{', '.join(failed)}: not everything held that had to")


def _run_one(manifest: LabManifest, home: Path | None) -> LabReport:
    root = Path(tempfile.mkdtemp(prefix="nexus-lab-")) if home is None else home / manifest.name
    if not _progress.is_terminal:
        _progress.print(f"{manifest.name}: {len(manifest.nodes)} nodes in {root}", soft_wrap=True)
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=_progress, auto_refresh=False)) if _progress.is_terminal else None
        report = run_manifest(manifest, root, Teller(_progress, live))
    if home is None and report.passed:
        shutil.rmtree(root, ignore_errors=True)
    elif not report.passed:
        _progress.print(f"homes and logs are kept in {root}", soft_wrap=True)
    return report


def check(manifests: Manifests) -> None:
    """Say what is wrong with manifests, and run nothing."""
    for text in manifests:
        manifest = load_manifest(found(text))
        _console.print(
            f"{manifest.name}: {len(manifest.full_nodes())} nodes, {len(manifest.light_clients())} light clients, "
            f"{len(manifest.steps)} steps, {manifest.until} blocks", soft_wrap=True, markup=False,
        )


def generate(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first manifest; the next ones count on.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many manifests.")] = 1,
    folder: Annotated[Path | None, typer.Option("--dir", help="Write files here, instead of the terminal.")] = None,
) -> None:
    """Draw manifests from a seed: the same seed gives the same bytes."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + count):
        manifest = drawn(number)
        if folder is None:
            sys.stdout.write(to_toml(manifest))
        else:
            path = folder / f"{manifest.name}.toml"
            write_file(path, to_toml(manifest).encode())
            _console.print(f"{path}: {manifest.about}", soft_wrap=True, markup=False)


def _form(ctx: typer.Context) -> Form:
    session: Session | None = ctx.find_root().obj
    return session.output if session is not None else Form.TEXT
