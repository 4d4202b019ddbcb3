"""Rules of operators: make a validator, change its name, its commission, its consensus key."""

from typing import Final

from msgspec.structs import replace

from apps.chain.records import epoch_of, security
from apps.gas import RECORD, SIGNATURE
from apps.module import Context
from apps.staking.messages import CreateValidator, EditValidator, RotateKey, possession_digest
from apps.staking.records import (
    Operator,
    bind_key,
    find_operator,
    get_operator,
    operator_of_key,
    set_operator,
    staking_params,
)
from apps.staking.sets import check_room
from apps.staking.stake import bond
from crypto.errors import Reason, Refused
from crypto.schemes import Scheme, address_of, check_public_key, scheme_of, signature_count, verify
from state.ledger import debit
from state.types import NATIVE, Address

_CREATE_RECORDS: Final = 10
_ROTATE_RECORDS: Final = 2


def create_gas(message: CreateValidator) -> int:
    """Return the gas of making a validator. Raises Refused(BAD_KEY)."""
    return _CREATE_RECORDS * RECORD + SIGNATURE * signature_count(message.public_key)


def rotate_gas(message: RotateKey) -> int:
    """Return the gas of a change of key. Raises Refused(BAD_KEY)."""
    return _ROTATE_RECORDS * RECORD + SIGNATURE * signature_count(message.public_key)


def create_validator(context: Context, message: CreateValidator) -> None:
    """Make the sender an operator. Its validator votes from the next epoch on if it is among those with most power.

    Raises:
        Refused: VALIDATOR_EXISTS, BAD_KEY, KEY_IN_USE, BAD_SIGNATURE, BAD_ARGUMENT, INSUFFICIENT_STAKE,
            INSUFFICIENT_FUNDS, AMOUNT_OUT_OF_RANGE.
    """
    state, operator = context.state, context.sender
    if find_operator(state, operator) is not None:
        raise Refused(Reason.VALIDATOR_EXISTS, "the account operates a validator already")
    least = max(1, staking_params(state).min_self_stake)
    if message.amount < least:
        raise Refused(Reason.INSUFFICIENT_STAKE, f"an operator bonds at least {least} unxs of its own")
    check_moniker(message.moniker)
    address = take_key(context, message.public_key, message.proof)
    check_room(state, message.amount)
    debit(state, operator, NATIVE, message.amount)
    set_operator(state, operator, Operator(message.public_key, message.moniker, message.commission))
    bond(context, operator, message.amount)
    context.emit(
        "staking/create_validator", operator=operator.hex(), validator=address.hex(), moniker=message.moniker,
        commission=str(message.commission), amount=str(message.amount),
    )  # fmt: skip


def edit_validator(context: Context, message: EditValidator) -> None:
    """Replace name and commission. The commission rises by a limited step, once in an epoch; it falls at will.

    Raises:
        Refused: UNKNOWN_VALIDATOR, BAD_ARGUMENT, COMMISSION_STEP.
    """
    state, operator = context.state, context.sender
    found = get_operator(state, operator)
    check_moniker(message.moniker)
    raised = found.raised
    if message.commission > found.commission:
        step = staking_params(state).max_commission_step
        epoch = epoch_of(context.block.height, security(state).epoch_length)
        if message.commission - found.commission > step or raised == epoch + 1:
            raise Refused(Reason.COMMISSION_STEP, f"the commission rises by at most {step} basis points in an epoch")
        raised = epoch + 1
    set_operator(
        state, operator, replace(found, moniker=message.moniker, commission=message.commission, raised=raised)
    )
    context.emit(
        "staking/edit_validator", operator=operator.hex(), moniker=message.moniker, commission=str(message.commission)
    )


def rotate_key(context: Context, message: RotateKey) -> None:
    """Vote with another key from the next epoch on. The old one stays the operator's: for faults, and against reuse.

    Raises:
        Refused: UNKNOWN_VALIDATOR, TOMBSTONED, ROTATED_RECENTLY, BAD_KEY, KEY_IN_USE, BAD_SIGNATURE.
    """
    state, operator, block = context.state, context.sender, context.block
    found = get_operator(state, operator)
    if found.tombstoned:
        raise Refused(Reason.TOMBSTONED, "a validator that signed twice gets no other key")
    blocks, period = staking_params(state).unbonding_blocks, security(state).unbonding
    if found.rotated_time and (
        block.height < found.rotated_height + blocks or block.time < found.rotated_time + period
    ):
        raise Refused(
            Reason.ROTATED_RECENTLY,
            f"the key was changed at height {found.rotated_height}; once in {blocks} blocks and {period} ms",
        )
    address = take_key(context, message.public_key, message.proof)
    set_operator(state, operator, replace(
        found, public_key=message.public_key, rotated_height=block.height, rotated_time=block.time
    ))
    context.emit("staking/rotate_key", operator=operator.hex(), validator=address.hex(), previous=found.address.hex())


def take_key(context: Context, public_key: bytes, proof: bytes) -> Address:
    """Bind a fresh consensus key to the sender and return its address.

    Raises:
        Refused: BAD_KEY for one of another scheme than Falcon or hybrid, KEY_IN_USE, BAD_SIGNATURE.
    """
    check_public_key(public_key)
    if scheme_of(public_key) is Scheme.MULTISIG:
        raise Refused(Reason.BAD_KEY, "a consensus key is one key: it signs votes by itself")
    address = Address(address_of(public_key))
    if operator_of_key(context.state, address) is not None:
        raise Refused(Reason.KEY_IN_USE, "the key is or was a validator's consensus key")
    if not verify(public_key, possession_digest(context.block.chain_id, context.sender, public_key), proof):
        raise Refused(Reason.BAD_SIGNATURE, "the proof is no signature by the consensus key")
    bind_key(context.state, address, context.sender)
    return address


def check_moniker(moniker: str) -> None:
    """Refuse a name that could not be printed in one line. Raises Refused(BAD_ARGUMENT)."""
    if not moniker.isprintable() or moniker != moniker.strip():
        raise Refused(Reason.BAD_ARGUMENT, "a moniker is printable, without spaces around it")
