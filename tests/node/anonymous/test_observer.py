"""An observer who sees all of the chain guesses who pays. Over 1,000 payments no guess of his is better than chance.

Who pays is drawn from all accounts alike: nothing that people do tells on them, and what is tried is what the wallet
and the shuffles do. The controls show that the same guesses find people with habits, and a wallet that hides badly.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import pytest

from crypto.quisquis import ACCOUNTS, default_quisquis
from state.transaction import SET_SIZE
from tests.node.anonymous.crowd import Crowd, Guess, Habits, Seen, Shown

PAYMENTS = 1_000
CHANCE = 1 / SET_SIZE
NOISE = 4.0
"""Standard deviations: of some twenty guesses one in a thousand runs has one beyond; the seed is fixed."""


def by(value: Callable[[Seen], float]) -> Guess:
    """Guess the member with the highest value, the first of them if there are more."""
    return lambda shown: max(range(SET_SIZE), key=lambda place: value(shown.members[place]))


def where(true: Callable[[Shown, int], bool]) -> Guess:
    """Guess the first member for which it is true; nobody if there is none."""
    return lambda shown: next((place for place in range(SET_SIZE) if true(shown, place)), None)


def linked(shown: Shown, sign: int) -> int:
    born = Counter(one.born for one in shown.members if one.born >= 0)
    return max(range(SET_SIZE), key=lambda place: sign * born[shown.members[place].born])


def alike(shown: Shown, which: int, size: int) -> int:
    """Guess the member whose bytes are most like those of an account in the proof."""
    target = int.from_bytes(shown.mixed[which][:size])
    return min(
        range(SET_SIZE), key=lambda place: (int.from_bytes(shown.members[place].account[:size]) ^ target).bit_count()
    )


GUESSES: Mapping[str, Guess] = {
    "newest": by(lambda one: one.born),
    "oldest": by(lambda one: -one.born),
    "just received: made by one of the last five": where(
        lambda shown, place: shown.members[place].born >= shown.number - 5
    ),
    "most renewed": by(lambda one: one.renewals),
    "least renewed": by(lambda one: -one.renewals),
    "probably paid with not long ago": by(lambda one: one.taint),
    "probably not paid with for long": by(lambda one: -one.taint),
    "linked by earlier sets": lambda shown: linked(shown, 1),
    "not linked by earlier sets": lambda shown: linked(shown, -1),
    "never renewed since it was opened": where(lambda shown, place: shown.members[place].born < 0),
    "made in the last place": where(lambda shown, place: shown.members[place].place == ACCOUNTS - 1),
    "made in the first place": where(lambda shown, place: shown.members[place].place == 0),
    "made in the place where it stands": where(lambda shown, place: shown.members[place].place == place),
    "lowest slot": by(lambda one: -one.slot),
    "highest slot": by(lambda one: one.slot),
    "first": lambda shown: 0,
    "last": lambda shown: SET_SIZE - 1,
    "most like the payer's in the proof": lambda shown: alike(shown, 0, 128),
    "key most like the payer's in the proof": lambda shown: alike(shown, 0, 32),
    "most like the receiver's in the proof": lambda shown: alike(shown, 1, 128),
    "in both sets of who was disturbed": where(
        lambda shown, place: shown.members[place].account in shown.before
    ),
    "exchanged by who was disturbed": where(
        lambda shown, place: bool(shown.before) and shown.members[place].account not in shown.before
    ),
}  # fmt: skip


def scores(shown: Sequence[Shown]) -> dict[str, tuple[int, int, float]]:
    """Return of each guess how often it was right, of how many, and how far that is from chance."""
    found = {}
    for name, guess in GUESSES.items():
        guesses = [(guess(one), one.payer) for one in shown]
        made = [right == said for said, right in guesses if said is not None]
        spread = sqrt(max(1, len(made)) * CHANCE * (1 - CHANCE))
        found[name] = (sum(made), len(made), (sum(made) - len(made) * CHANCE) / spread)
    return found


def table(title: str, found: Mapping[str, tuple[int, int, float]]) -> str:
    lines = [f"{title}; chance is {CHANCE:.1%}", f"{'guess':46}{'right':>6}{'of':>6}{'share':>8}{'off by':>10}"]
    for name, (right, count, off) in sorted(found.items(), key=lambda item: -item[1][2]):
        lines.append(f"{name:46}{right:6}{count:6}{right / max(1, count):8.1%}{off:+8.1f} s.d.")
    return "\n".join(lines)


def chi_square(places: Sequence[int], count: int) -> float:
    expected = len(places) / count
    return sum((places.count(place) - expected) ** 2 / expected for place in range(count))


def test_no_guess_is_better_than_chance(capsys: pytest.CaptureFixture[str]) -> None:
    crowd = Crowd(7, Habits(disturbed=4, proven=25))
    crowd.live(PAYMENTS)
    found = scores(crowd.shown)
    with capsys.disabled():
        print("\n" + table(f"{len(crowd.shown)} payments of a crowd without habits", found))  # noqa: T201
    assert all(abs(off) < NOISE for _, _, off in found.values())
    assert found["newest"][1] >= PAYMENTS
    assert sum(count for _, count, _ in found.values()) > 15 * PAYMENTS

    # the shuffle hides where the payer's and the receiver's accounts come out, too
    assert chi_square([one.payer for one in crowd.shown], SET_SIZE) < 26  # 8 degrees of freedom: 1 in 1,000
    assert chi_square([one.left for one in crowd.shown], ACCOUNTS) < 28
    assert chi_square([one.paid for one in crowd.shown], ACCOUNTS) < 28

    # what was looked at are real payments: a share of them is proven
    assert len(crowd.claims) == len(crowd.shown) // 25 + (len(crowd.shown) % 25 > 0)
    assert default_quisquis().faults(crowd.claims, bytes(32)) == ()


def test_the_guesses_find_who_spends_what_he_just_got() -> None:
    """What docs/privacy.md warns of: it is not the wallet that tells on him."""
    crowd = Crowd(8, Habits(hasty=0.3))
    crowd.live(300)
    found = scores(crowd.shown)
    assert found["newest"][2] > NOISE and found["just received: made by one of the last five"][2] > NOISE
    assert found["oldest"][2] < 0


def test_the_guesses_find_who_draws_others_for_the_second_proof() -> None:
    """Why a set is followed: two that were drawn independently have the payer in common, and hardly anybody else."""
    crowd = Crowd(9, Habits(disturbed=2, fresh=True))
    crowd.live(300)
    right, count, off = scores(crowd.shown)["in both sets of who was disturbed"]
    assert off > NOISE and right > 0.3 * count
