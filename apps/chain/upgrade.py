"""The protocol version in force, and how validators agree on the next one.

Each operator of a validator may approve one plan: a version, the height from which it is in force, and the name of the
release that knows it. The plan that more than two thirds of the power approve is scheduled. It is counted anew when
an approval is given or withdrawn, by the powers of that moment; LEAD blocks before its height the plan is fixed.

    key                 value
    chain/version       version in force, a number
    chain/upgrade       Plan: the scheduled one
    chain/approvals     Approvals: who approves which plan
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta

from apps.chain.messages import PlanUpgrade, WithdrawUpgrade
from apps.chain.records import validators_at
from apps.module import BlockDraft, Context
from consensus.types import MAX_VALIDATORS, ValidatorSet
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.ledger import read_number, write_number
from state.receipt import Event
from state.types import Address, AddressField

VERSION: Final = b"chain/version"
UPGRADE: Final = b"chain/upgrade"
APPROVALS: Final = b"chain/approvals"
LEAD: Final = 5
"""Blocks between the last approval and the height of the plan, at least."""


class Approval(Record, frozen=True):
    """What one operator approves."""

    operator: AddressField
    plan: PlanUpgrade


class Approvals(Record, frozen=True):
    """In rising order of operator."""

    approvals: Annotated[tuple[Approval, ...], Meta(max_length=MAX_VALIDATORS)]


_plan_codec: Final = Codec(PlanUpgrade)
_approvals_codec: Final = Codec(Approvals)


# ---- reading


def version_at(reader: Reader, height: int) -> int:
    """Return the version in force at a height: that of the last executed block, or of the one after it."""
    plan = scheduled(reader)
    if plan is not None and plan.height <= height:
        return plan.version
    return read_number(reader, VERSION)


def scheduled(reader: Reader) -> PlanUpgrade | None:
    """Return the plan that enough power approves and that is still ahead, or None."""
    raw = reader.get(UPGRADE)
    return None if raw is None else _plan_codec.decode(raw)


def approvals(reader: Reader) -> dict[Address, PlanUpgrade]:
    """Return what each operator approves, in order of operator."""
    raw = reader.get(APPROVALS)
    if raw is None:
        return {}
    return {one.operator: one.plan for one in _approvals_codec.decode(raw).approvals}


# ---- writing


def write_version(state: Overlay, version: int) -> None:
    """Set the version in force."""
    write_number(state, VERSION, version)


def start_version(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Put a scheduled version in force at its block; the plan and all approvals are done with."""
    plan = scheduled(state)
    if plan is None or block.height < plan.height:
        return
    write_version(state, plan.version)
    state.delete(UPGRADE)
    state.delete(APPROVALS)
    events.append(Event("chain/upgrade", (("version", str(plan.version)), ("release", plan.name))))


def plan_upgrade(context: Context, message: PlanUpgrade) -> None:
    """Approve a plan.

    Raises:
        Refused: UNKNOWN_VALIDATOR if the sender operates no validator of this block; BAD_ARGUMENT for a version that
            is not above the one in force, and a height that is not LEAD blocks ahead; TOO_LATE if a plan is fixed.
    """
    state, height = context.state, context.block.height
    validators = _validators(context)
    now = version_at(state, height)
    if message.version <= now:
        raise Refused(Reason.BAD_ARGUMENT, f"version {now} is in force, a plan is for a later one")
    if message.height < height + LEAD:
        raise Refused(Reason.BAD_ARGUMENT, f"a plan is for height {height + LEAD} or later")
    _write(state, validators, approvals(state) | {context.sender: message})
    context.emit("chain/plan_upgrade", operator=context.sender.hex(), version=str(message.version),
                 height=str(message.height), release=message.name)


def withdraw_upgrade(context: Context, message: WithdrawUpgrade) -> None:
    """Take an approval back.

    Raises:
        Refused: UNKNOWN_VALIDATOR, BAD_ARGUMENT if there is none, TOO_LATE if a plan is fixed.
    """
    validators = _validators(context)
    left = approvals(context.state)
    if left.pop(context.sender, None) is None:
        raise Refused(Reason.BAD_ARGUMENT, "the operator approves no plan")
    _write(context.state, validators, left)
    context.emit("chain/withdraw_upgrade", operator=context.sender.hex())


def _validators(context: Context) -> ValidatorSet:
    """Return the present set, of which the sender is; check that nothing is fixed yet."""
    validators = validators_at(context.state, context.block.height)
    if not any(validator.operator == context.sender for validator in validators.validators):
        raise Refused(Reason.UNKNOWN_VALIDATOR, "only the operator of a validator that votes decides on upgrades")
    plan = scheduled(context.state)
    if plan is not None and plan.height < context.block.height + LEAD:
        raise Refused(Reason.TOO_LATE, f"version {plan.version} at height {plan.height} is fixed")
    return validators


def _write(state: Overlay, validators: ValidatorSet, given: Mapping[Address, PlanUpgrade]) -> None:
    """Keep the approvals of present operators, and schedule the plan that enough power approves, or none."""
    powers: dict[Address, int] = {}
    for validator in validators.validators:
        powers[validator.operator] = powers.get(validator.operator, 0) + validator.power
    kept = {operator: given[operator] for operator in sorted(given) if operator in powers}
    if kept:
        state.put(APPROVALS, encode(Approvals(tuple(Approval(*one) for one in kept.items()))))
    else:
        state.delete(APPROVALS)
    support: dict[PlanUpgrade, int] = {}
    for operator, plan in kept.items():
        support[plan] = support.get(plan, 0) + powers[operator]
    chosen = next((plan for plan, power in support.items() if validators.is_quorum(power)), None)
    if chosen is None:
        state.delete(UPGRADE)
    else:
        state.put(UPGRADE, encode(chosen))


# ---- queries


def upgrade(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """chain/upgrade: the version in force, the scheduled plan (none: empty), and who approves what."""
    plan = scheduled(reader)
    return {
        "version": read_number(reader, VERSION),
        "scheduled": {} if plan is None else _described(plan),
        "approvals": [
            {"operator": encode_address(operator)} | _described(one) for operator, one in approvals(reader).items()
        ],
    }


def _described(plan: PlanUpgrade) -> dict[str, Any]:
    return {"version": plan.version, "height": plan.height, "name": plan.name}
