"""Tallies, thresholds, and what an equivocator can and cannot do to them."""

import pytest

from consensus.types import NIL, VoteKind
from consensus.vote_keeper import Crossed, Threshold, VoteKeeper
from state.types import BlockId, Round
from tests.consensus.parts import genesis_tip, make_validators, signed_vote

PREVOTE, PRECOMMIT = VoteKind.PREVOTE, VoteKind.PRECOMMIT
A, B, C = (BlockId(bytes([letter]) * 32) for letter in b"abc")
TIP = genesis_tip(make_validators([10] * 4))


def add(keeper: VoteKeeper, index: int, kind: VoteKind, round: int, value: BlockId, current: int = 0) -> Crossed | None:
    return keeper.add(signed_vote(TIP, index, kind, round, value), current).crossed


@pytest.mark.parametrize(("kind", "value", "threshold"), [
    (PREVOTE, A, Threshold.POLKA_VALUE),
    (PREVOTE, NIL, Threshold.POLKA_NIL),
    (PRECOMMIT, A, Threshold.PRECOMMIT_VALUE),
    (PRECOMMIT, NIL, Threshold.PRECOMMIT_ANY),
])
def test_the_third_of_four_tips_it_and_only_once(kind: VoteKind, value: BlockId, threshold: Threshold) -> None:
    keeper = VoteKeeper(TIP.validators)
    crossed = [add(keeper, index, kind, 0, value) for index in range(4)]
    told = value if threshold in (Threshold.POLKA_VALUE, Threshold.PRECOMMIT_VALUE) else NIL
    assert crossed == [None, None, Crossed(threshold, Round(0), told), None]


def test_exactly_two_thirds_is_not_enough() -> None:
    tip = genesis_tip(make_validators([10] * 3))
    keeper = VoteKeeper(tip.validators)
    votes = [signed_vote(tip, index, PREVOTE, 0, A) for index in range(3)]
    assert [keeper.add(vote, 0).crossed for vote in votes] == [None, None, Crossed(Threshold.POLKA_VALUE, Round(0), A)]


def test_mixed_votes_make_any() -> None:
    keeper = VoteKeeper(TIP.validators)
    crossed = [add(keeper, index, PREVOTE, 0, value) for index, value in enumerate((A, B, NIL))]
    assert crossed[-1] == Crossed(Threshold.POLKA_ANY, Round(0))
    assert keeper.value_with_quorum(PREVOTE, Round(0)) is None


def test_a_third_in_a_later_round_skips_counting_each_validator_once() -> None:
    keeper = VoteKeeper(TIP.validators)
    assert add(keeper, 0, PREVOTE, 3, A) is None
    assert add(keeper, 0, PRECOMMIT, 3, A) is None
    assert add(keeper, 1, PRECOMMIT, 3, NIL) == Crossed(Threshold.SKIP_ROUND, Round(3))
    assert keeper.skip_to(0) == 3
    assert keeper.skip_to(3) is None


def test_both_halves_of_an_equivocation_count_for_their_values_and_once_in_all() -> None:
    keeper = VoteKeeper(TIP.validators)
    add(keeper, 0, PREVOTE, 0, A)
    second = keeper.add(signed_vote(TIP, 0, PREVOTE, 0, B), 0)
    assert second.taken and second.conflict == signed_vote(TIP, 0, PREVOTE, 0, A)
    tally = keeper.tally(Round(0)).kinds[PREVOTE]
    assert (tally.power, tally.power_of) == (10, {A: 10, B: 10})
    add(keeper, 1, PREVOTE, 0, B)
    assert add(keeper, 2, PREVOTE, 0, B) == Crossed(Threshold.POLKA_VALUE, Round(0), B)


def test_a_third_value_is_kept_only_if_it_was_proposed() -> None:
    keeper = VoteKeeper(TIP.validators)
    add(keeper, 0, PREVOTE, 0, A)
    add(keeper, 0, PREVOTE, 0, B)
    third = signed_vote(TIP, 0, PREVOTE, 0, C)
    assert not keeper.accepts(third) and not keeper.add(third, 0).taken
    keeper.expect(C)
    added = keeper.add(third, 0)
    assert added.taken and added.conflict is None
    assert not keeper.accepts(third)


def test_forgetting_a_validator_takes_its_power_back() -> None:
    keeper = VoteKeeper(TIP.validators)
    add(keeper, 0, PREVOTE, 7, A)
    add(keeper, 1, PREVOTE, 7, A)
    keeper.forget(0, Round(7))
    assert keeper.skip_to(0) is None and keeper.rounds_of(0, above=0) == ()
    assert add(keeper, 0, PRECOMMIT, 7, A) == Crossed(Threshold.SKIP_ROUND, Round(7))
    keeper.forget(0, Round(7))
    keeper.forget(1, Round(7))
    assert keeper.rounds == ()
