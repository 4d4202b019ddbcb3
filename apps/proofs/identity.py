"""Whose proof a message gives: a validator's operator may send it, or the account of its consensus key."""

from apps.chain.records import validators_at
from state.changes import Reader
from state.types import Address, Height


def operator_of(reader: Reader, height: Height, sender: Address) -> Address | None:
    """Return the operator of the validator that an account stands for at a height, or None for a stranger.

    Args:
        reader: the state.
        height: of the block, at most two above the last executed one.
        sender: an operator, or the address of a validator's consensus key.
    """
    current = validators_at(reader, height)
    place = current.index_of(sender)
    if place is not None:
        return current.validators[place].operator
    return sender if any(one.operator == sender for one in current.validators) else None


def credited(reader: Reader, height: Height, sender: Address) -> Address:
    """Return whom a proof that an account sends counts for: the validator's operator, else the account itself."""
    return operator_of(reader, height, sender) or sender
