"""Messages of the chain module."""

from typing import Annotated

from msgspec import Meta

from state.encoding import Record
from state.types import HeightField
from state.version import MAX_VERSION


class PlanUpgrade(Record, frozen=True):
    """chain/plan_upgrade: a validator's operator approves that from block `height` on `version` is in force.

    It replaces what the operator approved before. `name` says for people which release to install.
    """

    version: Annotated[int, Meta(ge=1, le=MAX_VERSION)]
    height: HeightField
    name: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[ -~]*$")]


class WithdrawUpgrade(Record, frozen=True):
    """chain/withdraw_upgrade: the operator takes its approval back."""
