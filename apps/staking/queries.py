"""Queries of the staking module. Amounts in unxs, shares of a whole in basis points."""

from collections.abc import Mapping
from typing import Any

import msgspec

from apps.chain.clock import time_mark
from apps.chain.records import fee_pool, security
from apps.parameters import address_parameter
from apps.staking.leaving import Entry, counted_from, entries_of, entry_amount, last_vote, moving_due
from apps.staking.pool import due, worth
from apps.staking.records import (
    candidates,
    commission_of,
    delegations,
    get_operator,
    pool_of,
    position_of,
    staking_params,
)
from apps.staking.sets import power_now
from crypto.address import encode_address
from state.changes import Reader
from state.types import Address


def validators(reader: Reader, _parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """staking/validators: every candidate; the highest power first."""
    rows = [_validator(reader, operator) for operator in candidates(reader)]
    return sorted(rows, key=lambda row: (-row["power"], row["operator"]))


def validator(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """staking/validator {operator}: one validator. Raises Refused(UNKNOWN_VALIDATOR)."""
    return _validator(reader, address_parameter(parameters, "operator"))


def _validator(reader: Reader, operator: Address) -> dict[str, Any]:
    found, pool = get_operator(reader, operator), pool_of(reader, operator)
    status = "tombstoned" if found.tombstoned else "jailed" if found.jailed else "candidate"
    return {
        "operator": encode_address(operator),
        "validator": encode_address(found.address),
        "public_key": found.public_key.hex(),
        "moniker": found.moniker,
        "status": status,
        "jailed_until": found.jailed_until,
        "power": power_now(reader, operator),
        "bonded": pool.amount,
        "self_bonded": worth(pool, position_of(reader, operator, operator).shares),
        "shares": pool.shares,
        "commission": found.commission,
        "commission_due": commission_of(reader, operator),
        "rewards_due": pool.unpaid,
        "score": found.score,
    }


def delegation(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """staking/delegation {delegator, operator}: what is bonded there, what it has earned."""
    return _delegation(reader, address_parameter(parameters, "delegator"), address_parameter(parameters, "operator"))


def delegations_of(reader: Reader, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """staking/delegations {delegator}: the same for each operator that the account has stake with."""
    delegator = address_parameter(parameters, "delegator")
    return [_delegation(reader, delegator, operator) for operator in delegations(reader, delegator)]


def _delegation(reader: Reader, delegator: Address, operator: Address) -> dict[str, Any]:
    pool, position = pool_of(reader, operator), position_of(reader, delegator, operator)
    return {
        "delegator": encode_address(delegator),
        "operator": encode_address(operator),
        "amount": worth(pool, position.shares),
        "shares": position.shares,
        "rewards": due(pool, position) + moving_due(reader, delegator, operator),
    }


def unbonding(reader: Reader, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """staking/unbonding {delegator}: what leaves (no target) or moves, and from when it is back or plain stake again.

    It matures at the first block that has both `height` and `time` (0: the epoch in which it set out is not over).
    """
    delegator = address_parameter(parameters, "delegator")
    return [_entry(reader, one) for _, one in entries_of(reader, delegator)]


def _entry(reader: Reader, one: Entry) -> dict[str, Any]:
    rules = security(reader)
    start = counted_from(one.epoch)
    mark = time_mark(reader, start)
    return {
        "operator": encode_address(one.source),
        "target": encode_address(Address(one.target)) if one.target else "",
        "epoch": one.epoch,
        "amount": entry_amount(reader, one),
        "height": last_vote(start, rules.epoch_length) + staking_params(reader).unbonding_blocks + 1,
        "time": 0 if mark is None else mark + rules.unbonding,
    }


def rewards(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """staking/rewards {delegator}: what `claim` would pay now, by operator; to an operator the commission too."""
    delegator = address_parameter(parameters, "delegator")
    targets = {Address(one.target) for _, one in entries_of(reader, delegator) if one.target}
    places = [*delegations(reader, delegator), *sorted(targets - set(delegations(reader, delegator)))]
    rows = [
        {
            "operator": encode_address(operator),
            "amount": _delegation(reader, delegator, operator)["rewards"],
            "commission": commission_of(reader, operator) if operator == delegator else 0,
        }
        for operator in places
    ]
    return {"rewards": rows, "total": sum(row["amount"] + row["commission"] for row in rows)}


def pool(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """staking/pool: stake that is bonded with all candidates, and fees that wait for the next commit."""
    return {
        "bonded": sum(pool_of(reader, operator).amount for operator in candidates(reader)),
        "candidates": len(candidates(reader)),
        "fees": fee_pool(reader),
    }


def parameters(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """staking/params: the rules of stake, and those that tie it to misbehaviour."""
    return {**msgspec.structs.asdict(staking_params(reader)), **msgspec.structs.asdict(security(reader))}


def reputation(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """staking/reputation {operator}: its score, 0 .. 10,000. Raises Refused(UNKNOWN_VALIDATOR)."""
    operator = address_parameter(parameters, "operator")
    return {"operator": encode_address(operator), "score": get_operator(reader, operator).score}
