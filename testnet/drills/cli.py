"""`nexus testnet drill NAME|all`: rehearse a disaster on real nodes."""

import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
import trio
import typer

from crypto.errors import Reason, Refused
from node.cli.session import Form, Session
from testnet.drills.losses import node, quorum, region
from testnet.drills.rebirth import total
from testnet.stage import Stage, StepFailed
from testnet.view import make_console

Drill = Callable[[Stage, Path], Awaitable[None]]
DRILLS: Final[Mapping[str, tuple[str, Drill]]] = MappingProxyType({
    "node": ("A node loses its disk", node),
    "region": ("A region is cut off", region),
    "quorum": ("More than a third are gone", quorum),
    "total": ("Everything is lost but one backup", total),
})


class Step(msgspec.Struct, frozen=True):
    """One step of a drill."""

    drill: str
    step: str
    outcome: str
    seconds: float
    good: bool


def drill(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help=f"{', '.join(DRILLS)}, or all.")],
    home: Annotated[
        Path | None, typer.Option("--home", help="Keep the drill's folders here; by default they are deleted.")
    ] = None,
) -> None:
    """Rehearse a disaster on real nodes, step by step (docs/drills.md); exit code 1 if a step fails."""
    names = list(DRILLS) if name == "all" else [name]
    if unknown := [one for one in names if one not in DRILLS]:
        raise Refused(Reason.USAGE, f"there is no drill {unknown[0]!r}; there are {', '.join(DRILLS)} and all")
    session: Session | None = ctx.find_root().obj
    as_json = session is not None and session.output is Form.JSON
    stage = Stage(make_console(stderr=as_json))
    began = time.monotonic()
    for one in names:
        run_drill(stage, one, home)
    if as_json:
        steps = [Step(row.scene, row.step, row.outcome, round(row.seconds, 2), row.good) for row in stage.rows]
        sys.stdout.write(msgspec.json.encode(steps).decode() + "\n")
    else:
        stage.console.print(stage.score())
        stage.console.print(f"{len(stage.rows)} steps in {time.monotonic() - began:.0f} s")
    if stage.failed:
        raise typer.Exit(1)


def run_drill(stage: Stage, name: str, keep: Path | None = None) -> None:
    """Run one drill in a folder of its own. What goes wrong is noted on the stage."""
    title, play = DRILLS[name]
    stage.scene(name, title)
    root = Path(tempfile.mkdtemp(prefix=f"nexus-drill-{name}-")) if keep is None else keep / name
    try:
        if keep is not None:
            root.mkdir(parents=True)
        trio.run(play, stage, root)
    except FileExistsError:
        stage.broken(Refused(Reason.HOME_EXISTS, f"{root} exists already"))
    except (StepFailed, Refused) as error:
        note(stage, error)
    except BaseExceptionGroup as group:
        known, rest = group.split((StepFailed, Refused))
        if rest is not None:
            raise
        note(stage, _first(known))
    finally:
        if keep is None:
            shutil.rmtree(root, ignore_errors=True)


def note(stage: Stage, error: BaseException) -> None:
    """Note how a drill ended; a failed step is noted already."""
    if isinstance(error, Refused):
        stage.broken(error)


def _first(error: BaseException | None) -> BaseException:
    found = error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return StepFailed("") if found is None else found
