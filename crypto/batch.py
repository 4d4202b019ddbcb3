"""Finding the false ones among many claims that are verified together."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from crypto.errors import Refused

Claimed = TypeVar("Claimed")


class Fault(NamedTuple):
    """A claim that does not hold, by its place in the batch, and why."""

    place: int
    refused: Refused


def find_faults(claims: Sequence[Claimed], verify: Callable[[Sequence[Claimed]], None]) -> tuple[Fault, ...]:
    """Return which of the claims do not hold, and why: halves are verified again until single ones remain.

    Args:
        claims: what is to be verified.
        verify: verifies several at once; it raises Refused if one of them does not hold, and does not use them up.
    """
    if not claims:
        return ()
    try:
        verify(claims)
    except Refused as refused:
        if len(claims) == 1:
            return (Fault(0, refused),)
        half = len(claims) // 2
        later = find_faults(claims[half:], verify)
        return find_faults(claims[:half], verify) + tuple(Fault(half + fault.place, fault.refused) for fault in later)
    return ()
