"""Who may ask again when. Pure: time comes from outside."""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from crypto.errors import Reason, Refused

PREFIX_BITS: Final = 64
"""Of an IPv6 address: who has one has all of its /64."""
MOST_KEYS: Final = 100_000
"""Accounts and prefixes that are remembered; with so many in one window nobody new is served."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How often is too often.

    Attributes:
        window: seconds that a gift is remembered.
        each_account: gifts to one account in a window.
        each_prefix: gifts to one /64 in a window.
    """

    window: float = 3600.0
    each_account: int = 3
    each_prefix: int = 30


def prefix_of(host: str) -> str:
    """Return the /64 of an IPv6 address; anything else stands for itself."""
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(ipaddress.IPv6Network((address, PREFIX_BITS), strict=False))


class Allowance:
    """Remembers the gifts of the last window.

    Args:
        limits: how often is too often.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._given: OrderedDict[str, list[float]] = OrderedDict()  # who got something last comes last

    def take(self, account: str, host: str, now: float) -> None:
        """Count a gift, if it is allowed.

        Args:
            account: who gets it.
            host: the address that asks.
            now: seconds on a clock that only rises.

        Raises:
            Refused: RATE_LIMITED with the seconds to wait.
        """
        self._forget(now)
        before = now - self._limits.window
        prefix = prefix_of(host)
        asked = ((account, self._limits.each_account, "this account"), (prefix, self._limits.each_prefix, prefix))
        for key, most, name in asked:
            given = [moment for moment in self._given.get(key, ()) if moment > before]
            if len(given) >= most:
                left = given[-most] + self._limits.window - now
                raise Refused(
                    Reason.RATE_LIMITED, f"{name} got {most} gifts in {self._limits.window:.0f} s, which is all; "
                    f"ask again in {max(1, round(left))} s",
                )
        if len(self._given) + 2 > MOST_KEYS:
            raise Refused(Reason.RATE_LIMITED, "too many ask; come back in an hour")
        for key in (account, prefix):
            self._given[key] = [moment for moment in self._given.get(key, ()) if moment > before] + [now]
            self._given.move_to_end(key)

    def give_back(self, account: str, host: str) -> None:
        """Undo the last `take` of these: nothing was given."""
        for key in (account, prefix_of(host)):
            times = self._given.get(key)
            if times:
                times.pop()
                if not times:
                    del self._given[key]

    def _forget(self, now: float) -> None:
        """Drop those whose last gift lies before the window."""
        while self._given:
            key, times = next(iter(self._given.items()))
            if times[-1] > now - self._limits.window:
                return
            del self._given[key]
