"""The hashcash of transactions gets harder while blocks are fuller than the chain wants, and easier again after.

Load is the gas wanted of a block, averaged so that a block counts for a sixteenth. Above `target_gas` the difficulty
rises by one bit, below half of it it falls by one, at most once in STEP blocks; it stays between the chain's own
`difficulty` and `max_difficulty`. A transaction needs the difficulty after the block that it names as its anchor,
whatever came later: so it is known when it is made, and stays valid.
"""

from typing import Final

from apps.chain.records import Load, load, params, set_load
from apps.proofs.records import proof_params
from state.changes import Overlay
from state.types import Height

SMOOTHING: Final = 16
"""The average moves by this part of the difference in a block."""
STEP: Final = 4
"""Blocks between two changes at least: a bit doubles the work, and its effect has to show first."""


def retarget(state: Overlay, height: Height, gas: int) -> None:
    """Take a block's gas wanted into the average, and change the difficulty by at most one bit."""
    rules = proof_params(state)
    if not rules.target_gas:
        return
    before = load(state)
    average = (before.average * (SMOOTHING - 1) + gas) // SMOOTHING
    difficulty, since = before.difficulty, before.since
    if height >= since + STEP:
        least = params(state).difficulty
        if average > rules.target_gas and difficulty < max(least, rules.max_difficulty):
            difficulty, since = difficulty + 1, height
        elif 2 * average < rules.target_gas and difficulty > least:
            difficulty, since = difficulty - 1, height
    new = Load(average, difficulty, since)
    if new != before:
        set_load(state, new)
