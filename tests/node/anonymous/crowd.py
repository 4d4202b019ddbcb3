"""A population that pays out of anonymous accounts, and what the chain shows of it. The shuffles are the real ones."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from apps.anonymous.records import account_id
from crypto.quisquis import ACCOUNTS, Arrangement, Payment, PaymentClaim, default_quisquis
from node.anonymous.choosing import Hiding, Renewed, choose, follow
from node.anonymous.keys import random_scalar
from tests.node.anonymous.pretend import randomness

MONEY = 10**12


class Seen(NamedTuple):
    """What an observer knows of an account.

    `born` is the number of the payment that made it (-1: it was opened), `place` where it stood there. `renewals` is
    through how many payments it may have gone, `taint` how likely it was paid with not long ago, as far as he can tell.
    """

    account: bytes
    slot: int
    born: int
    place: int
    renewals: int
    taint: float


class Held(NamedTuple):
    """What nobody but the owner knows."""

    owner: int
    balance: int


class Shown(NamedTuple):
    """One payment as the observer sees it, and three places that he does not see.

    `members` are the set, `mixed` stands in the proof. `before` is the set that the same payer showed before, if
    somebody came in his way. `payer` counts among the members; `left` and `paid` among the outputs.
    """

    number: int
    members: tuple[Seen, ...]
    mixed: tuple[bytes, ...]
    before: frozenset[bytes]
    payer: int
    left: int
    paid: int


@dataclass(frozen=True)
class Habits:
    """How people behave.

    Attributes:
        hasty: the share of payments that spend what was paid last; who pays else is drawn from all accounts alike.
        disturbed: of so many payments one is proven again, because another came first.
        fresh: whether the second set is then drawn anew, as it must not be.
        proven: of so many payments one is fully proven.
    """

    hasty: float = 0.0
    disturbed: int = 0
    fresh: bool = False
    proven: int = 0


class Crowd:
    """Wallets with some accounts each.

    Args:
        seed: of everything that is random.
        habits: of them all.
        wallets, each: how many, and the accounts of each at the beginning.
    """

    def __init__(self, seed: int, habits: Habits, wallets: int = 12, each: int = 12) -> None:
        self.proofs = default_quisquis()
        self.bytes = randomness(seed)
        self.dice = random.Random(seed)
        self.habits = habits
        self.secrets = [random_scalar(self.bytes(64)) for _ in range(wallets)]
        self.slots: list[Seen] = []
        self.held: dict[bytes, Held] = {}
        self.shown: list[Shown] = []
        self.claims: list[PaymentClaim] = []
        self.paid_last = b""
        for slot in range(wallets * each):
            account = self.proofs.account(self.key(slot % wallets), MONEY)
            self.held[account] = Held(slot % wallets, MONEY)
            self.slots.append(Seen(account, slot, -1, slot % ACCOUNTS, 0, 0.0))

    def key(self, owner: int) -> bytes:
        return self.proofs.key(self.secrets[owner], random_scalar(self.bytes(64)))

    def accounts(self) -> list[bytes]:
        return [one.account for one in self.slots]

    def live(self, payments: int) -> None:
        """Make so many payments."""
        while len(self.shown) < payments:
            payer = self.next_payer()
            hiding = choose(self.accounts(), (payer,), self.bytes)
            if self.habits.disturbed and len(self.shown) % self.habits.disturbed == 0:
                self.pay(*self.again(hiding), frozenset(hiding.members))
            else:
                self.pay(payer, hiding, frozenset())

    def next_payer(self) -> bytes:
        if self.paid_last and self.dice.random() < self.habits.hasty:
            return self.paid_last
        return self.dice.choice(self.accounts())

    def again(self, hiding: Hiding) -> tuple[bytes, Hiding]:
        """Somebody else's payment renews members of a set before its own is in a block; return what is shown next."""
        while True:
            other = self.next_payer()
            second = choose(self.accounts(), (other,), self.bytes)
            if other not in hiding.own and set(second.members) & set(hiding.members):
                break
        before = self.accounts()
        mine = self.held[hiding.own[0]]
        renewed = self.pay(other, second, frozenset())
        heir = hiding.own[0] if hiding.own[0] in self.held else next(
            one for one in renewed.made if one not in before and self.held[one] is mine
        )
        if self.habits.fresh:
            return heir, choose(self.accounts(), (heir,), self.bytes)

        def holds(account: bytes) -> bytes | None:
            return b"mine" if account in (hiding.own[0], heir) else None

        return heir, follow(hiding, self.accounts(), [renewed], holds, self.bytes)

    def pay(self, payer: bytes, hiding: Hiding, before: frozenset[bytes]) -> Renewed:
        """Pay somebody an amount that leaves the most where it was."""
        owner, balance = self.held[payer]
        receiver, amount = self.dice.randrange(len(self.secrets)), self.dice.randrange(balance // 4 + 1)
        inputs = (*hiding.members, self.proofs.account(self.key(receiver), 0))
        place = inputs.index(payer)
        payment = Payment(place, self.secrets[owner], balance, ACCOUNTS - 1, amount, 0)
        made = self.proofs.arrange(inputs, payment, self.bytes(32))
        if self.habits.proven and len(self.shown) % self.habits.proven == 0:
            context = self.bytes(32)
            proof = self.proofs.prove(context, made, self.bytes(32))
            self.claims.append(PaymentClaim(context, inputs, made.outputs, 0, proof))
        self._settle(inputs, made, Held(owner, balance - amount), Held(receiver, amount))
        self._show(hiding, made, place, before)
        return Renewed(tuple(map(account_id, hiding.members)), made.outputs)

    def _settle(self, inputs: tuple[bytes, ...], made: Arrangement, payer: Held, receiver: Held) -> None:
        """Keep the books: whose the outputs are."""
        kept = [self.held.pop(account) for account in inputs[:-1]]
        kept[made.first.sources[0]] = payer
        kept.append(receiver)
        for account, settled in zip(made.outputs, made.second.sources, strict=True):
            self.held[account] = kept[made.first.sources[settled]]
        self.paid_last = made.outputs[made.second.sources.index(1)]

    def _show(self, hiding: Hiding, made: Arrangement, payer: int, before: frozenset[bytes]) -> None:
        """What the observer sees: ten accounts, each of which may be any of the nine, or the new one."""
        seen, number = {one.account: one for one in self.slots}, len(self.shown)
        members = tuple(seen[account] for account in hiding.members)
        renewals = max(one.renewals for one in members) + 1
        taint = sum(one.taint for one in members) / ACCOUNTS / 2 + 1 / ACCOUNTS
        for place, account in enumerate(made.outputs):
            slot = members[place].slot if place < len(members) else len(self.slots)
            self.slots[slot : slot + 1] = [Seen(account, slot, number, place, renewals, taint)]
        mixed = tuple(account.encode() for account in made.mixed)
        left, paid = (made.second.sources.index(which) for which in (0, 1))
        self.shown.append(Shown(number, members, mixed, before, payer, left, paid))


Guess = Callable[[Shown], int | None]
"""Names the member that paid, or nobody."""
