"""`nexus`: one lazy group. A command's module is imported when it is called, never for help or another command.

Built-in commands are modules of `node.cli.commands` by their own name, each with a Typer `app`; other packages add
theirs through the entry-point group `nexus.commands`. The help line of a command is the first line of its module's
docstring, read from the source without running it.
"""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from crypto.errors import Reason, Refused
from node.cli.session import DEFAULT_HOME, Form, Session, report

COMMANDS: Final = ("init", "start", "status", "peers", "keys", "tx", "wallet", "anonymous", "script", "query", "light",
                   "checkpoint", "genesis", "validator", "snapshots", "gossip", "interop", "indexer", "rollback",
                   "reset", "debug")
PACKAGE: Final = "node.cli.commands"
PLUGINS: Final = "nexus.commands"
INTERRUPTED: Final = 130


class LazyGroup(TyperGroup):
    """Knows its commands by name; loads the one that is called."""

    @cached_property
    def _plugins(self) -> Mapping[str, str]:
        return {point.name: point.value for point in importlib.metadata.entry_points(group=PLUGINS)}

    def _target(self, name: str) -> str | None:
        return f"{PACKAGE}.{name}:app" if name in COMMANDS else self._plugins.get(name)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return every name: our own in the order of use, then those of other packages."""
        names = [*COMMANDS, *sorted(set(self._plugins) - set(COMMANDS))]
        self.commands.update({name: _placeholder(name, self._target(name) or "") for name in names})
        return names

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return a stand-in that has the command's name and help line, or None."""
        if cmd_name not in self.commands and self._target(cmd_name) is None:
            self.list_commands(ctx)  # so that the error can suggest a name that is near
        target = self._target(cmd_name)
        return None if target is None else _placeholder(cmd_name, target)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Replace the stand-in by the real command: from here on it runs."""
        name, _, rest = super().resolve_command(ctx, args)
        target = self._target(name or "")
        return name, None if target is None else _load(name or "", target), rest


_COMPLETION: Final = frozenset({"install_completion", "show_completion"})


def _placeholder(name: str, target: str) -> TyperCommand:
    return TyperCommand(name, help=_help_line(target.partition(":")[0]))


def _load(name: str, target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    command = typer.main.get_command(getattr(importlib.import_module(module_name), attribute))
    command.name = name
    # completion is installed for `nexus` as a whole: Typer offers it for each application that is turned into a command
    command.params = [one for one in command.params if one.name not in _COMPLETION]
    if not command.help:
        command.help = _help_line(module_name)
    return command


def _help_line(module_name: str) -> str:
    """Return the first line of a module's docstring. The module is not run; only its package's `__init__` is."""
    try:
        spec = importlib.util.find_spec(module_name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return ""
    parts = Path(spec.origin).read_text("utf-8").split('"""', 2)
    first = parts[1].strip().splitlines()[0] if len(parts) == 3 else ""
    return first.partition(": ")[2].capitalize() if first.startswith("`nexus ") else first


app: Final = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def nexus(
    ctx: typer.Context,
    home: Annotated[Path, typer.Option(envvar="NEXUS_HOME", help="The node's folder.")] = DEFAULT_HOME,
    node: Annotated[str, typer.Option(envvar="NEXUS_NODE", help="URL of the node to ask.")] = "",
    output: Annotated[Form, typer.Option(envvar="NEXUS_OUTPUT", help="How to print.")] = Form.TEXT,
) -> None:
    """A post-quantum peer-to-peer node: consensus, payments and verified queries."""
    ctx.obj = Session(home, node, output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0 for done, 1 for refused or failed, 2 for wrong usage."""
    form = _form_of(sys.argv[1:] if arguments is None else arguments)
    try:
        app(None if arguments is None else list(arguments), prog_name="nexus")
    except Refused as refused:
        report(refused, form)
        sys.exit(2 if refused.reason is Reason.USAGE else 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("NEXUS_DEBUG"):
            raise
        report(Refused(Reason.INTERNAL, f"{type(error).__name__}: {error} (NEXUS_DEBUG=1 shows where)"), form)
        sys.exit(1)
    return 0


def _form_of(arguments: Sequence[str]) -> Form:
    """Return the form that errors are printed in: the parser may fail before it knows."""
    words = " ".join(arguments)
    asked = "--output json" in words or "--output=json" in words or os.environ.get("NEXUS_OUTPUT") == "json"
    return Form.JSON if asked else Form.TEXT


if __name__ == "__main__":
    main()
