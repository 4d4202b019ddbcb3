"""Whose proof a message gives: an operator may send it, or the account of the consensus key that its validator has."""

from apps.chain.records import validators_at
from apps.staking.records import bonded, find_operator, operator_of_key, power_of, staking_params
from state.changes import Reader
from state.types import Address, Height


def credited(reader: Reader, sender: Address) -> Address:
    """Return whom a proof that an account sends counts for: the operator whose present key it is of, else itself."""
    operator = operator_of_key(reader, sender)
    if operator is None:
        return sender
    found = find_operator(reader, operator)
    return operator if found is not None and found.address == sender else sender


def validator_of(reader: Reader, height: Height, sender: Address) -> Address | None:
    """Return the operator that an account stands for, if it has a validator's duties; else None.

    Duties has who votes, and who has at least the stake of somebody who votes: in jail, or without power because its
    proofs lapsed, it needs them to come back. Who is in jail, and slashed for it, has them too while the set has room.
    So there are not many more than the set has places.

    Args:
        reader: the state.
        height: of the block, at most two above the last executed one.
        sender: an operator, or the account of its consensus key.
    """
    operator = credited(reader, sender)
    found = find_operator(reader, operator)
    if found is None or found.tombstoned:
        return None
    current = validators_at(reader, height).validators
    if any(one.operator == operator for one in current):
        return operator
    room = found.jailed and len(current) < staking_params(reader).max_validators
    least = 1 if room else min(one.power for one in current)
    return operator if power_of(bonded(reader, operator)) >= least else None
