"""A step of a transaction, as `node.tracing` tells it."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from crypto.errors import Refused


class Verdict(StrEnum):
    """What became of a step."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"
    DONE = "done"


class Step(msgspec.Struct, frozen=True):
    """One step. `detail` is the reason and sentence of a refusal, or says why nothing is known."""

    step: str
    verdict: Verdict
    detail: str = ""
    facts: Mapping[str, Any] = {}
    items: Sequence[Mapping[str, Any]] = ()


def checked(
    step: str, check: Callable[[], Any], facts: Mapping[str, Any] | None = None,
    items: Sequence[Mapping[str, Any]] = (),
) -> Step:
    """Return the step that a check makes: it holds, or it fails with the refusal that the check raises."""
    try:
        check()
    except Refused as refused:
        return Step(step, Verdict.FAILS, f"{refused.reason.value}: {refused.detail}", facts or {}, items)
    return Step(step, Verdict.HOLDS, "", facts or {}, items)
