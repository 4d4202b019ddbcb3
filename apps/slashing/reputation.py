"""Reputation: how well a validator has done its duty, 0 .. 10,000, from commits in blocks and evidence alone.

    at the end of an epoch, for each validator of the set that votes on its last block:
        rate  = BASIS * (L - missed) // L      L: blocks of an epoch
        (missed: commits in its blocks that lack the validator)
        score = (score * (MEMORY - 1) + rate) // MEMORY
    jailed for downtime:    score = score // 2
    tombstoned:             score = 0, for ever

A validator begins with 5,000. Ten faultless epochs bring it to about 8,600; forty to 9,900. Integers only: every node
comes to the same score. It decides nothing by itself; people and other modules may look at it.
"""

from typing import Final

from msgspec.structs import replace

from apps.chain.records import epoch_of, security, validators_at
from apps.module import BlockDraft
from apps.slashing.records import uptime
from apps.staking.records import find_operator, set_operator
from state.changes import Overlay
from state.params import BASIS

MEMORY: Final = 8
"""An epoch counts for an eighth of the score."""


def after_epoch(score: int, missed: int, epoch_length: int) -> int:
    """Return the score after an epoch in whose blocks the validator was missing in so many commits."""
    rate = BASIS * max(0, epoch_length - missed) // epoch_length
    return (score * (MEMORY - 1) + rate) // MEMORY


def after_jail(score: int) -> int:
    """Return the score of a validator that was jailed."""
    return score // 2


def rate_validators(state: Overlay, block: BlockDraft) -> None:
    """Move the scores on at the last block of an epoch."""
    length = security(state).epoch_length
    epoch = epoch_of(block.height, length)
    for validator in validators_at(state, block.height).validators:
        found = find_operator(state, validator.operator)
        if found is None or found.tombstoned:
            continue
        known = uptime(state, validator.operator)
        missed = known.in_epoch if known is not None and known.epoch == epoch else 0
        score = after_epoch(found.score, missed, length)
        if score != found.score:
            set_operator(state, validator.operator, replace(found, score=score))
