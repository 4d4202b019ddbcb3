"""Where several prefixes see a node."""

from p2p.external import MAX_VIEWS, QUORUM, OutsideView

HERE, THERE = ("2001:db8::7", 7100), ("2001:db8:bad::1", 1)


def test_a_place_needs_a_quorum_of_prefixes_and_more_than_half_of_them() -> None:
    view = OutsideView()
    for number in range(QUORUM - 1):
        view.note(f"honest{number}", HERE)
        view.note("honest0", HERE)  # the same prefix again counts once
    assert not view.place
    view.note("honest9", HERE)
    assert view.place == (HERE,)
    for number in range(QUORUM):
        view.note(f"liar{number}", THERE)
    assert not view.place  # as many say otherwise: nothing is known


def test_the_last_word_of_a_prefix_counts_and_old_words_are_forgotten() -> None:
    view = OutsideView()
    for number in range(QUORUM):
        view.note(f"peer{number}", HERE)
    for number in range(QUORUM):
        view.note(f"peer{number}", THERE)  # we moved
    assert view.place == (THERE,)
    for number in range(MAX_VIEWS):
        view.note(f"other{number}", HERE)
    assert view.place == (HERE,)
