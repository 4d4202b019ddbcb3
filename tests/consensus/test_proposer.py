"""Proposer rotation: in proportion to power, the same on every node, one step a height."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from consensus.proposer import advance, carry_over, proposer_of, start_priorities, turns
from tests.consensus.parts import make_validators

POWERS = st.lists(st.integers(1, 10**6), min_size=1, max_size=12)


def test_equal_powers_take_turns_by_address() -> None:
    validators = make_validators([1] * 4)
    order = turns(validators, start_priorities(validators))
    assert [next(order) for _ in range(8)] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_proportional_to_power() -> None:
    validators = make_validators([5, 3, 2])
    priorities = start_priorities(validators)
    chosen: Counter[int] = Counter()
    for _ in range(100):
        chosen[validators.validators[proposer_of(validators, priorities, 0)].power] += 1
        priorities = advance(validators, priorities)
    assert chosen == {5: 50, 3: 30, 2: 20}


def test_sequence_of_cometbft() -> None:
    """The beginning of the sequence in CometBFT's test of proposer selection (types/validator_set_test.go)."""
    names = {1000: "foo", 300: "bar", 330: "baz"}
    sequence = (
        "foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo foo baz foo bar foo foo "
        "baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo "
        "foo foo baz bar foo foo foo baz foo bar foo foo baz foo bar"
    )
    expected = sequence.split(" ")
    validators = make_validators(list(names))
    priorities = start_priorities(validators)
    got = []
    for _ in expected:
        got.append(names[validators.validators[proposer_of(validators, priorities, 0)].power])
        priorities = advance(validators, priorities)
    assert got == expected


@given(POWERS, st.integers(0, 30))
def test_round_r_is_what_the_height_r_later_would_begin_with(powers: list[int], round: int) -> None:
    validators = make_validators(powers)
    priorities = start_priorities(validators)
    chosen = proposer_of(validators, priorities, round)
    for _ in range(round):
        priorities = advance(validators, priorities)
    assert proposer_of(validators, priorities, 0) == chosen


@given(POWERS, st.integers(1, 60))
def test_priorities_stay_within_the_window_and_centred(powers: list[int], heights: int) -> None:
    validators = make_validators(powers)
    priorities = start_priorities(validators)
    for _ in range(heights):
        priorities = advance(validators, priorities)
    assert max(priorities) - min(priorities) <= 2 * validators.total_power
    assert abs(sum(priorities)) < len(priorities)


def test_who_joins_waits_and_who_stays_keeps_its_place() -> None:
    old = make_validators([10, 10, 10])
    new = make_validators([10, 10, 10, 10])
    priorities = carry_over(old, advance(old, start_priorities(old)), new)
    joined = next(i for i, validator in enumerate(new.validators) if old.index_of(validator.address) is None)
    assert min(range(4), key=lambda index: priorities[index]) == joined


def test_a_giant_that_leaves_has_no_long_echo() -> None:
    old = make_validators([1, 1, 10**12])
    new = make_validators([1, 1])
    priorities = carry_over(old, (-(10**12), 10**12, 0), new)
    assert max(priorities) - min(priorities) <= 2 * new.total_power
