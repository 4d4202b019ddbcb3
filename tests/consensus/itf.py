"""Reads traces in the Informal Trace Format (ITF JSON) into plain Python values.

The `itf-py` package cannot: it fails on variants that hold a tuple, which half of these traces do.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A value of a sum type: its tag, and what it holds (an empty tuple for nothing)."""

    tag: str
    value: Any


def load_trace(path: Path) -> list[dict[str, Any]]:
    """Return the states of a trace, by variable without its module prefix; empty states are left out."""
    states = json.loads(path.read_text())["states"]
    decoded = [{name.split("::")[-1]: decode(value) for name, value in state.items()} for state in states]
    return [{name: value for name, value in state.items() if name != "#meta"} for state in decoded if len(state) > 1]


def decode(value: Any) -> Any:
    """Return the value: records and maps as dict, sets as list, tuples, variants."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "#bigint" in value:
        return int(value["#bigint"])
    if "#tup" in value:
        return tuple(decode(item) for item in value["#tup"])
    if "#set" in value:
        return [decode(item) for item in value["#set"]]
    if "#map" in value:
        return {decode(key): decode(item) for key, item in value["#map"]}
    if set(value) == {"tag", "value"}:
        return Variant(value["tag"], decode(value["value"]))
    return {key: decode(item) for key, item in value.items()}
