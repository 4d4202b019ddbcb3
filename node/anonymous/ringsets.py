"""Among whom a ring coin hides: sets of eleven that follow from the chain alone, the same for every wallet.

    Blocks are counted in periods of PERIOD. At the end of each, the coins of an asset that are in no set yet, if there
    are at least eleven, give as many sets as they can: of n coins the oldest 11 * (n // 11), brought into the order of
    H(ring-set, H(ring-set, their keys, one after another) || key) and cut into sets of eleven. The others wait.

A coin is always spent with its whole set for a ring. So a ring tells in which set the coin is, and nothing else can be
read out of it, whatever people do: each member is in the very same rings, so that none is seen more often; a payment
that is drafted again names the same ring, so that two rings of one coin have no smaller intersection; and the members
are of about one age, whatever ages people spend at. Rings that each wallet draws from a distribution have none of this:
the real coin stands out as far as the distribution differs from what people do (Möser et al., "An Empirical Analysis of
Traceability in the Monero Blockchain", PoPETs 2018), and which coins are spent already can be worked out from the
overlaps. When it is not known how people spend, a partition is the best choice (Ronge et al., "Foundations of Ring
Sampling", PoPETs 2021).

Limits. The chain does not enforce it: it asks only for eleven coins of one asset and of some age.
- The observer learns when, to within the set, the coin that is spent was made: one period where there are many coins;
  where there are few, the time in which eleven were made. Within such a long time ages tell something again: in a
  simulation where a set took 300 blocks, and many spent after about 30 or 490, who knew that found 19 of 100 real
  coins, by chance it is 9 (`tests/node/anonymous/test_ring_observer.py`). Up to a set in 70 blocks it was chance.
- Whoever made coins of a set knows them not to be others': who made a share p of a period's coins leaves
  11 * (1 - p) in its sets. The order follows from all keys of a period, so nobody can choose whom to surround without
  making most of the coins; who makes the last of them can try several keys.
- When all eleven of a set are spent, that each of them is spent is known (not by which payment).
- Coins wait for their set, up to PERIOD blocks where there are many, else until ten others are there; then for their
  age. As there are no blocks without transactions, that takes long on a chain on which little happens.
- A chain that is started from another one's state counts heights anew, so its sets are others.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from apps.anonymous.ring import RING_AGE
from crypto.hashing import Label, digest
from node.anonymous.ringkeys import PublicCoin
from state.transaction import RING_SIZE
from state.types import AssetId, Height

PERIOD: Final = 10
"""Blocks."""


class RingSets(NamedTuple):
    """Sets after a block.

    Attributes:
        of: number of a coin -> the numbers of its set, in rising order.
        ripe: number of a coin -> the first block that may hold a payment with its set.
        waiting: by asset, the coins that are in no set yet.
    """

    of: dict[int, tuple[int, ...]]
    ripe: dict[int, Height]
    waiting: dict[AssetId, tuple[int, ...]]


def ring_sets(coins: Iterable[PublicCoin], height: Height) -> RingSets:
    """Return the sets of all ring coins.

    Args:
        coins: all of the chain up to block `height`, by number. Later ones are left alone.
        height: of a block. The period that it is in is over if it is its last one.
    """
    sets = RingSets({}, {}, {})
    waiting: dict[AssetId, list[PublicCoin]] = {}
    current = 0
    over = (height + 1) // PERIOD  # periods that are over: 0 up to this, not included
    for coin in coins:
        if coin.height > height:
            break
        period = coin.height // PERIOD
        if period != current:
            _close(waiting, sets)
            current = period
        waiting.setdefault(coin.asset, []).append(coin)
    if current < over:
        _close(waiting, sets)
    sets.waiting.update({asset: tuple(coin.number for coin in left) for asset, left in waiting.items() if left})
    return sets


def _close(waiting: dict[AssetId, list[PublicCoin]], sets: RingSets) -> None:
    """Cut what waits at the end of a period."""
    for asset, coins in waiting.items():
        full = len(coins) // RING_SIZE * RING_SIZE
        if not full:
            continue
        ordered = _ordered(coins[:full])
        for begin in range(0, full, RING_SIZE):
            members = ordered[begin : begin + RING_SIZE]
            numbers = tuple(sorted(coin.number for coin in members))
            ripe = Height(max(coin.height for coin in members) + RING_AGE)
            for number in numbers:
                sets.of[number], sets.ripe[number] = numbers, ripe
        waiting[asset] = coins[full:]


def _ordered(coins: Sequence[PublicCoin]) -> list[PublicCoin]:
    seed = digest(Label.RING_SET, b"".join(coin.key for coin in coins))
    return sorted(coins, key=lambda coin: digest(Label.RING_SET, seed + coin.key))
