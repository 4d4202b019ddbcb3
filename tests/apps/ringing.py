"""Ring coins in the world of the tests: what opens each is kept beside it, proofs are real."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.anonymous.messages import Mint
from apps.anonymous.records import count_coins, known_coin
from apps.anonymous.ring import RING_AGE
from crypto import ring
from crypto.confidential import Opening
from crypto.hashing import Label, digest
from crypto.ringpay import RingMade, RingSpend, default_ring_payments
from crypto.ristretto import ORDER, encode_scalar
from state.encoding import encode
from state.transaction import (
    NOTE_SIZE,
    RING_SIZE,
    Body,
    Coin,
    Decoded,
    Proof,
    Ring,
    RingCoin,
    RingPayment,
    RingProof,
    assemble,
    decode_transaction,
    sign_digest,
)
from state.types import NATIVE, Amount, AssetId
from tests.apps.world import FEE, World, address, with_proofs

ENTROPY = bytes([9]) * 32


def random(name: str, number: int) -> int:
    """A number that looks random and is the same each time."""
    return int.from_bytes(digest(Label.KEY_DERIVE, f"{name} {number}".encode()) * 2, "little") % ORDER


@dataclass(frozen=True)
class Known:
    """What the owner of a ring coin knows."""

    asset: AssetId
    secret: int
    opening: Opening


@dataclass
class RingVault:
    """Makes ring coins, all for one owner, and spends them."""

    world: World
    known: dict[bytes, Known] = field(default_factory=dict)
    """By key."""
    count: int = 0

    def new(self, amount: int, asset: AssetId = NATIVE) -> RingCoin:
        """Return a new ring coin; its note says nothing."""
        self.count += 1
        secret, opening = random("secret", self.count), Opening(amount, random("blinding", self.count))
        payments = default_ring_payments()
        key = payments.spend_key(secret)
        self.known[key] = Known(asset, secret, opening)
        return RingCoin(asset, key, payments.commit(opening), bytes(NOTE_SIZE))

    def minted(self, amount: int, asset: AssetId = NATIVE) -> Mint:
        """Return the message that makes a new coin."""
        coin = self.new(amount, asset)
        return Mint(
            asset, Amount(amount), coin.key, encode_scalar(self.known[coin.key].opening.blinding), coin.note
        )

    def mint(self, sender: str, *amounts: int, asset: AssetId = NATIVE) -> tuple[int, ...]:
        """Commit a call that makes coins; return their numbers."""
        first = count_coins(self.world.records)
        self.world.does(sender, *(self.minted(amount, asset) for amount in amounts))
        return tuple(range(first, first + len(amounts)))

    def fill(self, amount: int = 10 * FEE, asset: AssetId = NATIVE, sender: str = "alice") -> tuple[int, ...]:
        """Make a ring of coins that are old enough; the first holds `amount`, each further one 1000 more."""
        numbers = self.mint(sender, *(amount + 1000 * at for at in range(RING_SIZE)), asset=asset)
        self.grow_old()
        return numbers

    def grow_old(self, blocks: int = RING_AGE - 1) -> None:
        """Commit empty blocks."""
        for _ in range(blocks):
            self.world.block()

    def holds(self, number: int) -> Known:
        """Return what is in a coin of the chain."""
        return self.known[known_coin(self.world.records, number).key]

    def ring(self, real: int, members: Sequence[int]) -> tuple[Ring, RingSpend]:
        """Return a ring that spends a coin, and what only its owner knows."""
        kept = [known_coin(self.world.records, number) for number in members]
        coin = self.holds(real)
        self.count += 1
        payments, blinding = default_ring_payments(), random("new", self.count)
        commitment, image = payments.commit(Opening(coin.opening.amount, blinding)), payments.image(coin.secret)
        stated = ring.Ring(
            tuple(one.key for one in kept), tuple(one.commitment for one in kept), commitment, image
        )
        spend = RingSpend(coin.asset, stated, tuple(members).index(real), coin.secret, coin.opening, blinding)
        return Ring(coin.asset, tuple(members), commitment, image), spend

    def pay(
        self, spent: Sequence[tuple[int, Sequence[int]]], made: Sequence[RingCoin], clear: Sequence[Coin] = (),
        signers: Sequence[str] = (), **changes: Any,
    ) -> Decoded:
        """Return a payment; amounts that do not balance are proven as far as they can be."""
        rings = [self.ring(real, members) for real, members in spent]
        return self.prove([one for one, _ in rings], [one for _, one in rings], made, clear, signers, **changes)

    def prove(
        self, rings: Sequence[Ring], spends: Sequence[RingSpend], made: Sequence[RingCoin], clear: Sequence[Coin] = (),
        signers: Sequence[str] = (), **changes: Any,
    ) -> Decoded:
        """Return a payment with these rings and their proofs."""
        plain = self.world.sign(RingPayment(tuple(rings), tuple(made), tuple(clear)), signers, **changes)
        return with_proofs(plain, self.proof(plain.body, spends))

    def proof(self, body: Body, spends: Sequence[RingSpend]) -> RingProof:
        """Return the proofs of a body: as if what it makes in clear made up for what is wrong."""
        payment = body.payload
        assert isinstance(payment, RingPayment)
        made = [RingMade(coin.asset, self.known[coin.key].opening) for coin in payment.made]
        public: dict[bytes, int] = {}
        for spend in spends:
            public[spend.asset] = public.get(spend.asset, 0) + spend.opening.amount
        for coin in made:
            public[coin.asset] = public.get(coin.asset, 0) - coin.opening.amount
        shown = default_ring_payments().prove(sign_digest(encode(body)), spends, made, public, ENTROPY)
        return RingProof(shown.signatures, shown.ranges, shown.excesses)


def unsigned(body: Body, *proofs: Proof) -> Decoded:
    """Return a transaction of a body that nobody signs."""
    return decode_transaction(assemble(body, (), proofs))


def clear(owner: str, amount: int, asset: AssetId = NATIVE) -> Coin:
    """Return a coin in clear."""
    return Coin(asset, address(owner), Amount(amount))
