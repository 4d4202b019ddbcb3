"""The staking module's part of the genesis document: the operators and their own stake."""

from apps.staking.carrying import check_validators
from apps.staking.pool import Pool, Position
from apps.staking.records import (
    Operator,
    bind_key,
    set_candidates,
    set_operator,
    set_pool,
    set_position,
    set_staking_params,
)
from state.changes import Overlay
from state.genesis import Genesis
from state.ledger import set_supply, supply
from state.types import NATIVE, UNXS_PER_NXS, Amount, ChainId


def write_genesis(state: Overlay, genesis: Genesis, chain_id: ChainId) -> None:
    """Write the rules, and bond `power` nxs of each validator's operator, which is supply besides the balances.

    A document that takes over another chain's records has its stake among them, and names the same validators.

    Raises:
        Refused: BAD_GENESIS if it does not.
    """
    set_staking_params(state, genesis.staking)
    if genesis.carried:
        check_validators({record.key: record.value for record in genesis.carried}, genesis.validators)
        return
    total = 0
    for one in genesis.validators:
        amount = Amount(one.power * UNXS_PER_NXS)
        pool = Pool(amount=amount, shares=amount)
        record = Operator(one.public_key, one.moniker or one.operator.hex()[:8], one.commission)
        set_operator(state, one.operator, record)
        bind_key(state, record.address, one.operator)
        set_pool(state, one.operator, pool)
        set_position(state, one.operator, one.operator, Position(amount, pool.index))
        total += amount
    set_candidates(state, [one.operator for one in genesis.validators])
    set_supply(state, NATIVE, supply(state, NATIVE) + total)
