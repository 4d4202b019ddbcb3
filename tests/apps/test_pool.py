"""The arithmetic of pools against exact fractions, roundings in every direction."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.staking.pool import ONE, Pool, Position, deposit, due, pay, reward, shares_for, slash, withdraw, worth
from crypto.errors import Reason, Refused
from state.params import BASIS
from state.types import MAX_AMOUNT, Amount


@dataclass
class Owner:
    """What one owner has, in shares and exactly."""

    position: Position = field(default_factory=lambda: Position(Amount(0), Pool().index))
    stake: Fraction = Fraction(0)
    earned: Fraction = Fraction(0)
    paid: int = 0


steps = st.one_of(
    st.tuples(st.just("deposit"), st.integers(0, 2), st.sampled_from([1, 2, 3, 10, 99, 10**6])),
    st.tuples(st.just("withdraw"), st.integers(0, 2), st.sampled_from([1, 2, 3, 7, 0])),
    st.tuples(st.just("slash"), st.just(0), st.sampled_from([1, 77, 3_333, 9_999])),
    st.tuples(st.just("reward"), st.just(0), st.sampled_from([1, 2, 1000, 10**9 + 7])),
    st.tuples(st.just("pay"), st.integers(0, 2), st.just(0)),
)


class Books:
    """A pool and the exact books of its owners."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.owners = [Owner(), Owner(), Owner()]

    def take(self, kind: str, who: int, amount: int) -> None:
        owner = self.owners[who]
        if kind == "slash":
            self.pool, _ = slash(self.pool, amount)
            for one in self.owners:
                one.stake *= 1 - Fraction(amount, BASIS)
        elif kind == "reward":
            total = sum(one.stake for one in self.owners)
            if self.pool.amount and total:
                self.pool = reward(self.pool, amount)
                for one in self.owners:
                    one.earned += amount * one.stake / total
        else:
            self.settle(owner)
            if kind == "deposit" and self.pool.price:
                self.pool, shares = deposit(self.pool, amount)
                owner.stake += amount
                owner.position = Position(Amount(owner.position.shares + shares), self.pool.index)
            elif kind == "withdraw":
                self.withdraw(owner, amount)

    def settle(self, owner: Owner) -> None:
        self.pool, paid = pay(self.pool, owner.position)
        owner.paid += paid
        owner.position = Position(owner.position.shares, self.pool.index)

    def withdraw(self, owner: Owner, amount: int) -> None:
        have = worth(self.pool, owner.position.shares)
        amount = min(amount, have) or have
        if not amount:
            return
        shares = owner.position.shares if amount == have else shares_for(self.pool, amount)
        assert worth(self.pool, shares) >= amount and shares <= owner.position.shares
        self.pool = withdraw(self.pool, shares, amount)
        owner.stake -= amount
        owner.position = Position(Amount(owner.position.shares - shares), self.pool.index)

    def check(self) -> None:
        held = sum(one.position.shares for one in self.owners)
        assert held == self.pool.shares
        assert self.pool.shares * self.pool.price <= self.pool.amount * ONE
        assert sum(due(self.pool, one.position) for one in self.owners) <= self.pool.unpaid
        assert self.pool.amount >= sum(one.stake for one in self.owners if one.position.shares)
        for one in self.owners:
            assert Fraction(one.position.shares * self.pool.price, ONE) <= one.stake
            assert one.paid + due(self.pool, one.position) <= one.earned


@settings(max_examples=150)
@given(st.lists(steps, max_size=40))
def test_nobody_has_more_than_exact_fractions_give(history: list[tuple[str, int, int]]) -> None:
    books = Books()
    for step in history:
        books.take(*step)
        books.check()


def test_a_pool_that_was_never_slashed_is_exact() -> None:
    pool, shares = deposit(Pool(), 1_000_003)
    assert (shares, worth(pool, shares), shares_for(pool, 17)) == (1_000_003, 1_000_003, 17)


def test_a_slash_burns_its_share_rounded_down() -> None:
    pool, shares = deposit(Pool(), 1_001)
    pool, lost = slash(pool, 500)
    assert (lost, pool.amount, worth(pool, shares)) == (50, 951, 950)
    assert shares_for(pool, 950) == 1_001  # 1,000 are worth a little less than 950: the price was rounded down


def test_after_a_slash_of_everything_nothing_can_be_added() -> None:
    pool, shares = deposit(Pool(), 5)
    pool, lost = slash(pool, BASIS)
    assert (lost, pool.amount, worth(pool, shares)) == (5, 0, 0)
    for call in (deposit, shares_for):
        with pytest.raises(Refused) as caught:
            call(pool, 1)
        assert caught.value.reason is Reason.BANKRUPT


def test_a_pool_has_a_cap() -> None:
    pool, _ = deposit(Pool(), MAX_AMOUNT)
    with pytest.raises(Refused) as caught:
        deposit(pool, 1)
    assert caught.value.reason is Reason.AMOUNT_OUT_OF_RANGE
    small, _ = slash(deposit(Pool(), 10**9).pool, 9_999)
    with pytest.raises(Refused) as caught:  # few unxs, but too many shares
        deposit(small, MAX_AMOUNT // 1_000)
    assert caught.value.reason is Reason.AMOUNT_OUT_OF_RANGE
