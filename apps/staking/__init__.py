"""Stake: operators and their delegators, what stake earns, where it is on its way, and who votes."""

from typing import Any, Final

from apps.chain.records import security
from apps.gas import RECORD
from apps.module import BlockDraft, MessageKind, Module, Rule, flat_gas
from apps.staking import messages, operators, queries, stake
from apps.staking.carrying import export
from apps.staking.genesis import write_genesis
from apps.staking.rewards import begin_block
from apps.staking.sets import choose_set
from apps.staking.supply import supply_of
from state.changes import Overlay
from state.encoding import Codec
from state.receipt import Event


def _kind(message: type[Any], rule: Rule, records: int) -> MessageKind:
    return MessageKind(Codec(message), rule, flat_gas(RECORD * records))


def end_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Pay out what has matured; at the end of an epoch choose who votes in the next one."""
    stake.bring_home(state, block, events)
    if block.height % security(state).epoch_length == 0:
        choose_set(state, block.height)


MODULE: Final = Module(
    name="staking",
    messages={
        "create_validator": MessageKind(
            Codec(messages.CreateValidator), operators.create_validator, operators.create_gas
        ),
        "edit_validator": _kind(messages.EditValidator, operators.edit_validator, 1),
        "delegate": _kind(messages.Delegate, stake.delegate, 5),
        "redelegate": _kind(messages.Redelegate, stake.redelegate, 12),
        "unbond": _kind(messages.Unbond, stake.unbond, 9),
        "claim": _kind(messages.Claim, stake.claim, 4),
        "rotate_key": MessageKind(Codec(messages.RotateKey), operators.rotate_key, operators.rotate_gas),
    },
    queries={
        "validators": queries.validators,
        "validator": queries.validator,
        "delegation": queries.delegation,
        "delegations": queries.delegations_of,
        "unbonding": queries.unbonding,
        "rewards": queries.rewards,
        "pool": queries.pool,
        "params": queries.parameters,
        "reputation": queries.reputation,
    },
    genesis=write_genesis,
    begin_block=begin_block,
    end_block=end_block,
    supply=supply_of,
    export=export,
)

__all__ = ["MODULE"]
