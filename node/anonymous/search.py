"""Finding what an account holds. An amount stands in an exponent: what people named is tried first, then all.

Baby steps and giant steps (`crypto.elgamal.ValueSearch`): a table is made once, in about a second, when it is first
needed; a search then takes a second for each 4,295 nxs. Beyond BOUND it is given up.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Final

from crypto.elgamal import ValueSearch
from crypto.errors import Refused
from crypto.group import default
from crypto.ristretto import Group
from state.types import UNXS_PER_NXS, Amount

STEPS: Final = 1 << 16
WINDOW: Final = STEPS * STEPS
"""Amounts looked through between two words to who waits: a second."""
BOUND: Final = 1 << 36
"""Amounts in unxs below which a search finds all: 68,719 nxs. The wallet opens and pays no more at once."""


class AmountSearch:
    """Finds amounts.

    Args:
        named: amounts in unxs that people said it may be.
        bound: where a search ends.
        group: the backend; by default the one to use.
    """

    def __init__(self, named: Iterable[int] = (), bound: int = BOUND, group: Group | None = None) -> None:
        self._group = group or default()
        self._bound = bound
        self._named = {self.point(amount): amount for amount in named}

    @cached_property
    def _table(self) -> ValueSearch:
        return ValueSearch(self._group, STEPS)

    def point(self, amount: int) -> bytes:
        """Return v * B for an amount."""
        return self._group.multiply(amount, self._group.base).encode()

    def find(self, point: bytes, tell: Callable[[str], None]) -> Amount | None:
        """Return the amount of v * B, or None if it is not below the bound.

        Args:
            point: encoded.
            tell: is told how far a long search is.
        """
        if point in self._named:
            return Amount(self._named[point])
        left = self._group.decode(point)
        window = self._group.multiply(WINDOW, self._group.base)
        for begin in range(0, self._bound, WINDOW):
            if begin:
                tell(f"looking for an amount above {begin // UNXS_PER_NXS:,} nxs")
            try:
                return Amount(begin + self._table.find(left, min(WINDOW, self._bound - begin)))
            except Refused:
                left = self._group.subtract(left, window)
        return None
