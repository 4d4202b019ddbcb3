"""A payment that others get in the way of: proven again until it is in a block, or it is time to give up.

Each payment renews nine accounts of the chain. If another payment that names one of ours comes into a block first, ours
is void: the node refuses it, or accepts it and then drops it. No money moves then. All attempts spend one account of
ours, so of two at most one can ever be in a block; and before the next one is made, the wallet looks whether an earlier
one is.

The set in which a payment hides is never drawn anew for the same account, neither between attempts nor when the user
tries again soon: it is followed (`node.anonymous.choosing`), and for that it is written down before a node sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from apps.anonymous.records import account_id
from crypto.errors import Reason, Refused
from node.anonymous.choosing import Hiding, Randomness, Renewed, choose, follow
from node.anonymous.index import AccountSet, AnonymousIndex, Kind, Move, Own, Tried
from node.anonymous.paying import Paid, Wish, draft_anonymous, payment_fee, select_payer
from node.anonymous.search import AmountSearch
from node.wallet import ChainPoint, Progress, no_progress
from state.types import Amount, Height, TxId

ATTEMPTS: Final = 10
MOVED: Final = frozenset({Reason.CONFLICT, Reason.ACCOUNT_NOT_FOUND})
"""Why a payment is refused because somebody else's came first."""

UNCERTAIN: Final = frozenset({
    Reason.TIMED_OUT, Reason.UNREACHABLE, Reason.CONNECTION_LOST, Reason.PROTOCOL_VIOLATION, Reason.ALREADY_KNOWN,
    Reason.ALREADY_COMMITTED,
})
"""After these a payment may come into a block all the same: it stays written down until its last height."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a transaction: `waiting`, `unknown`, `succeeded` or `failed`.

    `height` is of its block, or the last one that can be that.
    """

    status: str
    height: Height


class Node(Protocol):
    """What a payment needs of a node. All of it is `Refused` if it fails."""

    def accounts(self) -> AccountSet:
        """Return all accounts."""
        ...

    def renewed(self, above: Height, height: Height) -> tuple[Renewed, ...]:
        """Return the payments in the blocks above one up to another. Raises Refused(NOT_AVAILABLE)."""
        ...

    def point(self) -> ChainPoint:
        """Return what a transaction made now must know of the chain."""
        ...

    def submit(self, raw: bytes) -> None:
        """Send a transaction, and return when it is accepted."""
        ...

    def settled(self, txid: TxId) -> Fate:
        """Wait until an accepted transaction is in a block or no longer waits; return what is so in the end."""
        ...

    def next_block(self, above: Height) -> None:
        """Wait until there is a block above a height, or for long enough."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """A payment that is in a block, or that was accepted if nobody waited.

    `height` is of the block, or the last one that can hold it; `attempts` counts from 1.
    """

    txid: bytes
    amount: Amount
    fee: Amount
    height: Height
    attempts: int
    committed: bool = True


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it.

    Attributes:
        random: gives fresh random bytes.
        search: finds amounts.
        save: keeps the index; called before anything is sent.
        tell: is told, in words for people, what happens.
        progress: is told of the hashcash.
        attempts: how often to prove.
        wait: until it is in a block; else only until it is accepted.
    """

    random: Randomness
    search: AmountSearch
    save: Callable[[], None]
    tell: Callable[[str], None]
    progress: Progress = no_progress
    attempts: int = ATTEMPTS
    wait: bool = True


@dataclass(slots=True)
class _Task:
    """One payment on its way, over all attempts."""

    kind: Kind
    wish: Wish
    payer: Own
    hiding: Hiding
    since: Height
    into: Own | None = None
    first: bytes = b""


def pay(node: Node, index: AnonymousIndex, wish: Wish, manner: Manner) -> Outcome:
    """Pay an address.

    Raises:
        Refused: INSUFFICIENT_FUNDS; NOT_AVAILABLE (too few accounts); CONFLICT after all attempts, or if the account
            changed otherwise; TIMED_OUT if it waits for long: it may still come into a block.
    """
    found = node.accounts()
    index.take(found, manner.search, manner.tell)
    payer = select_payer(index.own(), wish.amount + payment_fee(node.point()))
    hiding = _first_set(node, index, found, (payer.account,), manner)
    return _insist(node, index, _Task("paid", wish, payer, hiding, found.height), manner)


def gather(node: Node, index: AnonymousIndex, manner: Manner) -> Outcome:
    """Pay all of the second richest own account into the richest one, less the fee. Raises Refused as `pay`."""
    found = node.accounts()
    index.take(found, manner.search, manner.tell)
    fee = payment_fee(node.point())
    rich = [one for one in index.own() if one.known and one.amount > fee]
    if len(rich) < 2:
        raise Refused(Reason.INSUFFICIENT_FUNDS, "there are no two accounts that hold more than the fee")
    into, payer = rich[:2]
    hiding = _first_set(node, index, found, (payer.account, into.account), manner)
    task = _Task("gathered", Wish(Amount(payer.amount - fee)), payer, hiding, found.height, into)
    return _insist(node, index, task, manner)


def _first_set(
    node: Node, index: AnonymousIndex, found: AccountSet, own: tuple[bytes, ...], manner: Manner
) -> Hiding:
    """Return a set for these accounts: the one in which the payer's was shown lately, followed; else a drawn one.

    Raises:
        Refused: NOT_AVAILABLE if there are too few accounts, or the node does not tell what became of a set.
    """
    for tried in index.tried():
        if tried.height > found.height:
            continue
        before = Hiding(tried.members, tried.own)
        try:
            hiding = follow(
                before, found.encoded, node.renewed(tried.height, found.height), index.holds, manner.random
            )
        except Refused as refused:
            if refused.reason is Reason.CONFLICT:  # that account paid or was closed since
                continue
            raise
        if hiding.own == own:
            return hiding
    return choose(found.encoded, own, manner.random)


def _insist(node: Node, index: AnonymousIndex, task: _Task, manner: Manner) -> Outcome:
    for attempt in range(1, manner.attempts + 1):
        paid = _drafted(node, index, task, manner)
        task.first = task.first or paid.signed.txid
        index.expect(_move(index, task, paid))
        index.show(Tried(task.since, task.hiding.members, task.hiding.own))
        manner.save()
        why = _sent(node, index, task, paid, manner)
        if isinstance(why, Fate):
            return Outcome(
                paid.signed.txid, task.wish.amount, paid.signed.fee, why.height, attempt, why.status == "succeeded"
            )
        if attempt < manner.attempts:
            manner.tell(f"{why}: proving again ({attempt + 1} of {manner.attempts})")
            landed = _follow(node, index, task, manner)
            manner.save()
            if landed is not None:
                return Outcome(landed, task.wish.amount, paid.signed.fee, index.height, attempt)
    raise Refused(
        Reason.CONFLICT, f"others' payments came first {manner.attempts} times; nothing was paid. Try again later"
    )


def _drafted(node: Node, index: AnonymousIndex, task: _Task, manner: Manner) -> Paid:
    point = node.point()
    return draft_anonymous(
        point, index.keys, task.payer, task.hiding, task.wish, _fee(point, task), manner.random, manner.progress,
        index.proofs,
    )


def _fee(point: ChainPoint, task: _Task) -> Amount:
    fee = payment_fee(point)
    if fee + task.wish.amount > task.payer.amount:
        raise Refused(Reason.INSUFFICIENT_FUNDS, "the fee rose, and the account no longer holds that much")
    return fee


def _move(index: AnonymousIndex, task: _Task, paid: Paid) -> Move:
    left = Amount(task.payer.amount - task.wish.amount - paid.signed.fee)
    before: tuple[Amount, ...] = (task.payer.amount,)
    after: tuple[Amount, ...] = (left,)
    if task.into is not None:
        # The new account of the payment is one of ours, too, and holds nothing.
        before, after = (*before, task.into.amount), (left, Amount(task.into.amount + task.wish.amount), Amount(0))
    made = tuple(map(account_id, paid.outputs))
    return Move(
        task.kind, task.first, paid.signed.txid, task.wish.amount, paid.signed.fee, task.wish.to, before, after, made,
        paid.expiry,
    )  # fmt: skip


def _sent(node: Node, index: AnonymousIndex, task: _Task, paid: Paid, manner: Manner) -> Fate | str:
    """Return what became of a payment, or in words why it has to be proven again."""
    txid = paid.signed.txid
    try:
        node.submit(paid.signed.raw)
    except Refused as refused:
        if refused.reason in MOVED:
            return "somebody pays out of one of these accounts, or hides among them"
        if refused.reason not in UNCERTAIN:
            index.forget(txid)
            manner.save()
        raise
    if not manner.wait:
        return Fate("waiting", paid.expiry)
    fate = node.settled(txid)
    if fate.status == "succeeded":
        index.confirm(txid, fate.height)
        index.paid_from(task.hiding.own)
        manner.save()
        return fate
    if fate.status == "waiting":
        raise Refused(Reason.TIMED_OUT, "accepted, but in no block yet; `nexus anonymous history` will show it")
    return "somebody else's payment moved one of these accounts first"


def _follow(node: Node, index: AnonymousIndex, task: _Task, manner: Manner) -> bytes | None:
    """Find the set to hide in next; return the txid if an earlier attempt is in a block after all.

    Raises:
        Refused: NOT_AVAILABLE, CONFLICT.
    """
    node.next_block(task.since)
    found = node.accounts()
    index.take(found, manner.search, manner.tell)
    landed = next((entry.txid for entry in index.history() if entry.task == task.first), None)
    if landed is not None:
        return landed
    # Never others instead, however long something is in the way: who saw both sets would look for what both have.
    hiding = follow(task.hiding, found.encoded, node.renewed(task.since, found.height), index.holds, manner.random)
    task.hiding, task.since = hiding, found.height
    owned = {own.account: own for own in index.own()}
    task.payer = owned[hiding.own[0]]
    if task.into is not None:
        task.into = owned[hiding.own[1]]
    return None
