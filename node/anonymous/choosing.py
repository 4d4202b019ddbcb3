"""Among whom a payment hides. Randomness comes in as a function, so that a test can fix it.

The first time, the others are drawn from all accounts alike: no rule of ours makes one likelier than another. They come
from pages that hold every account, so the node that gives them does not learn which we took.

When others' payments renew members of the set before ours is in a block, a new set drawn in the same way would betray
us: whoever saw both looks for what they have in common, and that is the payer. So the set is followed instead
(`follow`): a member that still stands stays, and one that was renewed gives way to an account out of those that
replaced it, drawn alike; of our own it is the true one. As outputs are shuffled, a drawn one would look the same: for
who saw the sets, each of the nine is as likely to be the payer's as before.

But not for who renewed the member: he knows which of his outputs came out of it. If that one is in the next set, it is
ten times as likely to be the payer's; if not, it is not. Who renews one member before each attempt, and pays the fees,
names the payer three times in four after six (`tests/node/anonymous/test_following.py`).
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from apps.anonymous.records import account_id
from crypto.errors import Reason, Refused
from state.transaction import SET_SIZE, AccountPayment

T = TypeVar("T")
Randomness = Callable[[int], bytes]
"""Gives so many fresh random bytes: `secrets.token_bytes`."""
_DRAWN_BYTES: Final = 16
"""Far more than the numbers drawn need, so that the rest of a division favours none by more than one in 2^100."""


class Renewed(NamedTuple):
    """A payment of anybody's that came into a block: ids of what it took, and the accounts that it made."""

    taken: tuple[bytes, ...]
    made: tuple[bytes, ...]


class Hiding(NamedTuple):
    """The nine accounts that a payment names, in rising order of their ids, and which are ours, the payer's first."""

    members: tuple[bytes, ...]
    own: tuple[bytes, ...]


def renewed_by(payload: AccountPayment) -> Renewed:
    """Return what a payment renewed."""
    return Renewed(payload.accounts, payload.outputs)


def draw(items: Sequence[T], count: int, random: Randomness) -> list[T]:
    """Return so many different items, each set and each order as likely as any other."""
    left = list(items)
    return [left.pop(int.from_bytes(random(_DRAWN_BYTES)) % len(left)) for _ in range(count)]


def choose(accounts: Sequence[bytes], own: Sequence[bytes], random: Randomness) -> Hiding:
    """Return a set to hide in.

    Args:
        accounts: all accounts of the chain, encoded.
        own: the payer's, and behind it the receiver's if it is one of them, too.
        random: see `Randomness`.

    Raises:
        Refused: NOT_AVAILABLE if there are too few.
    """
    taken = set(own)
    others = [account for account in accounts if account not in taken]
    return _hiding([*own, *_drawn(others, SET_SIZE - len(own), len(accounts), random)], own)


def follow(
    hiding: Hiding, accounts: Sequence[bytes], since: Sequence[Renewed], holds: Callable[[bytes], bytes | None],
    random: Randomness,
) -> Hiding:
    """Return the set to hide in after others' payments.

    Args:
        hiding: the set so far.
        accounts: all accounts of the chain now, encoded.
        since: payments that came into blocks since the set was drawn, in order.
        holds: of an account of ours something that says how much it holds, of others None.
        random: see `Randomness`.

    Raises:
        Refused: NOT_AVAILABLE if there are too few accounts; CONFLICT if one of ours is not what it was: it paid, or
            was paid into, or was closed.
    """
    members, own = list(hiding.members), list(hiding.own)
    for renewed in since:
        names = set(renewed.taken)
        gone = [account for account in members if account_id(account) in names]
        heirs = {account: _heir(holds(account), renewed, holds) for account in own if account in gone}
        own = [heirs.get(account, account) for account in own]
        drawn = draw([one for one in renewed.made if one not in own], len(gone) - len(heirs), random)
        members = [account for account in members if account not in gone] + list(heirs.values()) + drawn
    there = set(accounts)
    if not there.issuperset(own):
        raise Refused(Reason.CONFLICT, "the account that was to pay is no longer what it was")
    standing = [account for account in members if account in there and account not in own]
    needed = SET_SIZE - len(own) - len(standing)
    taken = {*own, *standing}
    others = [account for account in accounts if account not in taken]
    return _hiding([*own, *standing, *_drawn(others, needed, len(accounts), random)], own)


def _heir(held: bytes | None, renewed: Renewed, holds: Callable[[bytes], bytes | None]) -> bytes:
    """Return which of a payment's outputs is an account of ours that it renewed."""
    heir = next((account for account in renewed.made if holds(account) == held), None)
    if heir is None:
        raise Refused(Reason.CONFLICT, "the account that was to pay is no longer what it was")
    return heir


def _drawn(others: Sequence[bytes], needed: int, total: int, random: Randomness) -> list[bytes]:
    if len(others) < needed:
        raise Refused(
            Reason.NOT_AVAILABLE,
            f"there are {total} anonymous accounts; a payment hides among {SET_SIZE}: wait until there are more, or "
            "open some",
        )
    return draw(others, needed, random)


def _hiding(members: Sequence[bytes], own: Sequence[bytes]) -> Hiding:
    return Hiding(tuple(sorted(members, key=account_id)), tuple(own))
