"""What every block does besides its transactions: anchors, fees to the signers, evidence, proposer turns."""

from apps.chain.accusations import check_accusation
from apps.chain.records import (
    Load,
    add_recent_block,
    fee_pool,
    forget_old_sets,
    params,
    priorities,
    record_evidence,
    set_fee_pool,
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
from state.ledger import credit
from state.receipt import Event
from state.types import NATIVE, Address, ChainId, Height


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
    """Take in the block before: its id becomes an anchor, its signers get the fees; and record evidence.

    Raises:
        Refused: BAD_EVIDENCE for an offence that is recorded already, is too old, or lies in the future.
    """
    start_version(state, block, events)
    rules = params(state)
    add_recent_block(state, block.height - 1, block.previous, rules.anchor_window)
    pay_signers(state, block, events)
    for evidence in block.evidence:
        check_accusation(state, evidence, block.height)
        record_evidence(state, evidence, block.height)
        events.append(Event("chain/evidence", (("validator", evidence.validator.hex()),)))


def pay_signers(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Share the pool among those who signed the commit of the block before, by power; what does not divide stays."""
    pool = fee_pool(state)
    if not pool or not block.last_commit.signatures:
        return
    validators = validators_at(state, block.last_commit.height).validators
    signers = [validators[signature.validator] for signature in block.last_commit.signatures]
    power = sum(signer.power for signer in signers)
    paid = 0
    for signer in signers:
        share = pool * signer.power // power
        if share:
            credit(state, signer.operator, NATIVE, share)
            paid += share
            attributes = (("validator", signer.address.hex()), ("to", signer.operator.hex()), ("amount", str(share)))
            events.append(Event("chain/fees", attributes))
    set_fee_pool(state, pool - paid)


def end_block(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Move the proposer's turn on, and forget validator sets that no evidence can name any more."""
    now, after = validators_at(state, block.height), validators_at(state, block.height + 1)
    moved = advance(now, priorities(state))
    set_priorities(state, moved if after.hash == now.hash else carry_over(now, moved, after))
    forget_old_sets(state, block.height - params(state).evidence_window)
