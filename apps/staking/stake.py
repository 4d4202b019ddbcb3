"""Rules of stake: delegate, redelegate, unbond, claim; and what the end of each block brings home.

Whoever touches a delegation is paid what it has earned. Stake is native unxs; what is bonded, leaving or moving is no
part of a balance.
"""

from apps.chain.clock import time_mark
from apps.chain.records import epoch_of, fee_pool, security, set_fee_pool
from apps.module import BlockDraft, Context
from apps.staking.leaving import (
    MATURED_PER_BLOCK,
    QUEUE,
    Queue,
    arrive,
    claim_moving,
    counted_from,
    entry,
    last_vote,
    leave,
    move,
    queue,
)
from apps.staking.messages import Claim, Delegate, Redelegate, Unbond
from apps.staking.pool import Position, deposit, pay, shares_for, withdraw, worth
from apps.staking.records import (
    MAX_DELEGATIONS,
    commission_of,
    delegations,
    get_operator,
    pool_of,
    position_of,
    set_commission,
    set_pool,
    set_position,
    staking_params,
)
from apps.staking.sets import enlist
from crypto.errors import Reason, Refused
from state.changes import Overlay
from state.encoding import encode
from state.ledger import credit, debit
from state.receipt import Event
from state.types import NATIVE, Address, Amount


def delegate(context: Context, message: Delegate) -> None:
    """Bond stake with an operator.

    Raises:
        Refused: UNKNOWN_VALIDATOR, TOMBSTONED, AMOUNT_OUT_OF_RANGE, INSUFFICIENT_FUNDS, TOO_MANY_DELEGATIONS, BANKRUPT.
    """
    _positive(message.amount)
    if get_operator(context.state, message.operator).tombstoned:
        raise Refused(Reason.TOMBSTONED, f"{message.operator.hex()} never votes again")
    debit(context.state, context.sender, NATIVE, message.amount)
    bond(context, message.operator, message.amount)
    context.touched.add(message.operator)
    _emit(context, "staking/delegate", operator=message.operator.hex(), amount=str(message.amount))


def bond(context: Context, operator: Address, amount: int) -> None:
    """Bond unxs that were just taken from the sender's balance. Raises as `delegate`."""
    state, owner = context.state, context.sender
    known = delegations(state, owner)
    if operator not in known and len(known) >= MAX_DELEGATIONS:
        raise Refused(Reason.TOO_MANY_DELEGATIONS, f"an account has stake with at most {MAX_DELEGATIONS} operators")
    position = _settle(context, operator)
    pool, shares = deposit(pool_of(state, operator), amount)
    set_pool(state, operator, pool)
    set_position(state, owner, operator, Position(Amount(position.shares + shares), pool.index))
    enlist(state, operator)


def unbond(context: Context, message: Unbond) -> None:
    """Take stake back.

    Raises:
        Refused: UNKNOWN_VALIDATOR, AMOUNT_OUT_OF_RANGE, INSUFFICIENT_STAKE, TOO_MANY_DELEGATIONS.
    """
    get_operator(context.state, message.operator)
    _withdraw(context, message.operator, message.amount)
    epoch = _epoch(context)
    leave(context.state, context.sender, message.operator, epoch, message.amount)
    context.touched.add(message.operator)
    _emit(
        context, "staking/unbond", operator=message.operator.hex(), amount=str(message.amount), epoch=str(epoch)
    )


def redelegate(context: Context, message: Redelegate) -> None:
    """Move stake to another operator.

    Raises:
        Refused: UNKNOWN_VALIDATOR, TOMBSTONED, BAD_ARGUMENT for the same operator twice, AMOUNT_OUT_OF_RANGE,
            INSUFFICIENT_STAKE, TOO_MANY_DELEGATIONS, BANKRUPT.
    """
    state = context.state
    get_operator(state, message.source)
    if message.source == message.target:
        raise Refused(Reason.BAD_ARGUMENT, "the stake is with that operator already")
    if get_operator(state, message.target).tombstoned:
        raise Refused(Reason.TOMBSTONED, f"{message.target.hex()} never votes again")
    _withdraw(context, message.source, message.amount)
    paid = move(state, context.sender, message.source, message.target, _epoch(context), message.amount)
    _pay(context, message.target, paid)
    enlist(state, message.target)
    context.touched.update((message.source, message.target))
    _emit(
        context, "staking/redelegate", source=message.source.hex(), target=message.target.hex(),
        amount=str(message.amount),
    )  # fmt: skip


def claim(context: Context, message: Claim) -> None:
    """Pay out what the sender's stake with an operator has earned, and its commission if it is the operator.

    Raises:
        Refused: UNKNOWN_VALIDATOR, NO_STAKE if the sender has none there and no commission.
    """
    state, operator = context.state, message.operator
    get_operator(state, operator)
    position = position_of(state, context.sender, operator)
    moving = claim_moving(state, context.sender, operator)
    commission = commission_of(state, operator) if context.sender == operator else Amount(0)
    if not position.shares and not moving and not commission:
        raise Refused(Reason.NO_STAKE, "the account has no stake with that operator")
    _pay(context, operator, moving)
    if position.shares:
        set_position(state, context.sender, operator, _settle(context, operator))
    if commission:
        set_commission(state, operator, 0)
        credit(state, operator, NATIVE, commission)
        _emit(context, "staking/commission", operator=operator.hex(), amount=str(commission))


def _withdraw(context: Context, operator: Address, amount: int) -> None:
    """Take unxs of the sender out of an operator's pool, and pay what they have earned."""
    _positive(amount)
    state = context.state
    position = _settle(context, operator)
    pool = pool_of(state, operator)
    have = worth(pool, position.shares)
    if have < amount:
        raise Refused(
            Reason.INSUFFICIENT_STAKE,
            f"{have} unxs are bonded there by this account, {amount} are asked for; stake that was redelegated counts "
            "once it has matured",
        )
    # all that an account has goes with its last fraction of a unit, so that no worthless shares stay behind
    shares = position.shares if amount == have else shares_for(pool, amount)
    set_position(state, context.sender, operator, Position(Amount(position.shares - shares), pool.index))
    set_pool(state, operator, withdraw(pool, shares, amount))


def _settle(context: Context, operator: Address) -> Position:
    """Pay what the sender's delegation has earned; return it with the pool's index, not yet written."""
    state, owner = context.state, context.sender
    pool, paid = pay(pool_of(state, operator), position_of(state, owner, operator))
    if paid:
        set_pool(state, operator, pool)
        _pay(context, operator, paid)
    return Position(position_of(state, owner, operator).shares, pool.index)


def _pay(context: Context, operator: Address, amount: int) -> None:
    if amount:
        credit(context.state, context.sender, NATIVE, amount)
        _emit(context, "staking/claim", operator=operator.hex(), amount=str(amount))


def _emit(context: Context, name: str, **attributes: str) -> None:
    context.emit(name, delegator=context.sender.hex(), **attributes)


def _positive(amount: int) -> None:
    if amount <= 0:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the amount is at least 1")


def _epoch(context: Context) -> int:
    return epoch_of(context.block.height, security(context.state).epoch_length)


# ---- the end of a block


def bring_home(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Pay out entries that have matured, the oldest first, so many in one block."""
    waiting = queue(state)
    first = waiting.first
    while first < waiting.end and first - waiting.first < MATURED_PER_BLOCK:
        found = entry(state, first)
        if found is None or not is_mature(state, found.epoch, block.height, block.time):
            break
        arrived = arrive(state, first, found)
        if arrived.paid:
            credit(state, found.owner, NATIVE, arrived.paid)
        if arrived.dust:
            set_fee_pool(state, fee_pool(state) + arrived.dust)
        name = "staking/redelegated" if found.target else "staking/unbonded"
        events.append(Event(name, (
            ("delegator", found.owner.hex()), ("source", found.source.hex()), ("target", found.target.hex()),
            ("amount", str(arrived.paid)),
        )))  # fmt: skip
        first += 1
    if first != waiting.first:
        state.put(QUEUE, encode(Queue(first, waiting.end)))


def is_mature(state: Overlay, epoch: int, height: int, time: int) -> bool:
    """Tell whether what set out in an epoch has been slashable for long enough at a block."""
    rules, start = security(state), counted_from(epoch)
    if height <= last_vote(start, rules.epoch_length) + staking_params(state).unbonding_blocks:
        return False
    mark = time_mark(state, start)
    return mark is None or time >= mark + rules.unbonding
