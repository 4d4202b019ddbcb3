"""Refusals that a nursery has wrapped in groups."""

from collections.abc import Iterator

from crypto.errors import Refused


def leaves(group: BaseExceptionGroup[Refused]) -> Iterator[Refused]:
    """Yield the refusals in a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
