"""What every block does besides its transactions: anchors, evidence, proposer turns, time."""

from apps.chain.accusations import check_accusation, is_past
from apps.chain.clock import add_time_mark, forget_epoch, oldest_epoch, set_clock
from apps.chain.records import (
    Load,
    add_recent_block,
    epoch_of,
    forget_old_evidence,
    forget_old_sets,
    params,
    priorities,
    record_evidence,
    security,
    set_load,
    set_params,
    set_priorities,
    set_security,
    set_validators,
    validators_at,
)
from apps.chain.upgrade import start_version, write_version
from apps.module import BlockDraft
from consensus.proposer import advance, carry_over, start_priorities
from consensus.types import Validator, ValidatorSet, make_validator_set
from crypto.schemes import address_of
from state.changes import Overlay
from state.genesis import Genesis
from state.receipt import Event
from state.types import Address, ChainId, Height


def genesis_validators(genesis: Genesis) -> ValidatorSet:
    """Return the set that votes on the first blocks."""
    return make_validator_set([
        Validator(Address(address_of(one.public_key)), one.public_key, one.power, one.operator)
        for one in genesis.validators
    ])


def write_genesis(state: Overlay, genesis: Genesis, chain_id: ChainId) -> None:
    """Write parameters, first validator set and priorities."""
    validators = genesis_validators(genesis)
    write_version(state, genesis.version)
    set_params(state, genesis.chain)
    set_validators(state, 0, validators)
    set_priorities(state, start_priorities(validators))
    set_security(state, genesis.security)
    set_load(state, Load(0, genesis.chain.difficulty, Height(0)))


def begin_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Take in the block before: its id becomes an anchor; and record evidence.

    Raises:
        Refused: BAD_EVIDENCE for an offence that is recorded already, is too old, or lies in the future.
    """
    start_version(state, block, events)
    rules = params(state)
    add_recent_block(state, block.height - 1, block.previous, rules.anchor_window)
    for evidence in block.evidence:
        check_accusation(state, evidence, block.height)
        record_evidence(state, evidence, block.height)
        events.append(Event("chain/evidence", (("validator", evidence.validator.hex()),)))


def end_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Move the proposer's turn and the chain's time on."""
    now, after = validators_at(state, block.height), validators_at(state, block.height + 1)
    moved = advance(now, priorities(state))
    set_priorities(state, moved if after.hash == now.hash else carry_over(now, moved, after))
    keep_time(state, block)


def keep_time(state: Overlay, block: BlockDraft) -> None:
    """Note the block's time, and let go of what is older than both bounds on the age of evidence."""
    rules = security(state)
    set_clock(state, block.time)
    if block.height % rules.epoch_length == 0:
        add_time_mark(state, epoch_of(block.height, rules.epoch_length), block.time)
    first = oldest = oldest_epoch(state)
    while is_past(state, oldest, block.height + 1, block.time):
        forget_epoch(state, oldest)
        oldest += 1
    if oldest != first:
        forget_old_sets(state, oldest * rules.epoch_length + 1)
        forget_old_evidence(state, oldest * rules.epoch_length + 1)
