"""Rewards: fees and newly minted unxs go to the signers of each block by power, and on to who staked with them.

The pool of a block is what waits in `chain/fees`, and what is minted for the time since the block before. Each signer's
part is split by its commission; what does not divide stays in the pool for the next block, and so does the part of a
validator that was tombstoned since it signed or whose stake is gone.
"""

from typing import Final

from apps.chain.clock import clock
from apps.chain.records import fee_pool, set_fee_pool, validators_at
from apps.module import BlockDraft
from apps.staking.pool import reward
from apps.staking.records import (
    commission_of,
    find_operator,
    pool_of,
    set_commission,
    set_pool,
    staking_params,
)
from consensus.types import Validator
from state.changes import Overlay
from state.ledger import set_supply, supply
from state.params import BASIS
from state.receipt import Event
from state.types import MAX_AMOUNT, NATIVE, Amount

YEAR: Final = 365 * 86_400_000
"""In ms."""
LONGEST_STEP: Final = 60_000
"""Time in ms between two blocks beyond which nothing is minted: a chain without work to do is not paid for standing."""


def begin_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Pay the signers of the last commit."""
    minted = _mint(state, block)
    pool = fee_pool(state) + minted
    if minted:
        events.append(Event("staking/mint", (("amount", str(minted)),)))
        set_fee_pool(state, pool)
    if not pool or not block.last_commit.signatures:
        return
    validators = validators_at(state, block.last_commit.height).validators
    signers = [validators[signature.validator] for signature in block.last_commit.signatures]
    power = sum(signer.power for signer in signers)
    paid = sum(_pay(state, signer, pool * signer.power // power, events) for signer in signers)
    if paid:
        set_fee_pool(state, pool - paid)


def _pay(state: Overlay, signer: Validator, share: int, events: list[Event]) -> int:
    """Give a signer its part; return how much of it was taken."""
    found, pool = find_operator(state, signer.operator), pool_of(state, signer.operator)
    if not share or found is None or found.tombstoned or not pool.amount or not pool.price:
        return 0
    commission = share * found.commission // BASIS
    stakers = share * (BASIS - found.commission) // BASIS
    if commission:
        set_commission(state, signer.operator, commission_of(state, signer.operator) + commission)
    if stakers:
        set_pool(state, signer.operator, reward(pool, stakers))
    events.append(Event("staking/reward", (
        ("validator", signer.address.hex()), ("operator", signer.operator.hex()),
        ("amount", str(commission + stakers)), ("commission", str(commission)),
    )))  # fmt: skip
    return commission + stakers


def _mint(state: Overlay, block: BlockDraft) -> Amount:
    """Mint for the time since the block before: `inflation` of the supply in a year."""
    inflation = staking_params(state).inflation
    if not inflation or not block.last_commit.signatures:
        return Amount(0)
    now = supply(state, NATIVE)
    step = min(block.time - clock(state), LONGEST_STEP)
    minted = min(now * inflation * step // (BASIS * YEAR), MAX_AMOUNT - now)
    set_supply(state, NATIVE, now + minted)
    return Amount(minted)
