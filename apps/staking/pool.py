"""Stake in shares of a pool: the arithmetic of everything that is bonded, leaving or moving. Pure, in whole numbers.

A pool holds an amount that belongs to the owners of its shares. A share is worth `price / ONE` of a unit. The price is
kept, not derived from amount and shares: it starts at ONE and only a slash lowers it. So each rounding stays in the
pool as dust that belongs to nobody, and no owner ever has more than exact arithmetic would give:

- shares bought are rounded down, shares sold are rounded up;
- a slash rounds the price down and what stays in the pool up, so that the shares stay covered;
- rewards are spread over the amount, which is never less than what the shares are worth.

Rewards follow F1 (Ojha, Goes: "F1 fee distribution", 2019): the pool sums up what one share has earned since the
beginning, an owner remembers the sum at which it was paid last, and nobody else is touched. Slashes need no list of
periods here, since rewards are per share and a slash changes no shares.
"""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from crypto.errors import Reason, Refused
from state.encoding import Record
from state.params import BASIS
from state.types import MAX_AMOUNT, Amount, AmountField

ONE: Final = 2**60
"""The price of a share that was never slashed."""
INDEX_SHIFT: Final = 64
"""An index counts 2**-64 of a unit."""
INDEX_SIZE: Final = 24
"""Bytes of an index: rewards below 2**90 in all, over a pool of at least one unit."""

IndexField = Annotated[bytes, Meta(min_length=INDEX_SIZE, max_length=INDEX_SIZE)]
"""A number of INDEX_SIZE bytes, big-endian."""
NO_INDEX: Final = bytes(INDEX_SIZE)


class Position(Record, frozen=True):
    """What one owner has of a pool: shares, and the pool's index when it was paid last."""

    shares: AmountField
    index: IndexField


class Pool(Record, frozen=True):
    """An amount that is owned in shares.

    Attributes:
        amount: units held: unxs, or shares of another pool.
        shares: of all owners together.
        price: of a share, in 1 / ONE of a unit; 0 after a slash of everything.
        index: what one share has earned since the beginning, in 2**-INDEX_SHIFT unxs.
        unpaid: unxs of rewards that wait for the owners.
    """

    amount: AmountField = Amount(0)
    shares: AmountField = Amount(0)
    price: Annotated[int, Meta(ge=0, le=ONE)] = ONE
    index: IndexField = NO_INDEX
    unpaid: AmountField = Amount(0)


class Changed(NamedTuple):
    """A pool after a deposit, a withdrawal or a slash, and how many shares or units that was."""

    pool: Pool
    units: Amount


def worth(pool: Pool, shares: int) -> Amount:
    """Return the whole units that shares are worth, rounded down."""
    return Amount(shares * pool.price // ONE)


def deposit(pool: Pool, amount: int) -> Changed:
    """Add an amount; `units` are the shares for it, rounded down.

    Raises:
        Refused: BANKRUPT if everything was slashed, AMOUNT_OUT_OF_RANGE if pool or shares would grow over MAX_AMOUNT.
    """
    if not pool.price:
        raise Refused(Reason.BANKRUPT, "all stake there was slashed")
    shares = amount * ONE // pool.price
    if max(pool.amount + amount, pool.shares + shares) > MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a pool has at most {MAX_AMOUNT} units and shares")
    return Changed(
        replace(pool, amount=Amount(pool.amount + amount), shares=Amount(pool.shares + shares)), Amount(shares)
    )


def shares_for(pool: Pool, amount: int) -> Amount:
    """Return the shares to give for an amount, rounded up; never more than those whose worth is that amount.

    Raises:
        Refused: BANKRUPT.
    """
    if not pool.price:
        raise Refused(Reason.BANKRUPT, "all stake there was slashed")
    return Amount(-(-amount * ONE // pool.price))


def withdraw(pool: Pool, shares: int, amount: int) -> Pool:
    """Take an amount out for shares that are worth at least that."""
    return replace(pool, amount=Amount(pool.amount - amount), shares=Amount(pool.shares - shares))


def slash(pool: Pool, share: int) -> Changed:
    """Take `share` basis points from every owner; `units` are those lost, rounded down."""
    kept = -(-pool.amount * (BASIS - share) // BASIS)
    price = pool.price * (BASIS - share) // BASIS
    return Changed(replace(pool, amount=Amount(kept), price=price), Amount(pool.amount - kept))


def reward(pool: Pool, amount: int) -> Pool:
    """Spread unxs over the owners. The pool holds something: `amount` is not 0 and the price is not 0."""
    earned = (amount * pool.price << INDEX_SHIFT) // (pool.amount * ONE)
    return replace(pool, index=_index(_number(pool.index) + earned), unpaid=Amount(pool.unpaid + amount))


def due(pool: Pool, position: Position) -> Amount:
    """Return the unxs that a position has earned since it was paid last, rounded down."""
    return Amount(position.shares * (_number(pool.index) - _number(position.index)) >> INDEX_SHIFT)


def pay(pool: Pool, position: Position) -> Changed:
    """Take out what a position has earned; `units` says how much. The owner's new index is the pool's."""
    amount = due(pool, position)
    return Changed(replace(pool, unpaid=Amount(pool.unpaid - amount)), amount)


def _number(index: bytes) -> int:
    return int.from_bytes(index, "big")


def _index(number: int) -> bytes:
    return number.to_bytes(INDEX_SIZE, "big")
