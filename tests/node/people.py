"""Nine people with an anonymous account each, on whatever chain: their calls and payments, real proofs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.anonymous.messages import Close, Open
from apps.anonymous.records import Slotted, account_at, count_accounts
from crypto.accounts import Closing
from crypto.keys import SecretKey
from crypto.quisquis import Payment, default_quisquis
from crypto.ristretto import scalar_from_uniform
from node.wallet import Account, ChainPoint, Signed, body_of, call, message
from state.changes import Reader
from state.encoding import encode
from state.transaction import SET_SIZE, AccountPayment, AccountProof, assemble, sign_digest
from state.types import Amount

BALANCE, FEE = 10**9, 100_000


def scalar() -> int:
    """Any scalar."""
    return scalar_from_uniform(os.urandom(64))


def accounts(reader: Reader) -> list[Slotted]:
    """Every account by slot."""
    found = [account_at(reader, slot) for slot in range(count_accounts(reader))]
    return [one for one in found if one is not None]


@dataclass
class People:
    """Who knows the secrets."""

    secrets: list[int] = field(default_factory=lambda: [scalar() for _ in range(SET_SIZE)])

    def open(self, point: ChainPoint, account: Account, key: SecretKey, nonce: int = 0) -> Signed:
        """One call that opens an account for each, at the expense of one."""
        messages = [
            message("anonymous/open", Open(Amount(BALANCE), default_quisquis().key(secret, scalar())))
            for secret in self.secrets
        ]
        return call(point, account, key, nonce, messages)

    def own(self, owner: int, among: Sequence[Slotted]) -> Slotted:
        """Somebody's account."""
        return next(one for one in among if default_quisquis().owns(self.secrets[owner], one.kept.account))

    def pay(self, point: ChainPoint, owner: int, among: Sequence[Slotted], amount: int = FEE) -> bytes:
        """The wire bytes of a payment, hidden among nine accounts, to a key that nobody has."""
        quisquis, chosen = default_quisquis(), sorted(among)
        place = chosen.index(self.own(owner, chosen))
        key = quisquis.key(scalar(), scalar())
        payment = Payment(place, self.secrets[owner], BALANCE, SET_SIZE, amount, FEE)
        drawn = quisquis.arrange([*(one.kept.account for one in chosen), key * 2], payment, os.urandom(32))
        payload = AccountPayment(tuple(one.id for one in chosen), key, drawn.outputs)
        body = body_of(point, payload, FEE, None)
        proof = quisquis.prove(sign_digest(encode(body)), drawn, os.urandom(32))
        return assemble(body, (), (AccountProof(*proof),))

    def close(
        self, point: ChainPoint, owner: int, among: Sequence[Slotted], account: Account, key: SecretKey, nonce: int,
        amount: int = BALANCE,
    ) -> Signed:
        """A call that closes somebody's account."""
        own = self.own(owner, among)
        closing = Closing(point.chain_id, own.kept.account, account.address, BALANCE)
        proof = default_quisquis().prove_closing(closing, self.secrets[owner], os.urandom(32))
        return call(point, account, key, nonce, [message("anonymous/close", Close(own.id, Amount(amount), proof))])
