"""Stake in exact fractions: slow, without shares, pools or indexes. What accounts have is listed one by one.

Only what the rules give as whole numbers is whole here: amounts in messages, and a signer's part of a block's fees.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from state.params import BASIS
from state.types import Address


@dataclass
class Away:
    """Stake of one account that set out in one message; `target` is None if it leaves."""

    owner: Address
    source: Address
    target: Address | None
    epoch: int
    amount: Fraction


@dataclass
class StakeModel:
    """Who owns what, exactly."""

    epoch_length: int
    stake: defaultdict[tuple[Address, Address], Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    rewards: defaultdict[tuple[Address, Address], Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    commission: defaultdict[Address, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    rates: dict[Address, int] = field(default_factory=dict)
    away: list[Away] = field(default_factory=list)
    home: defaultdict[Address, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    """What accounts have got back into their balances, less what they paid in."""

    def delegate(self, owner: Address, operator: Address, amount: int) -> None:
        self.home[owner] -= amount
        self.stake[owner, operator] += amount

    def set_out(self, owner: Address, source: Address, target: Address | None, epoch: int, amount: int) -> None:
        self.stake[owner, source] -= amount
        self.away.append(Away(owner, source, target, epoch, Fraction(amount)))

    def bonded(self, operator: Address) -> list[tuple[Address, Fraction]]:
        """Return who has how much in an operator's pool, also as stake that moves there."""
        plain = [(owner, amount) for (owner, where), amount in self.stake.items() if where == operator]
        return plain + [(one.owner, one.amount) for one in self.away if one.target == operator]

    def reward(self, operator: Address, share: int) -> None:
        """Give an operator's pool its part of a block's fees."""
        rate = Fraction(self.rates[operator], BASIS)
        self.commission[operator] += share * rate
        owners = self.bonded(operator)
        total = sum(amount for _, amount in owners)
        for owner, amount in owners:
            self.rewards[owner, operator] += share * (1 - rate) * amount / total

    def slash(self, operator: Address, fault: int, share: int) -> None:
        """Take a share of all that backed an operator's votes at a height or backs them now."""
        left = 1 - Fraction(share, BASIS)
        for owner, where in list(self.stake):
            if where == operator:
                self.stake[owner, where] *= left
        for one in self.away:
            if one.target == operator:
                one.amount *= left
            if one.source == operator and (one.epoch + 1) * self.epoch_length + 1 >= fault:
                one.amount *= left

    def arrive(self, epochs: Iterable[int]) -> int:
        """Bring home all that set out in these epochs; return of how many accounts, source, target and epoch it is."""
        ripe = [one for one in self.away if one.epoch in epochs]
        for one in ripe:
            self.away.remove(one)
            if one.target is None:
                self.home[one.owner] += one.amount
            else:
                self.stake[one.owner, one.target] += one.amount
        return len({(one.owner, one.source, one.target, one.epoch) for one in ripe})

    def empty(self, operator: Address) -> None:
        """Forget fractions of a unit whose owners are gone: they went to the fees."""
        for owner, where in list(self.stake):
            if where == operator:
                del self.stake[owner, where]
