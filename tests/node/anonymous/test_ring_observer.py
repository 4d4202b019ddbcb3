"""An observer of rings: whatever it looks at, it finds the real coin no more often than by chance.

People who mint, pay and are paid are simulated, with the wallet's own choice of coins and of rings; proofs are left
out, as they tell nothing. The observer knows all rings and when each coin was made, and for the guesses that learn, the
truth of the first half. That its guesses are good for something shows where rings are drawn in another way.
"""

import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import pytest

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from node.anonymous.ringindex import OwnCoin
from node.anonymous.ringkeys import PublicCoin
from node.anonymous.ringpaying import select_ring_coins
from node.anonymous.ringsets import PERIOD, RingSets, ring_sets
from state.transaction import RING_SIZE
from state.types import NATIVE, Amount, Height

SPENDS = 1_000
CHANCE = 1 / RING_SIZE
NOISE = 3.5
"""Standard deviations: of fourteen guessers none passes by luck but one time in 300."""

WARM = 1_500
"""Blocks: several times what most people wait."""
ALL, CLEAR = 0.35, 0.75
"""How often all of a coin is paid, and how often in clear: so there are about as many coins in the end as before."""

Waits = Callable[[random.Random], float]
HABITS: tuple[Waits, ...] = (
    lambda _dice: 0,  # spends at the first moment
    lambda dice: dice.expovariate(1 / 30),
    lambda dice: dice.lognormvariate(5, 1.5),  # 150 blocks, give or take a lot
    lambda dice: dice.gammavariate(4, 100),
    lambda dice: 500 - dice.random() * 20,  # regular payments
)


class Seen(NamedTuple):
    """A ring, as everybody sees it, and which member is the real one."""

    height: int
    members: tuple[int, ...]
    real: int


@dataclass
class People:
    """A chain with `rate` new coins a block from outside, and wallets that pay each other.

    Attributes:
        draw: in place of the wallet's own rings: (numbers of all coins, the real one) -> ring.
    """

    seed: int
    rate: float
    wallets: int = 60
    draw: Callable[[random.Random, Sequence[int], int], tuple[int, ...]] | None = None
    coins: list[PublicCoin] = field(default_factory=list)
    rings: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.purses: list[dict[int, OwnCoin]] = [{} for _ in range(self.wallets)]
        self.due: list[dict[int, float]] = [{} for _ in range(self.wallets)]
        self.habits = [self.dice.choice(HABITS) for _ in range(self.wallets)]

    def make(self, wallet: int, amount: int, height: int) -> None:
        """Make a coin."""
        number = len(self.coins)
        key = digest(Label.KEY_DERIVE, f"{self.seed} {number}".encode())
        self.coins.append(PublicCoin(number, NATIVE, key, key, height))
        self.purses[wallet][number] = OwnCoin(
            number, NATIVE, Amount(amount), key, key, key, "", Height(height), made=False
        )
        if amount:
            self.due[wallet][number] = height + self.habits[wallet](self.dice)

    def live(self, spends: int) -> list[Seen]:
        """Return the rings of so many payments, after WARM blocks in which everybody gets going."""
        height, warm, sets = 0, 0, ring_sets((), Height(0))
        while len(self.rings) < warm + spends:
            height += 1
            if height % PERIOD == 0:  # nothing changes between
                sets = ring_sets(self.coins, Height(height - 1))
            for _ in range(poisson(self.dice, self.rate)):
                self.make(self.dice.randrange(self.wallets), self.dice.randrange(1, 10_000), height)
            for wallet in self.dice.sample(range(self.wallets), self.wallets):
                self.pay(wallet, height, sets)
            warm = len(self.rings) if height <= WARM else warm
        return self.rings[warm:]

    def pay(self, wallet: int, height: int, sets: RingSets) -> None:
        """Pay, if one of the wallet's coins is due: an amount that this coin can pay, at times all of it."""
        ready = [number for number, due in self.due[wallet].items() if due <= height and number in sets.of]
        if not ready:
            return
        purse, wanted = self.purses[wallet], self.dice.choice(ready)
        most = purse[wanted].amount
        needed = most if self.dice.random() < ALL else self.dice.randrange(1, most + 1)
        try:
            chosen = select_ring_coins(tuple(purse.values()), sets, Height(height - 1), {NATIVE: needed})
        except Refused as refused:
            assert refused.reason is Reason.NOT_AVAILABLE
            return
        for coin in chosen:
            self.rings.append(Seen(height, self.members(coin.number, sets, height), coin.number))
            del purse[coin.number], self.due[wallet][coin.number]
        new = [(wallet, sum(coin.amount for coin in chosen) - needed)]
        if self.dice.random() > CLEAR:
            new.append((self.dice.randrange(self.wallets), needed))
        for receiver, amount in self.dice.sample(new, len(new)):
            self.make(receiver, amount, height)

    def members(self, real: int, sets: RingSets, height: int) -> tuple[int, ...]:
        """Return the ring of a coin."""
        if self.draw is None:
            return sets.of[real]
        return self.draw(self.dice, [coin.number for coin in self.coins if coin.height < height], real)


def poisson(dice: random.Random, mean: float) -> int:
    count, left = 0, dice.expovariate(1)
    while left < mean:
        count += 1
        left += dice.expovariate(1)
    return count


def uniformly(dice: random.Random, old: Sequence[int], real: int) -> tuple[int, ...]:
    """Draw the others out of all coins alike."""
    others = dice.sample([number for number in old if number != real], RING_SIZE - 1)
    return tuple(sorted([*others, real]))


# ---- the observer

Guess = Callable[[Seen, Sequence[int]], int]
"""(a ring, its members by age, the oldest first) -> which is the real one."""


class Observer:
    """Guesses, each a list of one guess a ring."""

    def __init__(self, coins: Sequence[PublicCoin], rings: Sequence[Seen]) -> None:
        self.coins, self.rings = coins, rings
        self.counts = Counter(number for seen in rings for number in seen.members)
        self.half = len(rings) // 2
        self.dice = random.Random(1)

    def age(self, seen: Seen, number: int) -> int:
        return seen.height - self.coins[number].height

    def share(self, guess: Guess, rings: Sequence[Seen]) -> float:
        """Return how often a guess is right."""
        return sum(guess(seen, seen.members) == seen.real for seen in rings) / len(rings)

    def at(self, place: int) -> Guess:
        return lambda _seen, members: members[place]

    def most_seen(self, seen: Seen, members: Sequence[int]) -> int:
        return max(members, key=lambda number: (self.counts[number], self.dice.random()))

    def least_seen(self, seen: Seen, members: Sequence[int]) -> int:
        return min(members, key=lambda number: (self.counts[number], self.dice.random()))

    def of_age(self, age: float) -> Guess:
        return lambda seen, members: min(members, key=lambda number: abs(self.age(seen, number) - age))

    def beside_a_gap(self, _seen: Seen, members: Sequence[int]) -> int:
        """The one that is farthest from the others."""
        return max(members, key=lambda number: sum(abs(self.coins[number].height - self.coins[one].height)
                                                   for one in members))  # fmt: skip

    def learnt_place(self) -> Guess:
        """The place by age at which the real one was most often."""
        places = Counter(seen.members.index(seen.real) for seen in self.rings[: self.half])
        return self.at(places.most_common(1)[0][0])

    def learnt_age(self) -> Guess:
        """The age at which most were spent, of the first half."""
        ages = sorted(self.age(seen, seen.real) for seen in self.rings[: self.half])
        return self.of_age(ages[len(ages) // 2])

    def learnt_likelihood(self) -> Guess:
        """The member whose age is likeliest, by how real ones and all members were spread (in factors of 1.5)."""
        def bucket(age: int) -> int:
            return round(math.log(max(age, 1), 1.5))

        real = Counter(bucket(self.age(seen, seen.real)) for seen in self.rings[: self.half])
        every = Counter(bucket(self.age(seen, one)) for seen in self.rings[: self.half] for one in seen.members)

        def guess(seen: Seen, members: Sequence[int]) -> int:
            def odds(number: int) -> tuple[float, float]:
                at = bucket(self.age(seen, number))
                return (real[at] + 1) / (every[at] + RING_SIZE), self.dice.random()

            return max(members, key=odds)

        return guess

    def by_elimination(self) -> float:
        """Return how often it is right to assign each ring a coin that no ring before was assigned."""
        taken: set[int] = set()
        hits = 0
        for seen in self.rings:
            left = [number for number in seen.members if number not in taken] or list(seen.members)
            chosen = self.dice.choice(left)
            taken.add(chosen)
            hits += chosen == seen.real
        return hits / len(self.rings)

    def scores(self) -> dict[str, tuple[float, int]]:
        """Return, by guesser, the share of rings in which it was right, and of how many."""
        median = sorted(self.age(seen, one) for seen in self.rings for one in seen.members)
        plain: dict[str, Guess] = {
            "oldest": self.at(0), "second oldest": self.at(1), "middle": self.at(RING_SIZE // 2), "newest": self.at(-1),
            "second newest": self.at(-2), "most often seen": self.most_seen, "least often seen": self.least_seen,
            "median age": self.of_age(median[len(median) // 2]), "young": self.of_age(2 * PERIOD),
            "apart": self.beside_a_gap,
        }  # fmt: skip
        learnt = {
            "learnt place": self.learnt_place(), "learnt age": self.learnt_age(),
            "learnt likelihood": self.learnt_likelihood(),
        }  # fmt: skip
        scores = {name: (self.share(guess, self.rings), len(self.rings)) for name, guess in plain.items()}
        later = self.rings[self.half :]
        scores |= {name: (self.share(guess, later), len(later)) for name, guess in learnt.items()}
        return scores | {"elimination": (self.by_elimination(), len(self.rings))}


def noise(count: int) -> float:
    """Return how far the share of so many guesses at random may be off."""
    return NOISE * math.sqrt(CHANCE * (1 - CHANCE) / count)


@cache
def scores_of(seed: int, rate: float, drawn: bool = False) -> dict[str, tuple[float, int]]:
    people = People(seed, rate, draw=uniformly if drawn else None)
    rings = people.live(SPENDS)
    return Observer(people.coins, rings).scores()


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.1), (2, 0.1), (3, 0.3), (4, 1.0)])
def test_best_guess_is_chance(seed: int, rate: float, capsys: pytest.CaptureFixture[str]) -> None:
    scores = scores_of(seed, rate)
    best = max(scores, key=lambda name: scores[name][0])
    with capsys.disabled():
        sys.stdout.write(f"\n{SPENDS} rings, chance {CHANCE:.1%}: best guess {best}, right in {scores[best][0]:.1%}\n")
    for name, (share, count) in scores.items():
        assert share <= CHANCE + noise(count), (name, share)


def test_guesses_see_through_rings_that_are_drawn() -> None:
    """The same people, their rings drawn from all coins: the real one is the newest far too often."""
    scores = scores_of(1, 0.1, drawn=True)
    assert scores["newest"][0] > 3 * CHANCE and scores["learnt likelihood"][0] > 3 * CHANCE


@pytest.mark.slow
def test_limit_where_coins_are_rare() -> None:
    """Eleven coins in 300 blocks, and people who spend after 30 or 490: who knows these habits guesses a fifth."""
    scores = scores_of(1, 0.003)
    assert CHANCE + noise(SPENDS // 2) < scores["learnt age"][0] < 0.25
    assert scores["newest"][0] < CHANCE + noise(SPENDS) and scores["most often seen"][0] < CHANCE + noise(SPENDS)
