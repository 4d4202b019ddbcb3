"""Manifests from TOML and back: every wrong key and value is named in one error, with what would be right."""

import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from crypto.errors import Reason, Refused
from testnet.lab.manifest import STEPS, Chain, LabManifest, Link, LinkClass, Load, Node, Table
from testnet.lab.sense import contradictions


def load_manifest(path: Path) -> LabManifest:
    """Read and check a manifest; one without a name is called as its file.

    Raises:
        Refused: BAD_CONFIG with everything that is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Refused(Reason.BAD_CONFIG, f"{path} cannot be read: {why}") from None
    return parse_manifest(text, path.name, path.stem)


def parse_manifest(text: str, source: str = "the manifest", name: str = "unnamed") -> LabManifest:
    """Read and check a manifest.

    Args:
        text: TOML.
        source: for the error.
        name: of the manifest, if it does not say.

    Raises:
        Refused: BAD_CONFIG with everything that is wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(Reason.BAD_CONFIG, f"{source} is no TOML: {error}") from None
    table.setdefault("name", name)
    reading = _Reading()
    manifest = reading.manifest(table)
    wrong = list(reading.wrong)
    if manifest is not None and not wrong:
        wrong = contradictions(manifest)
    if wrong or manifest is None:
        raise Refused(Reason.BAD_CONFIG, f"{source}: " + "; ".join(wrong))
    return manifest


class _Reading:
    """One pass over a document that notes everything that is wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def manifest(self, table: Mapping[str, Any]) -> LabManifest | None:
        parts = {"chain", "load", "classes", "links", "nodes", "steps"}
        values = self._values(LabManifest, table, "the top level", parts)
        for key, kind in (("chain", Chain), ("load", Load)):
            if key in table:
                values[key] = self._table(kind, table[key], f"[{key}]")
        for key, of in (("classes", LinkClass), ("nodes", Node)):
            if key in table:
                values[key] = {
                    name: self._table(of, inner, f"[{key}.{name}]") for name, inner in self._named(table[key], key)
                }
        if "links" in table:
            values["links"] = tuple(
                self._table(Link, inner, place) for inner, place in self._listed(table["links"], "links")
            )
        if "steps" in table:
            values["steps"] = tuple(self._step(inner, place) for inner, place in self._listed(table["steps"], "steps"))
        if "nodes" not in table:
            self.wrong.append("there are no nodes: add tables such as [nodes.alpha]")
        return None if self.wrong else self._convert(values)

    def _convert(self, values: dict[str, Any]) -> LabManifest | None:
        try:
            return msgspec.convert(msgspec.to_builtins(values), LabManifest)
        except msgspec.ValidationError as error:  # names of nodes and classes
            self.wrong.append(f"{error} (names begin with a letter: a-z, 0-9 and -, at most 30)")
            return None

    def _step(self, table: Any, place: str) -> Any:
        if not isinstance(table, dict):
            self.wrong.append(f"{place} is no table")
            return None
        do = str(table.get("do", ""))
        if do not in STEPS:
            said = f"does not know do = {do!r}" if do else "does not say what to do"
            self.wrong.append(f"{place} {said}{_meant(do, STEPS)}: there are {', '.join(STEPS)}")
            return None
        rest = {key: value for key, value in table.items() if key != "do"}
        return self._table(STEPS[do], rest, f"{place} ({do})")

    def _table(self, kind: type[Table], table: Any, place: str) -> Any:
        if not isinstance(table, dict):
            self.wrong.append(f"{place} is no table")
            return None
        before = len(self.wrong)
        values = self._values(kind, table, place)
        return kind(**values) if len(self.wrong) == before else None

    def _values(
        self, kind: type[Table], table: Mapping[str, Any], place: str, parts: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the values of a table by attribute; `parts` are read elsewhere."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in fields:
                known = ", ".join(fields)
                self.wrong.append(f"{place} has no key {key!r}{_meant(key, fields)}: there are {known}")
            elif key not in parts:
                try:
                    values[fields[key].name] = msgspec.convert(value, fields[key].type)
                except msgspec.ValidationError as error:
                    self.wrong.append(f"{place}: {key} = {value!r}: {_wanted(fields[key].type) or error}")
        missing = [key for key, field in fields.items() if field.required and key not in table and key not in parts]
        self.wrong += [f"{place} needs {key}" for key in missing]
        return values

    def _named(self, value: Any, key: str) -> list[tuple[str, Any]]:
        if isinstance(value, dict):
            return list(value.items())
        self.wrong.append(f"{key} is no table of tables: write [{key}.NAME]")
        return []

    def _listed(self, value: Any, key: str) -> list[tuple[Any, str]]:
        if isinstance(value, list):
            return [(inner, f"[[{key}]] {number}") for number, inner in enumerate(value, 1)]
        self.wrong.append(f"{key} is no list of tables: write [[{key}]]")
        return []


def _meant(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _wanted(kind: Any) -> str:
    """Return what a key takes, where msgspec does not say."""
    return f"it is one of {', '.join(map(repr, get_args(kind)))}" if get_origin(kind) is Literal else ""


def to_toml(manifest: LabManifest) -> str:
    """Return a manifest as TOML, without what is as usual. `parse_manifest` gives the same manifest."""
    own = _unusual(manifest)
    lines = [_line(key, own[key]) for key in ("name", "about", "seed", "until", "limit") if key in own]
    for key, table in (("chain", manifest.chain), ("load", manifest.load)):
        if _unusual(table):
            lines += _section(f"[{key}]", table)
    for name, way in manifest.classes.items():
        lines += _section(f"[classes.{name}]", way)
    for link in manifest.links:
        lines += _section("[[links]]", link)
    for name, node in manifest.nodes.items():
        lines += _section(f"[nodes.{name}]", node)
    for step in manifest.steps:
        lines += _section("[[steps]]", step)
    return "\n".join(lines) + "\n"


def _unusual(table: Table) -> dict[str, Any]:
    """Return what a table says by key, without what is as usual."""
    tag = type(table).__struct_config__.tag
    said = {} if tag is None else {"do": tag}
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if field.required or value != field.default:
            said[field.encode_name] = value
    return said


def _section(head: str, table: Table) -> list[str]:
    return ["", head, *(_line(key, value) for key, value in _unusual(table).items())]


def _line(key: str, value: Any) -> str:
    # a JSON string, number, boolean or list of those is a TOML one
    text = msgspec.json.encode(value).decode()
    return f"{key} = {text.replace(',', ', ') if isinstance(value, list | tuple) else text}"
