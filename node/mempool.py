"""Transactions that wait for a block. Pure: no clock, no I/O; time is counted in heights.

Order in a block: exempt calls (validators' duties, `apps/exempt.py`) first, then fee classes from high to low (a class
spans a factor of two in fee per gas, so that small bids do not jump the queue), first come first served within a class,
and each account's calls by nonce. Of one validator one exempt call of each kind waits at a time.

Every cache of bytes seen or refused goes by wtxid: a third party who relays a transaction with a bad witness
must not block the good one.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from apps.anonymous.records import ACCOUNT, IMAGE
from crypto.errors import Reason, Refused
from state.changes import Changes
from state.records import UTXO, outpoint_of
from state.transaction import AccountPayment, Anonymous, Call, Decoded, OutPoint, Payload, RingPayment, Spend
from state.types import Address, Height, TxId, WtxId

REPLACEMENT_PERCENT: Final = 110
"""A replacement pays at least this share of the fees that it pushes out, so that each replay of a relay is paid for."""
NONCE_WINDOW: Final = 1024
"""Calls this far ahead of the account's next nonce are kept until the gap closes."""
RATE_SCALE: Final = 1 << 20
"""Fixed-point scale of fee per gas."""
EXEMPT_CLASS: Final = 128
"""Above the class of any fee: 2**62 unxs for one gas are in class 83."""
REFUSED_KEPT: Final = 65_536
"""Wtxids of refused transactions that are remembered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait: transactions, bytes, and transactions of one sender."""

    transactions: int = 20_000
    bytes: int = 64 << 20
    per_sender: int = 2_000


ANONYMOUS: Final = Address(bytes(32))
"""Stands for whoever sends anonymous payments, all together: no key has this address."""
Spent = OutPoint | bytes
"""What one transaction alone can take: an output, or what a raw key names: an anonymous account, a key image."""


def spent_by(payload: Payload) -> tuple[Spent, ...]:
    """Return what a payload takes by itself; what a call takes, only the state can tell."""
    if isinstance(payload, Spend):
        return payload.inputs
    if isinstance(payload, Call):
        return ()
    if isinstance(payload, AccountPayment):
        return tuple(ACCOUNT + account for account in payload.accounts)
    return tuple(IMAGE + ring.image for ring in payload.rings)


def gone_reason(payload: Payload) -> Reason:
    """Return why nothing else can be in a chain that takes the same as this payload."""
    if isinstance(payload, AccountPayment):
        return Reason.ACCOUNT_NOT_FOUND
    return Reason.IMAGE_USED if isinstance(payload, RingPayment) else Reason.OUTPUT_NOT_FOUND


def taken_in(changes: Changes) -> Iterator[tuple[Spent, Reason]]:
    """Yield what a block took, whichever way, and why nothing else can have it."""
    for key, (before, after) in changes.entries.items():
        if after is None and before is not None:
            if key.startswith(UTXO):
                yield outpoint_of(key), Reason.OUTPUT_NOT_FOUND
            elif key.startswith(ACCOUNT):
                yield key, Reason.ACCOUNT_NOT_FOUND


class Entry(NamedTuple):
    """A transaction whose signatures were checked with `keys` (in witness order).

    `exempt` names validator and message if it is an exempt call; else it is empty. `withdrawn` are the sender's own
    coins and anonymous accounts that a call turns into balance.
    """

    decoded: Decoded
    gas: int
    keys: tuple[bytes, ...]
    exempt: bytes = b""
    withdrawn: tuple[Spent, ...] = ()

    @property
    def wtxid(self) -> WtxId:
        """Name of these very bytes."""
        return self.decoded.wtxid

    @property
    def spends(self) -> tuple[Spent, ...]:
        """What this takes, so that nothing else can: inputs, accounts or images, or what a call withdraws."""
        return self.withdrawn or spent_by(self.decoded.body.payload)

    @property
    def fee(self) -> int:
        """Fee in unxs."""
        return self.decoded.body.fee

    @property
    def fee_class(self) -> int:
        """Position of the highest bit of fee per gas; EXEMPT_CLASS for an exempt call."""
        if self.exempt:
            return EXEMPT_CLASS
        return (self.fee * RATE_SCALE // max(self.gas, 1)).bit_length()

    @property
    def sender(self) -> Address:
        """Whom the per-sender limit counts: the account of a call, else the first signer; ANONYMOUS is one sender."""
        payload = self.decoded.body.payload
        if isinstance(payload, Call):
            return payload.sender
        return ANONYMOUS if isinstance(payload, Anonymous) else self.decoded.transaction.witnesses[0].signer


class Removed(NamedTuple):
    """An entry that left without being in a block, and why."""

    entry: Entry
    reason: Reason


@dataclass(slots=True)
class _Account:
    """Calls of one account by nonce, the nonce that the state expects next, and what the calls' fees add up to."""

    next_nonce: int
    calls: dict[int, WtxId] = field(default_factory=dict)
    fees: int = 0


class Mempool:
    """Pending transactions, found by wtxid, txid, input, and sender with nonce."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[WtxId, Entry] = {}
        self._classes: dict[int, dict[WtxId, Entry]] = {}
        self._txids: dict[TxId, WtxId] = {}
        self._spent: dict[Spent, WtxId] = {}
        self._accounts: dict[Address, _Account] = {}
        self._exempt: dict[bytes, WtxId] = {}
        self._sender_counts: dict[Address, int] = {}
        self._expiries: dict[Height, dict[WtxId, None]] = {}
        self._refused: OrderedDict[WtxId, Refused] = OrderedDict()
        self._bytes = 0
        self._height = Height(0)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, wtxid: WtxId) -> bool:
        return wtxid in self._entries

    @property
    def bytes(self) -> int:
        """Wire bytes of all pending transactions."""
        return self._bytes

    def get(self, wtxid: WtxId) -> Entry | None:
        """Return the entry of these very bytes."""
        return self._entries.get(wtxid)

    def by_txid(self, txid: TxId) -> Entry | None:
        """Return the entry with this body."""
        wtxid = self._txids.get(txid)
        return None if wtxid is None else self._entries[wtxid]

    def pending_nonce(self, sender: Address, next_nonce: int) -> int:
        """Return the nonce that the sender's next call should carry, behind what waits without a gap."""
        account = self._accounts.get(sender)
        if account is None:
            return next_nonce
        nonce = max(account.next_nonce, next_nonce)
        while nonce in account.calls:
            nonce += 1
        return nonce

    def pending_fees(self, sender: Address) -> int:
        """Return what the fees of the sender's pending calls add up to."""
        account = self._accounts.get(sender)
        return 0 if account is None else account.fees

    # ---- refused bytes

    def check_new(self, wtxid: WtxId) -> None:
        """Pass bytes that were not seen before.

        Raises:
            Refused: ALREADY_KNOWN, or the reason for which the same bytes were refused for good.
        """
        if wtxid in self._entries:
            raise Refused(Reason.ALREADY_KNOWN, "the same bytes wait in the mempool")
        refused = self._refused.get(wtxid)
        if refused is not None:
            raise Refused(refused.reason, refused.detail)

    def remember_refused(self, wtxid: WtxId, refused: Refused) -> None:
        """Remember bytes that can never become valid; the oldest are forgotten."""
        # Not the exception itself: its traceback holds on to the bytes of all that came with these.
        self._refused[wtxid] = Refused(refused.reason, refused.detail)
        if len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)

    # ---- adding

    def add(self, entry: Entry, next_nonce: int = 0) -> tuple[Removed, ...]:
        """Take in a checked transaction.

        Args:
            entry: the transaction; its signatures and its place in the state were checked.
            next_nonce: for a call, the nonce that the state expects of the sender.

        Returns:
            What it pushed out: the transactions that it replaces, and others if there was no room.

        Raises:
            Refused: ALREADY_KNOWN, CONFLICT, NONCE_TOO_LOW, NONCE_TOO_HIGH, SENDER_LIMIT, MEMPOOL_FULL, EXPIRED.
        """
        removed = self.pushed_out(entry, next_nonce)
        for old, _ in removed:
            self._remove(old)
        self._insert(entry, next_nonce)
        return removed

    def pushed_out(self, entry: Entry, next_nonce: int = 0) -> tuple[Removed, ...]:
        """Return what `add` would push out, and change nothing: asked before a costly proof is verified.

        Raises:
            Refused: as `add`.
        """
        self.check_new(entry.wtxid)
        if entry.decoded.body.expiry <= self._height:
            raise Refused(Reason.EXPIRED, f"expired at height {entry.decoded.body.expiry}, now {self._height}")
        outbid: list[Entry] = []
        replaced = self._conflicts(entry, next_nonce)
        if replaced:
            self._check_replacement(entry, replaced)
        elif self._sender_counts.get(entry.sender, 0) >= self._limits.per_sender:
            outbid.append(self._outbid(entry))
        evicted = self._make_room(entry, replaced + outbid)
        return (
            *(Removed(old, Reason.CONFLICT) for old in replaced),
            *(Removed(old, Reason.MEMPOOL_FULL) for old in outbid + evicted),
        )

    def _conflicts(self, entry: Entry, next_nonce: int) -> list[Entry]:
        """Return pending entries that cannot be in a chain together with this one."""
        found: dict[WtxId, None] = {}
        same_body = self._txids.get(entry.decoded.txid)
        if same_body is not None:
            found[same_body] = None
        payload = entry.decoded.body.payload
        if isinstance(payload, Call):
            account = self._accounts.get(payload.sender)
            expected = next_nonce if account is None else max(account.next_nonce, next_nonce)
            if payload.nonce < expected:
                raise Refused(Reason.NONCE_TOO_LOW, f"nonce {payload.nonce} was used, the next is {expected}")
            if payload.nonce >= expected + NONCE_WINDOW:
                raise Refused(Reason.NONCE_TOO_HIGH, f"nonce {payload.nonce} is far ahead of the next, {expected}")
            closes = any(isinstance(one, bytes) for one in entry.withdrawn)
            if closes and payload.nonce > self.pending_nonce(payload.sender, next_nonce):
                # Behind a gap it would wait for nothing, and keep everybody from hiding among the account meanwhile.
                raise Refused(
                    Reason.NONCE_TOO_HIGH, "a call that closes an anonymous account waits for no other before it"
                )
            other = None if account is None else account.calls.get(payload.nonce)
            if other is not None:
                found[other] = None
        for spent in entry.spends:
            other = self._spent.get(spent)
            if other is None:
                continue
            if other not in found and (isinstance(payload, Call) or self._is_call(other)):
                # a call that is replaced from outside would leave a gap in its account's nonces
                raise Refused(Reason.CONFLICT, "a pending transaction takes the same coin")
            found[other] = None
        same_duty = self._exempt.get(entry.exempt)
        if same_duty is not None:
            found[same_duty] = None
        return [self._entries[wtxid] for wtxid in found]

    def _is_call(self, wtxid: WtxId) -> bool:
        return isinstance(self._entries[wtxid].decoded.body.payload, Call)

    def _check_replacement(self, entry: Entry, replaced: list[Entry]) -> None:
        needed = max(1, -(-sum(old.fee for old in replaced) * REPLACEMENT_PERCENT // 100))
        if entry.fee < needed or any(old.decoded.txid == entry.decoded.txid for old in replaced):
            raise Refused(Reason.CONFLICT, f"a pending transaction spends the same; a fee of {needed} replaces it")

    def _outbid(self, entry: Entry) -> Entry:
        """Return the anonymous payment that leaves for a better paid one, as those that fill their share may be of one
        payer. Raises Refused(SENDER_LIMIT) for everybody else.
        """
        for fee_class in sorted(self._classes) if entry.sender == ANONYMOUS else ():
            if fee_class >= entry.fee_class:
                break
            for victim in reversed(self._classes[fee_class].values()):
                if victim.sender == ANONYMOUS:
                    return victim
        raise Refused(Reason.SENDER_LIMIT, f"the sender has {self._limits.per_sender} pending transactions")

    def _make_room(self, entry: Entry, replaced: list[Entry]) -> list[Entry]:
        """Return the newest entries of the lowest fee classes that have to go for this one."""
        count = len(self._entries) + 1 - len(replaced) - self._limits.transactions
        size = self._bytes + len(entry.decoded.raw) - self._limits.bytes
        size -= sum(len(old.decoded.raw) for old in replaced)
        if count <= 0 and size <= 0:
            return []
        leaving: dict[WtxId, Entry] = {}
        kept = {old.wtxid for old in replaced}
        for fee_class in sorted(self._classes):
            if fee_class >= entry.fee_class:
                break
            for victim in reversed(self._classes[fee_class].values()):
                for old in self._with_followers(victim):
                    if old.wtxid not in kept and old.wtxid not in leaving:
                        leaving[old.wtxid] = old
                        count -= 1
                        size -= len(old.decoded.raw)
                if count <= 0 and size <= 0:
                    return list(leaving.values())
        raise Refused(Reason.MEMPOOL_FULL, "the mempool is full, and the fee is not above the lowest class in it")

    def _with_followers(self, entry: Entry) -> list[Entry]:
        """Return an entry and the later calls of its account, which cannot run without it."""
        payload = entry.decoded.body.payload
        if not isinstance(payload, Call):
            return [entry]
        calls = self._accounts[payload.sender].calls
        return [self._entries[wtxid] for nonce, wtxid in calls.items() if nonce >= payload.nonce]

    def _insert(self, entry: Entry, next_nonce: int) -> None:
        wtxid = entry.wtxid
        self._entries[wtxid] = entry
        self._classes.setdefault(entry.fee_class, {})[wtxid] = entry
        self._txids[entry.decoded.txid] = wtxid
        self._expiries.setdefault(entry.decoded.body.expiry, {})[wtxid] = None
        self._bytes += len(entry.decoded.raw)
        sender = entry.sender
        self._sender_counts[sender] = self._sender_counts.get(sender, 0) + 1
        payload = entry.decoded.body.payload
        for spent in entry.spends:
            self._spent[spent] = wtxid
        if isinstance(payload, Call):
            account = self._accounts.setdefault(payload.sender, _Account(next_nonce))
            account.next_nonce = max(account.next_nonce, next_nonce)
            account.calls[payload.nonce] = wtxid
            account.fees += entry.fee
        if entry.exempt:
            self._exempt[entry.exempt] = wtxid

    # ---- leaving

    def remove(self, wtxid: WtxId) -> bool:
        """Take an entry out; False if it is not here."""
        entry = self._entries.get(wtxid)
        if entry is None:
            return False
        self._remove(entry)
        return True

    def _remove(self, entry: Entry) -> None:
        wtxid = entry.wtxid
        del self._entries[wtxid]
        self._drop_from(self._classes, entry.fee_class, wtxid)
        del self._txids[entry.decoded.txid]
        waiting = self._expiries.get(entry.decoded.body.expiry)
        if waiting is not None:
            waiting.pop(wtxid, None)
            if not waiting:
                del self._expiries[entry.decoded.body.expiry]
        self._bytes -= len(entry.decoded.raw)
        sender = entry.sender
        left = self._sender_counts[sender] - 1
        if left:
            self._sender_counts[sender] = left
        else:
            del self._sender_counts[sender]
        payload = entry.decoded.body.payload
        for spent in entry.spends:
            del self._spent[spent]
        if isinstance(payload, Call):
            account = self._accounts[payload.sender]
            del account.calls[payload.nonce]
            account.fees -= entry.fee
            if not account.calls:
                del self._accounts[payload.sender]
        if entry.exempt:
            del self._exempt[entry.exempt]

    @staticmethod
    def _drop_from(classes: dict[int, dict[WtxId, Entry]], fee_class: int, wtxid: WtxId) -> None:
        members = classes[fee_class]
        del members[wtxid]
        if not members:
            del classes[fee_class]

    def commit(
        self, height: Height, included: Iterable[Decoded], taken: Iterable[tuple[Spent, Reason]] = ()
    ) -> tuple[Removed, ...]:
        """Follow a committed block: its transactions leave, and whatever it made impossible.

        Args:
            height: the block's height; entries whose expiry is not above it leave.
            included: the block's transactions.
            taken: what the block's calls took, too, and why nothing else can have it (`taken_in`).

        Returns:
            Entries that left without being in the block.
        """
        self._height = height
        removed: list[Removed] = []
        for decoded in included:
            self.remove(decoded.wtxid)
            same_body = self._txids.get(decoded.txid)
            if same_body is not None:
                removed.append(self._take(same_body, Reason.ALREADY_COMMITTED))
            payload = decoded.body.payload
            if isinstance(payload, Call):
                removed += self._nonce_used(payload)
                continue
            removed += self._gone(spent_by(payload), gone_reason(payload))
        for spent, reason in taken:
            removed += self._gone((spent,), reason)
        for expiry in [expiry for expiry in self._expiries if expiry <= height]:
            removed += [self._take(wtxid, Reason.EXPIRED) for wtxid in tuple(self._expiries[expiry])]
        return tuple(removed)

    def _gone(self, spent: Iterable[Spent], reason: Reason) -> list[Removed]:
        """Take out what wanted the same; but a call stays: it fails, and the account's next can run."""
        wanting = (self._spent.get(one) for one in spent)
        return [self._take(one, reason) for one in dict.fromkeys(wanting) if one is not None and not self._is_call(one)]

    def clear(self) -> tuple[Removed, ...]:
        """Drop everything: rules have changed under which all of it was made."""
        return tuple(self._take(wtxid, Reason.WRONG_VERSION) for wtxid in tuple(self._entries))

    def _nonce_used(self, call: Call) -> list[Removed]:
        account = self._accounts.get(call.sender)
        if account is None:
            return []
        used = range(account.next_nonce, call.nonce + 1)  # nonces run without gaps: mostly one
        account.next_nonce = max(account.next_nonce, call.nonce + 1)
        gone = [account.calls[nonce] for nonce in used if nonce in account.calls]
        return [self._take(wtxid, Reason.NONCE_TOO_LOW) for wtxid in gone]

    def _take(self, wtxid: WtxId, reason: Reason) -> Removed:
        entry = self._entries[wtxid]
        self._remove(entry)
        return Removed(entry, reason)

    # ---- for a block

    def candidates(self) -> Iterator[Entry]:
        """Yield entries in the order in which a block should take them; each account's calls without a gap."""
        expected: dict[Address, int] = {}
        early: set[WtxId] = set()
        for fee_class in sorted(self._classes, reverse=True):
            for entry in self._classes[fee_class].values():
                payload = entry.decoded.body.payload
                if not isinstance(payload, Call):
                    yield entry
                    continue
                account = self._accounts[payload.sender]
                nonce = expected.get(payload.sender, account.next_nonce)
                if payload.nonce != nonce:
                    early.add(entry.wtxid)
                    continue
                yield entry
                nonce += 1
                while account.calls.get(nonce) in early:
                    yield self._entries[account.calls[nonce]]
                    nonce += 1
                expected[payload.sender] = nonce

    def first(self, limit: int) -> tuple[TxId, ...]:
        """Return the ids of the first candidates."""
        return tuple(entry.decoded.txid for entry in islice(self.candidates(), limit))

    @property
    def has_work(self) -> bool:
        """There is at least one candidate."""
        return next(self.candidates(), None) is not None
