"""What a wallet found among the anonymous accounts, and what it did. One small file, sealed, replaced as a whole.

The chain gives the accounts again, so the file can be deleted; of what happened before, the history then knows only
what is left. Accounts do not say what became of them: the history is what changed between two scans, less what the
wallet did itself and wrote down before it did.

An account is known by v * B, which stays the same when others renew it: amounts are searched for once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from apps.anonymous.records import account_id
from crypto.errors import Reason, Refused
from crypto.quisquis import Quisquis, default_quisquis
from node.anonymous.keys import AnonymousKeys
from node.anonymous.search import AmountSearch
from node.sealed import open_record, seal_record
from state.encoding import Codec, Record
from state.transaction import ACCOUNT_SIZE
from state.types import Amount, AmountField, ChainId, ChainIdField, Hash32, Height, HeightField

MAX_INDEX_FILE: Final = 64 << 20
Kind = Literal["opened", "paid", "received", "closed", "gathered", "elsewhere"]
Name = Annotated[bytes, Meta(max_length=64)]
Encoded = Annotated[bytes, Meta(min_length=ACCOUNT_SIZE, max_length=ACCOUNT_SIZE)]
TRIED_FOR: Final = 64
"""Blocks for which a set that was shown is remembered; by then others have paid, or nobody looks."""


class SetAccount(NamedTuple):
    """An account of the chain: its bytes, and the height at which it was renewed last."""

    account: bytes
    height: Height


class AccountSet(NamedTuple):
    """All accounts of the chain after a block, by slot."""

    height: Height
    accounts: tuple[SetAccount, ...]

    @property
    def encoded(self) -> tuple[bytes, ...]:
        """The accounts alone."""
        return tuple(one.account for one in self.accounts)


class Own(Record, frozen=True):
    """An account of the wallet. `point` is v * B for the amount v, which is not found yet if `known` is false."""

    account: Annotated[bytes, Meta(min_length=ACCOUNT_SIZE, max_length=ACCOUNT_SIZE)]
    height: HeightField
    point: Hash32
    amount: AmountField
    known: bool


class Move(Record, frozen=True):
    """What the wallet set out to do, written down before.

    Attributes:
        kind: opened, paid, closed or gathered.
        task: the same for all attempts at one thing: when one succeeds, the others can no longer.
        txid: of this attempt; empty if it is not known yet.
        amount, fee: in unxs.
        to: an encoded key, or nothing.
        before, after: what the own accounts hold that it takes, and those that it makes.
        made: ids of all accounts that it makes: if one is there, it happened.
        expiry: the last height at which it can happen.
        height: of the block that it is in, as a node said; 0 if none did.
    """

    kind: Kind
    task: Name
    txid: Name
    amount: AmountField
    fee: AmountField
    to: Name
    before: tuple[AmountField, ...]
    after: tuple[AmountField, ...]
    made: tuple[Hash32, ...]
    expiry: HeightField
    height: HeightField = Height(0)


class Tried(Record, frozen=True):
    """A set that was shown to a node at a height: `members`, encoded, among them `own`, the payer's first."""

    height: HeightField
    members: tuple[Encoded, ...]
    own: tuple[Encoded, ...]


class Entry(Record, frozen=True):
    """What happened to the wallet's accounts. `height` is that of a scan if no better one is known.

    `kind` is that of a move, or `received`, or `elsewhere`: an account went or paid without this wallet's doing, as
    another copy of it did. `task` is that of the move.
    """

    height: HeightField
    kind: Kind
    amount: AmountField
    fee: AmountField = Amount(0)
    txid: Name = b""
    to: Name = b""
    task: Name = b""
    known: bool = True


class _File(Record, frozen=True):
    chain_id: ChainIdField
    height: HeightField
    own: tuple[Own, ...]
    moves: tuple[Move, ...]
    entries: tuple[Entry, ...]
    tried: tuple[Tried, ...] = ()


_codec: Final = Codec(_File, MAX_INDEX_FILE)
Tell = Callable[[str], None]


def no_words(_text: str) -> None:
    """Tell nobody."""


class AnonymousIndex:
    """Accounts and history of one wallet on one chain.

    Args:
        chain_id: the chain.
        keys: whose accounts.
        proofs: over which backend.

    Attributes:
        height: everything up to this block is in.
    """

    def __init__(self, chain_id: ChainId, keys: AnonymousKeys, proofs: Quisquis | None = None) -> None:
        self.chain_id = chain_id
        self.keys = keys
        self.height = Height(0)
        self.proofs = proofs or default_quisquis()
        self._own: dict[bytes, Own] = {}
        self._moves: list[Move] = []
        self._entries: list[Entry] = []
        self._tried: list[Tried] = []

    # ---- reading

    def own(self) -> tuple[Own, ...]:
        """Return the accounts: the richest first, those of unknown amounts last."""
        return tuple(sorted(self._own.values(), key=lambda one: (not one.known, -one.amount, one.account)))

    def balance(self) -> int:
        """Return what the accounts hold in unxs, as far as it is known."""
        return sum(one.amount for one in self._own.values() if one.known)

    def history(self) -> tuple[Entry, ...]:
        """Return what happened, oldest first."""
        return tuple(self._entries)

    def pending(self) -> tuple[Move, ...]:
        """Return what was set out and is neither seen nor expired."""
        return tuple(self._moves)

    def tried(self) -> tuple[Tried, ...]:
        """Return the sets that were shown in the last TRIED_FOR blocks, the latest first."""
        return tuple(one for one in reversed(self._tried) if one.height + TRIED_FOR >= self.height)

    def holds(self, account: bytes) -> bytes | None:
        """Return v * B of an account of this wallet, None of others'."""
        if not self.proofs.owns(self.keys.secret, account):
            return None
        return self.proofs.decrypted(self.keys.secret, account).encode()

    # ---- writing down

    def expect(self, move: Move) -> None:
        """Write down what is about to be sent."""
        self._moves.append(move)

    def show(self, tried: Tried) -> None:
        """Write down the set that a node is about to see."""
        self._tried = [*(one for one in reversed(self.tried()) if one.own != tried.own), tried]

    def paid_from(self, own: tuple[bytes, ...]) -> None:
        """Strike out the set of accounts that are no more: the payment is in a block."""
        self._tried = [one for one in self._tried if one.own != own]

    def forget(self, txid: bytes) -> None:
        """Strike out what can no longer happen."""
        self._moves = [move for move in self._moves if move.txid != txid or not txid]

    def confirm(self, txid: bytes, height: Height) -> None:
        """Note what a node said: this is in a block. The next scan takes it into the history."""
        self._moves = [replace(move, height=height) if move.txid == txid else move for move in self._moves]

    def landed(self, task: bytes) -> bool:
        """Tell whether one of the attempts at something is in the history."""
        return any(entry.task == task for entry in self._entries)

    # ---- scanning

    def take(self, found: AccountSet, search: AmountSearch, tell: Tell = no_words) -> int:
        """Take in all accounts of the chain; return how many of them had to be looked at.

        What was not renewed since the last scan is not looked at again.

        Args:
            found: from a node.
            search: finds amounts, those named by people first.
            tell: is told of a long search.

        Raises:
            Refused: NOT_AVAILABLE if it is an older state than the wallet knows.
        """
        if found.height < self.height:
            raise Refused(
                Reason.NOT_AVAILABLE, f"the node is at block {found.height}, the wallet has seen block {self.height}"
            )
        now: dict[bytes, Own] = {}
        looked = 0
        for one in found.accounts:
            known = self._own.get(one.account)
            if known is None and one.height > self.height:
                looked += 1
                known = self._opened(one)
            if known is not None:
                now[one.account] = known
        amounts = {own.point: own.amount for own in self._own.values() if own.known}
        amounts |= {search.point(amount): amount for move in self._moves for amount in move.after}
        for account, own in now.items():
            if not own.known:
                now[account] = self._measured(own, amounts, search, tell)
        self._compare(found, now, search)
        self._own, self.height = now, found.height
        return looked

    def _opened(self, one: SetAccount) -> Own | None:
        point = self.holds(one.account)
        return None if point is None else Own(one.account, one.height, point, Amount(0), False)

    def _measured(self, own: Own, amounts: Mapping[bytes, Amount], search: AmountSearch, tell: Tell) -> Own:
        amount = amounts.get(own.point)
        if amount is None:
            amount = search.find(own.point, tell)
        return own if amount is None else replace(own, amount=amount, known=True)

    def _compare(self, found: AccountSet, now: dict[bytes, Own], search: AmountSearch) -> None:
        """Write into the history what changed."""
        gone = Counter(own.point for own in self._own.values())
        come = Counter(own.point for own in now.values())
        gone, come = gone - come, come - gone
        there = {account_id(one.account) for one in found.accounts}
        for move in self._moves:
            before, after = (Counter(map(search.point, amounts)) for amounts in (move.before, move.after))
            seen = move.height or not there.isdisjoint(move.made) or (before <= gone and after <= come)
            if seen and not self.landed(move.task):
                gone, come = gone - before, come - after
                self._entries.append(Entry(
                    move.height or found.height, move.kind, move.amount, move.fee, move.txid, move.to, move.task
                ))
        self._moves = [one for one in self._moves if not self.landed(one.task) and one.expiry >= found.height]
        self._entries += self._rest(found.height, now, gone, come)

    def _rest(
        self, height: Height, now: dict[bytes, Own], gone: Counter[bytes], come: Counter[bytes]
    ) -> Iterable[Entry]:
        """Yield what no move of ours explains."""
        before = {own.point: own for own in self._own.values()}
        for point in gone.elements():
            own = before[point]
            yield Entry(height, "elsewhere", own.amount, known=own.known)
        latest: dict[bytes, list[Own]] = {}
        for own in now.values():
            latest.setdefault(own.point, []).append(own)
        for point in come.elements():
            own = max(latest[point], key=lambda one: one.height)
            yield Entry(own.height, "received", own.amount, known=own.known)

    # ---- the file

    def to_bytes(self) -> bytes:
        """Return the content of the file: sealed, for the owner's eyes."""
        moves, entries, tried = tuple(self._moves), tuple(self._entries), self.tried()[::-1]
        file = _File(self.chain_id, self.height, self.own(), moves, entries, tried)
        return seal_record(self.keys.box_key, file)

    def load(self, content: bytes) -> None:
        """Take in the content of the file; none for a wallet that was never used.

        Raises:
            Refused: BAD_WALLET if the file is damaged, or another wallet's or chain's.
        """
        if not content:
            return
        what, remedy = "the index of anonymous accounts", "nexus anonymous scan --again"
        file = open_record(self.keys.box_key, content, _codec, what, remedy)
        if file.chain_id != self.chain_id:
            raise Refused(Reason.BAD_WALLET, "the index of anonymous accounts is of another chain")
        self.height = file.height
        self._own = {own.account: own for own in file.own}
        self._moves, self._entries, self._tried = list(file.moves), list(file.entries), list(file.tried)
