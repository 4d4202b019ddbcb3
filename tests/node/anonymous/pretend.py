"""A chain of anonymous accounts without blocks or peers: what a wallet needs of a node, and others in its way."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from apps.anonymous.records import account_id
from crypto.errors import Reason, Refused
from crypto.quisquis import ACCOUNTS, Payment, PaymentClaim, PaymentProof, default_quisquis
from node.anonymous.choosing import Renewed, choose
from node.anonymous.index import AccountSet, AnonymousIndex, SetAccount
from node.anonymous.insisting import Fate, Manner
from node.anonymous.keys import anonymous_keys, random_scalar
from node.anonymous.search import AmountSearch
from node.wallet import ChainPoint
from state.transaction import AccountPayment, AccountProof, decode_transaction, sign_digest
from state.types import BlockId, ChainId, Height, TxId

CHAIN = ChainId(bytes(range(32)))


def randomness(seed: int) -> Callable[[int], bytes]:
    """Return random bytes that are the same every time."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed} {count}".encode()).digest(size)

    return draw


def wallet(seed: int) -> AnonymousIndex:
    return AnonymousIndex(CHAIN, anonymous_keys(bytes([seed]) * 32))


@dataclass
class Told:
    """How a test's wallet goes about it, and what was told and kept."""

    random: Callable[[int], bytes]
    words: list[str] = field(default_factory=list)
    saved: int = 0

    def save(self) -> None:
        self.saved += 1

    def manner(self, attempts: int = 10, search: AmountSearch | None = None) -> Manner:
        return Manner(self.random, search or AmountSearch(), self.save, self.words.append, attempts=attempts)


class PretendNode:
    """All accounts in a list by slot; a submitted payment is verified and applied in the next block.

    `before_submit` and `before_block` are called once each, the first of the list first: what others do meanwhile.
    """

    def __init__(self, seed: int = 1) -> None:
        self.random = randomness(seed)
        self.proofs = default_quisquis()
        self.height = 1
        self.slots: list[SetAccount] = []
        self.log: list[tuple[int, Renewed]] = []
        self.pool: dict[bytes, AccountPayment] = {}
        self.done: dict[bytes, int] = {}
        self.sets: list[tuple[bytes, ...]] = []
        self.before_submit: list[Callable[[], None]] = []
        self.before_block: list[Callable[[], None]] = []
        self.blind = False  # says that it knows no transaction

    # ---- what a wallet asks

    def accounts(self) -> AccountSet:
        return AccountSet(Height(self.height), tuple(self.slots))

    def renewed(self, above: Height, height: Height) -> tuple[Renewed, ...]:
        return tuple(renewed for at, renewed in self.log if above < at <= height)

    def point(self) -> ChainPoint:
        return ChainPoint(CHAIN, BlockId(bytes(32)), Height(self.height))

    def submit(self, raw: bytes) -> None:
        decoded = decode_transaction(raw)
        payload, [proof] = decoded.body.payload, decoded.transaction.proofs
        assert isinstance(payload, AccountPayment) and isinstance(proof, AccountProof)
        self.sets.append(payload.accounts)
        if self.before_submit:
            self.before_submit.pop(0)()
        there = {account_id(one.account): one.account for one in self.slots}
        if not set(payload.accounts) <= there.keys():
            raise Refused(Reason.ACCOUNT_NOT_FOUND, "")
        inputs = (*(there[name] for name in payload.accounts), payload.receiver * 2)
        shown = PaymentProof(*(getattr(proof, name) for name in PaymentProof._fields))
        claim = PaymentClaim(
            sign_digest(decoded.transaction.body), inputs, payload.outputs, decoded.body.fee, shown
        )
        self.proofs.verify(claim, bytes(32))
        self.pool[decoded.txid] = payload

    def settled(self, txid: TxId) -> Fate:
        self.block()
        if self.blind or txid not in self.done:
            return Fate("unknown", Height(0))
        return Fate("succeeded", Height(self.done[txid]))

    def next_block(self, above: Height) -> None:
        self.block()

    # ---- what happens

    def block(self) -> None:
        if self.before_block:
            self.before_block.pop(0)()
        self.height += 1
        for txid, payload in self.pool.items():
            if set(payload.accounts) <= {account_id(one.account) for one in self.slots}:
                self.apply(Renewed(payload.accounts, payload.outputs))
                self.done[txid] = self.height
        self.pool.clear()

    def apply(self, renewed: Renewed) -> None:
        slots = {account_id(one.account): slot for slot, one in enumerate(self.slots)}
        for name, account in zip(renewed.taken, renewed.made, strict=False):
            self.slots[slots[name]] = SetAccount(account, Height(self.height))
        self.slots.append(SetAccount(renewed.made[-1], Height(self.height)))
        self.log.append((self.height, renewed))

    def open(self, index: AnonymousIndex, amount: int) -> bytes:
        key = self.proofs.key(index.keys.secret, random_scalar(self.random(64)))
        account = self.proofs.account(key, amount)
        self.height += 1
        self.slots.append(SetAccount(account, Height(self.height)))
        return account

    def pay(self, index: AnonymousIndex, account: bytes, balance: int, *near: bytes) -> Renewed:
        """Somebody pays 1 out of an account to nobody, hiding among these and others; it is in the next block."""
        hiding = choose([one.account for one in self.slots], (account, *near), self.random)
        receiver = self.proofs.key(random_scalar(self.random(64)), random_scalar(self.random(64)))
        inputs = (*hiding.members, self.proofs.account(receiver, 0))
        payment = Payment(inputs.index(account), index.keys.secret, balance, ACCOUNTS - 1, 1, 5)
        arranged = self.proofs.arrange(inputs, payment, self.random(32))
        renewed = Renewed(tuple(map(account_id, hiding.members)), arranged.outputs)
        self.height += 1
        self.apply(renewed)
        return renewed
