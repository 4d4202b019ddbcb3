"""Whose turn it is: weighted round robin by voting power, CometBFT's algorithm (spec/consensus/proposer-selection.md).

Each validator has a priority. One step adds every validator's power to its priority, chooses the highest (ties go
to the lower address, which is the lower index), and takes the total power off the chosen one. Over time each
proposes in proportion to its power, and nobody waits longer than it must.

The priorities live in the chain's state (`Tip.priorities`) as they are *before* the first step of the height. The
proposer of round r is the one that step r + 1 chooses. The next height starts one step further (`advance`), however
many rounds this height took: rounds are not agreed on, heights are.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from consensus.types import ValidatorSet

WINDOW: Final = 2
"""Priorities are squeezed into WINDOW times the total power, so that a removed giant leaves no long echo."""
NEWCOMER_PENALTY: Final = (9, 8)
"""A newcomer starts at -1.125 times the total power, so that leaving and coming back gains nothing."""


def start_priorities(validators: ValidatorSet) -> tuple[int, ...]:
    """Return the priorities of a new chain: all zero."""
    return (0,) * len(validators)


def advance(validators: ValidatorSet, priorities: Sequence[int]) -> tuple[int, ...]:
    """Return the priorities of the next height, for the same set."""
    moved = _balanced(validators, priorities)
    _step(validators, moved)
    return tuple(moved)


def turns(validators: ValidatorSet, priorities: Sequence[int]) -> Iterator[int]:
    """Yield the index of the proposer of round 0, 1, 2 ... of the height that starts with `priorities`."""
    moved = _balanced(validators, priorities)
    while True:
        yield _step(validators, moved)


def proposer_of(validators: ValidatorSet, priorities: Sequence[int], round: int) -> int:
    """Return the index of the proposer of `round` (from 0). Costs O(round * validators): `turns` is for many."""
    return next(islice(turns(validators, priorities), round, None))


def carry_over(old: ValidatorSet, priorities: Sequence[int], new: ValidatorSet) -> tuple[int, ...]:
    """Return the priorities of a changed set: who stays keeps its own, who joins waits."""
    kept = {validator.address: priority for validator, priority in zip(old.validators, priorities, strict=True)}
    over, under = NEWCOMER_PENALTY
    penalty = -(new.total_power * over // under)
    return tuple(_balanced(new, [kept.get(validator.address, penalty) for validator in new.validators]))


def _balanced(validators: ValidatorSet, priorities: Sequence[int]) -> list[int]:
    """Return the priorities squeezed into the window and centred on zero."""
    window = WINDOW * validators.total_power
    spread = max(priorities) - min(priorities)
    moved = list(priorities)
    if spread > window:
        ratio = -(-spread // window)
        # towards zero, as Go divides: -7 over 2 is -3
        moved = [abs(priority) // ratio * (1 if priority > 0 else -1) for priority in moved]
    average = sum(moved) // len(moved)
    return [priority - average for priority in moved]


def _step(validators: ValidatorSet, priorities: list[int]) -> int:
    """Move the priorities by one step in place and return the chosen index."""
    for index, validator in enumerate(validators.validators):
        priorities[index] += validator.power
    chosen = max(range(len(priorities)), key=lambda index: (priorities[index], -index))
    priorities[chosen] -= validators.total_power
    return chosen
