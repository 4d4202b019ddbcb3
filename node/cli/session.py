"""What every command shares: where the home is, which node to ask, and how to print."""

import dataclasses
import inspect
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from crypto.errors import Refused

DEFAULT_HOME: Final = Path.home() / ".nexus"
DEFAULT_NODE: Final = "http://[::1]:8000"
CONFIG_FILE: Final = "config.toml"


class Form(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line.

    Attributes:
        home: the node's folder, which need not exist.
        node: URL of the node to ask; empty for the one whose home this is.
        output: how to print.
        recorded: a recorded answer to read instead of asking a node, for `light verify`.
    """

    home: Path
    node: str
    output: Form
    recorded: Path | None = None

    @property
    def url(self) -> str:
        """URL of the node to ask: as told, else that of the node whose home this is, else the usual one."""
        if self.node:
            return self.node
        try:
            settings = tomllib.loads((self.home / CONFIG_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return DEFAULT_NODE
        host = settings.get("api_host", "::1")
        return f"http://[{'::1' if host == '::' else host}]:{settings.get('api_port', 8000)}"

    def show(self, value: Any) -> None:
        """Print a result: a struct, a mapping, a list of either, or a plain value."""
        if self.output is Form.JSON:
            sys.stdout.write(msgspec.json.encode(plain(value)).decode() + "\n")
        else:
            for line in text_lines(plain(value)):
                sys.stdout.write(line + "\n")

    def note(self, text: str) -> None:
        """Tell a person something beside the result: to stderr, and not at all in JSON."""
        if self.output is Form.TEXT:
            sys.stderr.write(text + "\n")


def plain(value: Any) -> Any:
    """Return a value as JSON types, integers over 32 bits as decimal text as in the API."""
    return msgspec.to_builtins(value, enc_hook=lambda item: str(int(item)) if isinstance(item, int) else str(item))


def text_lines(value: Any, indent: int = 0) -> list[str]:
    """Return lines for people: `name: value`, nested values indented, lists of flat records as a table."""
    margin = "  " * indent
    if isinstance(value, Mapping):
        width = max((len(str(key)) for key in value), default=0) + 1
        lines = []
        for key, item in value.items():
            label = str(key).replace("_", " ") + ":"
            if isinstance(item, Mapping | list) and item:
                lines += [f"{margin}{label}", *text_lines(item, indent + 1)]
            else:
                lines.append(f"{margin}{label:<{width}} {_scalar(item)}".rstrip())
        return lines
    if isinstance(value, list):
        if value and all(isinstance(item, Mapping) and _flat(item) for item in value):
            return [margin + line for line in _table(value)]
        return [line for item in value for line in _item(item, indent)]
    return [margin + _scalar(value)]


def _item(value: Any, indent: int) -> list[str]:
    lines = text_lines(value, indent + 1)
    return [lines[0][: 2 * indent] + "- " + lines[0].lstrip(), *lines[1:]] if lines else []


def _flat(item: Mapping[str, Any]) -> bool:
    return not any(isinstance(value, Mapping | list) for value in item.values())


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[name.replace("_", " ") for name in names]]
    cells += [[_scalar(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _scalar(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != [] and value != {} else "none"


def report(refused: Refused, form: Form) -> None:
    """Print an error to stderr: one sentence, or in JSON the API's error object."""
    if form is Form.JSON:
        error = {"error": {"reason": refused.reason.value, "detail": refused.detail}}
        sys.stderr.write(msgspec.json.encode(error).decode() + "\n")
    else:
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        label = "\x1b[31merror:\x1b[0m" if colour else "error:"
        sys.stderr.write(f"{label} {refused.detail or refused.reason.value} ({refused.reason.value})\n")


_SHARED: Final[Mapping[str, Any]] = {
    "home": Annotated[Path | None, typer.Option(help="The node's folder.", rich_help_panel="Everywhere")],
    "node": Annotated[str | None, typer.Option(help="URL of the node to ask.", rich_help_panel="Everywhere")],
    "output": Annotated[Form | None, typer.Option(help="How to print.", rich_help_panel="Everywhere")],
}


def command(
    app: typer.Typer, name: str | None = None, shared: Mapping[str, inspect.Parameter] | None = None,
    wrap: Callable[..., None] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(session, *own parameters)` as a command that also takes --home, --node and --output.

    Given after the command's name they go before those given to `nexus` itself.

    Args:
        app: where to register.
        name: of the command; by default the function's.
        shared: more options that a family of commands has in common.
        wrap: called as `wrap(function, session, shared values, own values)` in place of the function.
    """
    family = dict(shared or {})

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        def run(ctx: typer.Context, **values: Any) -> None:
            given = {key: values.pop(key) for key in _SHARED}
            session: Session = ctx.find_root().obj
            session = dataclasses.replace(session, **{key: value for key, value in given.items() if value is not None})
            if wrap is None:
                function(session, **values)
            else:
                wrap(function, session, {key: values.pop(key) for key in family}, values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("ctx", keyword, annotation=typer.Context),
            *(parameter.replace(kind=keyword) for parameter in own),
            *family.values(),
            *(inspect.Parameter(key, keyword, default=None, annotation=kind) for key, kind in _SHARED.items()),
        ]
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name)(run)
        return function

    return register


def option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """Return an option that a family of commands shares, for `command`."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
