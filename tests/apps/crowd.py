"""Anonymous accounts in the world of the tests: one owner for each secret, real proofs, receivers found by trying."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from msgspec.structs import replace

from apps.anonymous.messages import Close, Open
from apps.anonymous.records import Slotted, account_at, account_id, count_accounts, known_account
from crypto.accounts import Closing
from crypto.hashing import Label, digest
from crypto.quisquis import Arrangement, Payment, default_quisquis
from crypto.ristretto import ORDER
from state.encoding import encode
from state.transaction import (
    SET_SIZE,
    AccountPayment,
    AccountProof,
    Body,
    Decoded,
    decode_transaction,
    sign_digest,
)
from state.types import Amount
from tests.apps.world import CHAIN, World, address, with_proofs

FEE = 1_000_000
BALANCE = 10 * FEE


def number(name: str, index: int = 0) -> int:
    """A scalar that belongs to a name."""
    return int.from_bytes(digest(Label.KEY_DERIVE, f"{name} {index}".encode()), "little") % ORDER


@dataclass
class Crowd:
    """Accounts that alice opened for others, and what each secret holds."""

    world: World
    names: tuple[str, ...] = tuple(f"m{place}" for place in range(SET_SIZE))
    amounts: dict[bytes, int] = field(default_factory=dict)
    """What accounts hold, by id."""
    _drawn: "count[int]" = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        for name in self.names:
            self.open(name, BALANCE)

    # ---- the ways in and out

    def key(self, name: str) -> bytes:
        """A key of this owner like no other."""
        return default_quisquis().key(number(name), number("base", next(self._drawn)))

    def open(self, name: str, amount: int) -> bytes:
        """Open an account of alice's money for somebody; return its id."""
        key = self.key(name)
        self.world.does("alice", Open(Amount(amount), key))
        found = account_id(default_quisquis().account(key, amount))
        self.amounts[found] = amount
        return found

    def closing(self, name: str, found: bytes, amount: int, sender: str = "bob") -> Close:
        """The message that closes an account."""
        account = known_account(self.world.records, found).account
        closing = Closing(CHAIN, account, address(sender), amount)
        proof = default_quisquis().prove_closing(closing, number(name), self.entropy())
        return Close(found, Amount(amount), proof)

    # ---- looking

    def all(self) -> list[Slotted]:
        """Every account by slot."""
        found = [account_at(self.world.records, slot) for slot in range(count_accounts(self.world.records))]
        return [one for one in found if one is not None]

    def of(self, name: str) -> list[bytes]:
        """The ids of somebody's accounts, by slot."""
        return [one.id for one in self.all() if default_quisquis().owns(number(name), one.kept.account)]

    def holds(self, name: str, found: bytes, amount: int) -> bool:
        """Tell whether somebody's account holds an amount."""
        return default_quisquis().holds(number(name), known_account(self.world.records, found).account, amount)

    # ---- paying

    def entropy(self) -> bytes:
        """Bytes that never come again."""
        return digest(Label.KEY_DERIVE, next(self._drawn).to_bytes(8, "big"))

    def pay(self, name: str, amount: int, **how: Any) -> Decoded:
        """Pay as it is prepared, with its proof."""
        return self.proven(*self.prepared(name, amount, **how))

    def prepared(
        self, name: str, amount: int, *, among: Sequence[bytes] = (), receiver: bytes = b"", fee: int = FEE,
        balance: int = BALANCE, sponsor: str = "", **changes: Any,
    ) -> tuple[Decoded, Arrangement]:
        """Return a payment without a proof, and what proves it.

        It pays a new key out of somebody's first account, hidden among accounts (the first nine).
        """
        own = self.of(name)[0]
        others = [one for one in (among or [each.id for each in self.all()]) if one != own]
        chosen = tuple(sorted([own, *others[: SET_SIZE - 1]]))
        key = receiver or self.key("receiver")
        inputs = [known_account(self.world.records, one).account for one in chosen] + [key * 2]
        payment = Payment(chosen.index(own), number(name), balance, SET_SIZE, amount, fee)
        drawn = default_quisquis().arrange(inputs, payment, self.entropy())
        signers = [sponsor] if sponsor else []
        if sponsor:
            changes["sponsor"] = address(sponsor)
        return self.world.sign(AccountPayment(chosen, key, drawn.outputs), signers, fee=fee, **changes), drawn

    def proven(self, plain: Decoded, drawn: Arrangement) -> Decoded:
        """Put the proof beside a body."""
        proof = default_quisquis().prove(sign_digest(plain.transaction.body), drawn, self.entropy())
        return with_proofs(plain, AccountProof(*proof))


def payment_of(decoded: Decoded) -> AccountPayment:
    """The payload."""
    assert isinstance(decoded.body.payload, AccountPayment)
    return decoded.body.payload


def with_body(decoded: Decoded, body: Body) -> Decoded:
    """Return the transaction with another body, its proof as it is."""
    return decode_transaction(encode(replace(decoded.transaction, body=encode(body))))
