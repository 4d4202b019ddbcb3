"""Sets that ring coins hide in: the same for everybody, for ever, and complete."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.anonymous.ring import RING_AGE
from crypto.hashing import Label, digest
from node.anonymous.ringkeys import PublicCoin
from node.anonymous.ringsets import PERIOD, RingSets, ring_sets
from state.transaction import RING_SIZE
from state.types import NATIVE, AssetId, Height

GOLD = AssetId(b"\x07" * 32)


def chain_of(heights: list[tuple[int, AssetId]], salt: str = "") -> list[PublicCoin]:
    return [
        PublicCoin(number, asset, digest(Label.KEY_DERIVE, f"{salt}{number}".encode()), bytes(32), height)
        for number, (height, asset) in enumerate(heights)
    ]


def natives(*counts: tuple[int, int]) -> list[PublicCoin]:
    """(height, how many) ..."""
    return chain_of([(height, NATIVE) for height, count in counts for _ in range(count)])


def ripe(sets: RingSets) -> set[int]:
    return set(sets.of)


def test_nothing_is_cut_before_the_period_is_over() -> None:
    coins = natives((3, 11))
    for height in range(3, PERIOD - 1):
        sets = ring_sets(coins, Height(height))
        assert sets.of == {} and sets.waiting == {NATIVE: tuple(range(11))}
    sets = ring_sets(coins, Height(PERIOD - 1))
    assert sets.of == dict.fromkeys(range(11), tuple(range(11))) and sets.waiting == {}
    assert set(sets.ripe.values()) == {3 + RING_AGE}


def test_what_is_left_over_waits_for_the_next_period() -> None:
    coins = natives((0, 10), (12, 11), (25, 2))
    assert ring_sets(coins, Height(9)).waiting == {NATIVE: tuple(range(10))}
    assert ring_sets(coins, Height(12)).waiting == {NATIVE: tuple(range(21))}  # of two periods, the second not over
    sets = ring_sets(coins, Height(19))
    assert ripe(sets) == set(range(11)) and sets.waiting == {NATIVE: tuple(range(11, 21))}
    assert sets.ripe[0] == 12 + RING_AGE
    sets = ring_sets(coins, Height(29))
    assert ripe(sets) == set(range(22)) and sets.waiting == {NATIVE: (22,)}
    assert sets.of[21] == tuple(range(11, 22)) and sets.ripe[11] == 25 + RING_AGE


def test_coins_of_a_block_that_is_not_in_yet_are_left_alone() -> None:
    coins = natives((0, 10), (9, 1), (10, 5))
    assert ripe(ring_sets(coins, Height(8))) == set()
    assert ring_sets(coins, Height(9)).waiting == {}
    assert ring_sets((), Height(99)) == RingSets({}, {}, {})


def test_a_period_is_mixed_by_all_of_its_keys() -> None:
    """Neighbours by number part; another key anywhere makes other sets."""
    coins = natives((0, 121))
    sets = ring_sets(coins, Height(9))
    alone = ring_sets([*coins[:120], coins[120]._replace(key=bytes(32))], Height(9))
    neighbours = sum(number + 1 in sets.of[number] for number in range(120))
    assert neighbours < 40  # by chance 10 in 120 for each
    assert sum(sets.of[number] != alone.of[number] for number in range(121)) == 121


many = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([NATIVE, GOLD])), max_size=150)


@settings(max_examples=60, deadline=None)
@given(many, st.integers(0, 80), st.integers(0, 20))
def test_sets_are_disjoint_whole_of_one_asset_and_never_change(
    heights: list[tuple[int, AssetId]], height: int, more: int
) -> None:
    coins = chain_of(sorted(heights))
    sets, later = ring_sets(coins, Height(height)), ring_sets(coins, Height(height + more))
    for number, members in sets.of.items():
        assert number in members and len(set(members)) == RING_SIZE and list(members) == sorted(members)
        assert {coins[one].asset for one in members} == {coins[number].asset}
        assert all(sets.of[one] == members for one in members)
        youngest = max(coins[one].height for one in members)
        assert sets.ripe[number] == youngest + RING_AGE and youngest <= height
    assert later.of.items() >= sets.of.items()
    waiting = {number for numbers in sets.waiting.values() for number in numbers}
    assert waiting | set(sets.of) == {coin.number for coin in coins if coin.height <= height}
    assert not waiting & set(sets.of)
    for asset, numbers in sets.waiting.items():
        over = (height + 1) // PERIOD * PERIOD
        assert sum(coins[number].height < over for number in numbers) < RING_SIZE, asset


def test_every_member_of_a_crowd_is_as_likely_beside_every_other() -> None:
    """Over many periods: how often two coins of a period of 22 are in one set does not depend on their numbers."""
    beside: Counter[int] = Counter()
    rounds = 300
    for salt in range(rounds):
        sets = ring_sets(chain_of([(0, NATIVE)] * 22, str(random.Random(salt).random())), Height(9))
        beside.update(member for member in sets.of[0] if member)
    expected = rounds * 10 / 21
    assert all(abs(beside[number] - expected) < 5 * (rounds * 0.25) ** 0.5 for number in range(1, 22))
