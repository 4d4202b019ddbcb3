"""Queries of the slashing module."""

from collections.abc import Mapping
from typing import Any

from apps.parameters import address_parameter
from apps.slashing.records import missed_at, uptime
from apps.staking.records import get_operator, staking_params
from crypto.address import encode_address
from state.changes import Reader


def info(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """slashing/info {operator}: jail, tombstone, commits missed of the window, the score. Raises UNKNOWN_VALIDATOR."""
    operator = address_parameter(parameters, "operator")
    found, known, rules = get_operator(reader, operator), uptime(reader, operator), staking_params(reader)
    last = known.height if known is not None else 0
    return {
        "operator": encode_address(operator),
        "validator": encode_address(found.address),
        "jailed": found.jailed,
        "jailed_until": found.jailed_until,
        "tombstoned": found.tombstoned,
        "window": rules.downtime_window,
        "missed": missed_at(known, last, rules.downtime_window) if known is not None else 0,
        "last_missed": last,
        "score": found.score,
    }


def parameters(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """slashing/params: what faults cost."""
    rules = staking_params(reader)
    names = ("slash_double_sign", "slash_downtime", "downtime_window", "min_signed", "jail_blocks")
    return {name: getattr(rules, name) for name in names}
