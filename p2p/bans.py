"""Who is not let in: penalties that grow with each offence and fade with time, and the operator's own bans.

An offence costs one point. Points halve every HALF_LIFE, and each point beyond the first doubles the time for which
nobody talks with the peer: a rare fault of an honest program costs seconds, a peer that keeps at it is gone for a day.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta

from p2p.network import PeerId
from state.encoding import Record
from state.types import Unsigned

HALF_LIFE: Final = 3600.0
"""Seconds in which points halve."""
LONGEST: Final = 24 * 3600.0
"""Seconds: no penalty is longer."""
FORGET_BELOW: Final = 0.05
"""Points under which an offender is forgotten."""
MAX_KEPT: Final = 4096
"""Offenders remembered; the mildest make room."""
FOREVER: Final = 2**62
"""`until` of a ban without an end, in ms."""


class Ban(Record, frozen=True):
    """How one peer stands: thousandths of a point at `since`, and shut out until `until` (both ms since 1970)."""

    peer_id: Annotated[bytes, Meta(min_length=32, max_length=32)]
    points: Unsigned
    since: Unsigned
    until: Unsigned


class Bans:
    """The list. Times are ms since 1970.

    Args:
        first: seconds that the first offence costs.
        kept: what an earlier run of the node knew.
    """

    def __init__(self, first: float, kept: Iterable[Ban] = ()) -> None:
        self._first = first
        self._bans = {PeerId(ban.peer_id): ban for ban in kept}

    def offence(self, peer_id: PeerId, now: int) -> float:
        """Note that a peer broke a rule; return for how many seconds it is shut out from now on."""
        before = self._bans.get(peer_id)
        points = 1.0 + (0.0 if before is None else _faded(before, now))
        seconds = min(self._first * math.exp2(points - 1.0), LONGEST)
        until = max(now + round(seconds * 1000), 0 if before is None else before.until)
        self._bans[peer_id] = Ban(peer_id, round(points * 1000), now, until)
        self._make_room(now)
        return seconds

    def ban(self, peer_id: PeerId, until: int, now: int) -> None:
        """Shut a peer out by the operator's will, until FOREVER or a time; a time in the past lets it in again."""
        before = self._bans.get(peer_id)
        points = 0.0 if before is None or until <= now else _faded(before, now)
        self._bans[peer_id] = Ban(peer_id, round(points * 1000), now, until)
        self._make_room(now)

    def is_banned(self, peer_id: PeerId, now: int) -> bool:
        """Return whether the peer is shut out."""
        ban = self._bans.get(peer_id)
        return ban is not None and ban.until > now

    def active(self, now: int) -> tuple[Ban, ...]:
        """Return who is shut out, the longest first."""
        return tuple(sorted((ban for ban in self._bans.values() if ban.until > now), key=lambda ban: -ban.until))

    def all(self, now: int) -> tuple[Ban, ...]:
        """Return what is worth keeping for the next run."""
        return tuple(ban for ban in self._bans.values() if ban.until > now or _faded(ban, now) >= FORGET_BELOW)

    def _make_room(self, now: int) -> None:
        if len(self._bans) > MAX_KEPT:
            kept = sorted(self.all(now), key=lambda ban: (ban.until, _faded(ban, now)), reverse=True)
            self._bans = {PeerId(ban.peer_id): ban for ban in kept[: MAX_KEPT // 2]}


def _faded(ban: Ban, now: int) -> float:
    """Return the points that are left."""
    return ban.points / 1000 * math.exp2(-max(now - ban.since, 0) / 1000 / HALF_LIFE)
