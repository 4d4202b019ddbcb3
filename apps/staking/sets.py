"""Who votes: candidates, their power, and the set that is chosen at the end of an epoch."""

from operator import itemgetter

from apps.chain.records import set_validators, validators_at
from apps.proofs.records import halves
from apps.staking.pool import worth
from apps.staking.records import (
    MAX_CANDIDATES,
    candidates,
    find_operator,
    pool_of,
    position_of,
    power_of,
    set_candidates,
    staking_params,
)
from consensus.types import Validator, make_validator_set
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.types import Address


def power_now(reader: Reader, operator: Address) -> int:
    """Return the power that an operator would have in a set that is chosen now; 0 if it cannot be in one."""
    found = find_operator(reader, operator)
    if found is None or found.jailed or found.tombstoned:
        return 0
    pool = pool_of(reader, operator)
    own = worth(pool, position_of(reader, operator, operator).shares)
    if own < staking_params(reader).min_self_stake:
        return 0
    return power_of(pool.amount, halves(reader, operator))


def choose_set(state: Overlay, height: int) -> None:
    """Let those with the most power vote from `height` + 2 on; of equals those with the lower address of operator.

    A chain without any candidate left keeps the set that it has.
    """
    powers = [(power_now(state, operator), operator) for operator in candidates(state)]
    ranked = sorted(((-power, operator) for power, operator in powers if power), key=itemgetter(0, 1))
    chosen = []
    for power, operator in ranked[: staking_params(state).max_validators]:
        found = find_operator(state, operator)
        if found is not None:
            chosen.append(Validator(found.address, found.public_key, -power, operator))
    if chosen:
        write_set(state, height, chosen)


def write_set(state: Overlay, height: int, chosen: list[Validator]) -> None:
    """Let these vote from `height` + 2 on, if that changes anything."""
    new = make_validator_set(chosen)
    if new.hash != validators_at(state, height + 2).hash:
        set_validators(state, height + 2, new)


def expel(state: Overlay, height: int, operator: Address) -> bool:
    """Take an operator out of the set from `height` + 2 on; tell whether it was in it. The last one stays."""
    now = validators_at(state, height + 2).validators
    rest = [one for one in now if one.operator != operator]
    if not rest or len(rest) == len(now):
        return False
    write_set(state, height, rest)
    return True


def enlist(state: Overlay, operator: Address) -> None:
    """Make sure that an operator is among the candidates; when the list is full it takes the weakest one's place.

    One that is weaker than all stays off the list until its stake grows.
    """
    known = candidates(state)
    if operator in known:
        return
    if len(known) >= MAX_CANDIDATES:
        weakest = min(known, key=lambda one: (power_now(state, one), one))
        if power_now(state, weakest) >= power_now(state, operator):
            return
        known.remove(weakest)
    set_candidates(state, [*known, operator])


def check_room(reader: Reader, own: int) -> None:
    """Refuse a new operator that could not become a candidate. Raises Refused(INSUFFICIENT_STAKE)."""
    known = candidates(reader)
    if len(known) < MAX_CANDIDATES:
        return
    least = min(power_now(reader, one) for one in known)
    if power_of(own) <= least:
        raise Refused(Reason.INSUFFICIENT_STAKE, f"all {MAX_CANDIDATES} candidates have a power of {least} or more")
