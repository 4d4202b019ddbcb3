"""What a fault costs: stake is burnt wherever it was when the fault happened."""

from apps.chain.records import security
from apps.staking.leaving import slash_cohorts
from apps.staking.pool import slash
from apps.staking.records import pool_of, set_pool
from state.changes import Overlay
from state.ledger import set_supply, supply
from state.receipt import Event
from state.types import NATIVE, Address, Amount


def slash_operator(state: Overlay, operator: Address, fault: int, share: int, events: list[Event]) -> Amount:
    """Burn a share of the stake that backs, or backed, an operator's votes.

    What is bonded now is slashed, and of what left or moved away since, that which still voted at the fault's height.

    Args:
        state: to write to.
        operator: whose validator is at fault.
        fault: height at which the fault happened.
        share: in basis points.
        events: to tell what was burnt.

    Returns:
        Burnt unxs: the supply falls by them.
    """
    pool, lost = slash(pool_of(state, operator), share)
    if pool.shares:
        set_pool(state, operator, pool)
    gone = slash_cohorts(state, operator, fault, share, security(state).epoch_length)
    burnt = Amount(lost + gone)
    set_supply(state, NATIVE, supply(state, NATIVE) - burnt)
    events.append(Event("staking/slash", (
        ("operator", operator.hex()), ("fault", str(fault)), ("share", str(share)), ("bonded", str(lost)),
        ("away", str(gone)),
    )))  # fmt: skip
    return burnt
