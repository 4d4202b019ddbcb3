"""How long consensus waits, and which block times it takes for true. All in ms.

Proposer-based timestamps (PBTS, cometbft/spec/consensus/proposer-based-timestamp): a block's time is its proposer's
clock; who votes checks it against its own clock when the proposal arrives, once, in the round that offers the block
for the first time. A block that is offered again with a proof of lock was found timely by more than a third of the
honest power then, and is not checked again.
"""

from typing import Final

from consensus.round_machine import RoundStep
from consensus.types import ConsensusParams

MAX_MESSAGE_DELAY: Final = 24 * 3600 * 1000
"""Cap of the growing message delay: one day."""


def timeout(params: ConsensusParams, step: RoundStep, round: int) -> int:
    """Return how long the step of a round may take. Grows by the round, up to the cap."""
    base = {
        RoundStep.PROPOSE: params.timeout_propose,
        RoundStep.PREVOTE: params.timeout_prevote,
        RoundStep.PRECOMMIT: params.timeout_precommit,
    }[step]
    return max(base, min(base + round * params.timeout_delta, params.timeout_max))


def message_delay(params: ConsensusParams, round: int) -> int:
    """Return the bound on a proposal's way in a round: a tenth more each round, so that a bound set too low heals."""
    delay = params.message_delay
    for _ in range(round):
        if delay >= MAX_MESSAGE_DELAY:
            return MAX_MESSAGE_DELAY
        delay += delay // 10 + 1
    return delay


def is_timely(params: ConsensusParams, block_time: int, received_at: int, round: int) -> bool:
    """Return whether a block's time fits the clock of who received its first proposal."""
    earliest = block_time - params.precision
    latest = block_time + message_delay(params, round) + params.precision
    return earliest <= received_at <= latest


def rest_before_next(params: ConsensusParams, tip_time: int, now: int) -> int:
    """Return how long to wait before the next block may be proposed. Never more than the interval itself."""
    return max(0, min(params.block_interval, tip_time + params.block_interval - now))
