"""EXPERIMENTAL, classical. Payments out of one of several accounts without telling which, nor how much, nor to whom.

    inputs    I_0 .. I_9    nine accounts and a new, empty one (usually the receiver's)
    mixed     A_0 .. A_9    I, shuffled: A_0 is the payer's, A_1 the receiver's
    moved     B_0, B_1      A_0 and A_1 with other amounts, under the same keys
    outputs   O_0 .. O_9    B_0, B_1, A_2 .. A_9, shuffled

Everybody sees that A_0 pays A_1; the first shuffle hides which inputs they were and the second which outputs they are.
The others go into the second shuffle byte by byte as they came out of the first one: that they kept their balance needs
no further proof. What moved is one statement of `crypto.sigma`, of the secrets v (amount), w (what the payer keeps), s
(the payer's secret) and four blindings:

    B_0.c - A_0.c = t_0 * g_0        B_0.d - A_0.d + fee * B = -v * B + t_0 * h_0        A_0.h = s * g_0
    B_1.c - A_1.c = t_1 * g_1        B_1.d - A_1.d           =  v * B + t_1 * h_1        B_0.d = w * B + s * B_0.c
    V = v * B + r * H                W = w * B + q * H

and one range proof over V and W: neither is negative. So the balance was v + w + fee, without a turn around the order.

Every transcript begins with the same context of 32 bytes, the hash of all that the payment says, and goes on with the
proofs made before it: first shuffle, second shuffle, ranges, what moved. So a payment's proofs are one: who replaces
any of them fails at the last, which is the cheapest to verify, and only the payer makes another. Source: Fauzi,
Meiklejohn, Mercer, Orlandi, "Quisquis" (ASIACRYPT 2019), section 5; the shuffles are those of `crypto.shuffle`, and the
composition is no published one: nobody has audited it. It is sound while discrete logarithms are hard, and hides while
the decisional Diffie-Hellman problem is: a quantum computer steals, and reads old payments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from crypto import sigma
from crypto.accounts import KEY_SIZE, Accounts, check_amounts
from crypto.batch import Fault, find_faults
from crypto.elgamal import ACCOUNT_SIZE, Account, decode_account
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.pedersen import Pedersen, pedersen
from crypto.rangeproof import BITS, RangeClaim, RangeProofs
from crypto.ristretto import ENCODING_SIZE, Group, Point, decode_nonzero
from crypto.shuffle import Moves, ShuffleClaim, Shuffles, shuffled
from crypto.sigma import Row, Statement, Term
from crypto.transcript import CONTEXT_SIZE, Transcript, secret_scalars

ACCOUNTS: Final = 10
"""Accounts that a payment renews: nine of the chain and a new one."""
MIXED_SIZE: Final = ACCOUNTS * ACCOUNT_SIZE
MOVED_SIZE: Final = 4 * ENCODING_SIZE
"""The keys are those before."""
AMOUNTS_SIZE: Final = 2 * ENCODING_SIZE
MOVEMENT_SIZE: Final = 15 * ENCODING_SIZE
"""Eight equations, seven secrets."""
SHUFFLE_SIZE: Final = 3072
"""Of `crypto.shuffle` for ten accounts."""
RANGES_SIZE: Final = 736
"""Of `crypto.rangeproof` for two commitments to 64 bits."""
_SIZES: Final = (MIXED_SIZE, MOVED_SIZE, SHUFFLE_SIZE, SHUFFLE_SIZE, AMOUNTS_SIZE, MOVEMENT_SIZE, RANGES_SIZE)
_FIRST: Final = b"quisquis first shuffle/1"
_SECOND: Final = b"quisquis second shuffle/1"
_MOVEMENT: Final = b"quisquis movement/1"
_RANGES: Final = b"quisquis ranges/1"
_DRAWING: Final = b"quisquis drawing/1"


class Payment(NamedTuple):
    """What only the payer knows.

    Attributes:
        payer: place of the payer's account among the inputs.
        secret: of that account.
        balance: what it holds.
        receiver: place of the account that is paid; not `payer`.
        amount: what it gets.
        fee: what leaves the payer's account besides; public.
    """

    payer: int
    secret: int
    balance: int
    receiver: int
    amount: int
    fee: int


class PaymentProof(NamedTuple):
    """What shows that the outputs are the inputs, with an amount moved.

    Attributes:
        mixed: the ten accounts between the shuffles, encoded.
        moved: c and d of the first two of them after the payment.
        first: proof that `mixed` are the inputs, shuffled.
        second: proof that the outputs are `moved` and the rest of `mixed`, shuffled.
        amounts: commitments V and W to the amount, and to what the payer keeps.
        movement: proof of what moved.
        ranges: proof that V and W hold no negative amounts.
    """

    mixed: bytes
    moved: bytes
    first: bytes
    second: bytes
    amounts: bytes
    movement: bytes
    ranges: bytes


class PaymentClaim(NamedTuple):
    """A payment's proof, with all that it is about.

    Attributes:
        context: 32 bytes, the hash of all that the payment says, outputs and fee included.
        inputs: ten encoded accounts.
        outputs: ten more, which take their places.
        fee: what leaves the payer's account in clear.
        proof: to be verified.
    """

    context: bytes
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    fee: int
    proof: PaymentProof


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A payment that is drawn up, not yet proven.

    Attributes:
        outputs: the ten encoded accounts that the payment makes; they go into what is hashed to the context.
        payment: what the payer knows.
        inputs, mixed, moved, made: all accounts on the way; `made` are the outputs.
        first, second: how they were shuffled.
        blindings: t_0, t_1, r, q.
    """

    outputs: tuple[bytes, ...]
    payment: Payment
    inputs: tuple[Account, ...]
    mixed: tuple[Account, ...]
    moved: tuple[Account, Account]
    made: tuple[Account, ...]
    first: Moves
    second: Moves
    blindings: tuple[int, int, int, int]

    @property
    def settled(self) -> tuple[Account, ...]:
        """The accounts that go into the second shuffle."""
        return self.moved + self.mixed[2:]


class _Parts(NamedTuple):
    """One claim, taken apart: nothing of it is proven yet."""

    shuffles: tuple[ShuffleClaim, ...]
    movement: sigma.Claim
    ranges: RangeClaim


class Quisquis(Accounts):
    """Makes and verifies the proofs of payments over one backend, and all that `Accounts` does."""

    def __init__(self, group: Group) -> None:
        """Derive the generators: `default_quisquis` does it once."""
        super().__init__(group)
        self._pedersen: Final[Pedersen] = pedersen(group)
        self._shuffles = Shuffles(group, ACCOUNTS)
        self._ranges = RangeProofs(group, BITS, 2)
        self._minus_base = group.multiply(-1, group.base)

    # ---- paying

    def arrange(self, inputs: Sequence[bytes], payment: Payment, entropy: bytes) -> Arrangement:
        """Draw up a payment: shuffle, move the amount, shuffle again.

        Args:
            inputs: nine encoded accounts of the chain, and the new one (`account` with amount 0).
            payment: who pays whom.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: MALFORMED, BAD_POINT for what is no account; BAD_ARGUMENT for wrong places; NOT_OWNER,
                CANNOT_OPEN if secret or balance are not those of the payer's account; AMOUNT_OUT_OF_RANGE;
                INSUFFICIENT_FUNDS.
        """
        before = tuple(decode_account(self.group, account) for account in inputs)
        self._check(inputs, payment)
        drawn = self._draw(inputs, payment, entropy)
        pair = (payment.payer, payment.receiver)
        decoys = [place for place in range(ACCOUNTS) if place not in pair]
        first = Moves([*pair, *drawn.order(decoys)], drawn.scalars(ACCOUNTS), drawn.scalars(ACCOUNTS))
        second = Moves(drawn.order(range(ACCOUNTS)), drawn.scalars(ACCOUNTS), drawn.scalars(ACCOUNTS))
        blindings = (drawn.scalar(), drawn.scalar(), drawn.scalar(), drawn.scalar())
        mixed = tuple(shuffled(self.group, before, first))
        moved = (
            self._changed(mixed[0], blindings[0], -payment.amount - payment.fee),
            self._changed(mixed[1], blindings[1], payment.amount),
        )
        made = tuple(shuffled(self.group, moved + mixed[2:], second))
        outputs = tuple(account.encode() for account in made)
        return Arrangement(outputs, payment, before, mixed, moved, made, first, second, blindings)

    def prove(self, context: bytes, arrangement: Arrangement, entropy: bytes) -> PaymentProof:
        """Prove a payment. Not hardened against who measures time or power on the payer's machine.

        Args:
            context: 32 bytes, the hash of all that the payment says, the outputs included.
            arrangement: what to prove.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: UNPROVEN, AMOUNT_OUT_OF_RANGE if it is no payment; `arrange` makes none that is none.
        """
        payment, (t_0, t_1, r, q), group = arrangement.payment, arrangement.blindings, self.group
        kept = payment.balance - payment.amount - payment.fee
        first = self._shuffles.prove(
            Transcript(_FIRST, context), arrangement.inputs, arrangement.mixed, arrangement.first, entropy
        )
        second = self._shuffles.prove(
            _after(_SECOND, context, first), arrangement.settled, arrangement.made, arrangement.second, entropy
        )
        ranges = self._ranges.prove(
            _after(_RANGES, context, first, second), (payment.amount, kept), (r, q), entropy
        )
        committed = [decode_nonzero(group, one) for one in ranges.commitments]
        statement = self._statement(arrangement.mixed, arrangement.moved, committed, payment.fee)
        witness = (payment.amount, t_0, t_1, r, payment.secret, kept, q)
        transcript = _after(_MOVEMENT, context, first, second, ranges.proof)
        movement = sigma.prove(group, transcript, statement, witness, entropy)
        return PaymentProof(
            _joined(arrangement.mixed), b"".join(account.encode()[KEY_SIZE:] for account in arrangement.moved),
            first, second, b"".join(ranges.commitments), movement, ranges.proof,
        )

    def _check(self, inputs: Sequence[bytes], payment: Payment) -> None:
        """Check that a payment can be made of these inputs; raises as `arrange`."""
        if len(inputs) != ACCOUNTS:
            raise Refused(Reason.MALFORMED, f"a payment has {ACCOUNTS} accounts, not {len(inputs)}")
        if payment.payer == payment.receiver or not {payment.payer, payment.receiver} <= set(range(ACCOUNTS)):
            raise Refused(Reason.BAD_ARGUMENT, f"payer and receiver are two places below {ACCOUNTS}")
        check_amounts(payment.amount, payment.fee, payment.balance)
        account = inputs[payment.payer]
        if not self.owns(payment.secret, account[:KEY_SIZE]):
            raise Refused(Reason.NOT_OWNER, "the secret is not that of the payer's account")
        if not self.holds(payment.secret, account, payment.balance):
            raise Refused(Reason.CANNOT_OPEN, f"the payer's account does not hold {payment.balance}")
        if payment.amount + payment.fee > payment.balance:
            raise Refused(Reason.INSUFFICIENT_FUNDS, f"{payment.balance} are not enough for amount and fee")

    def _draw(self, inputs: Sequence[bytes], payment: Payment, entropy: bytes) -> "_Drawn":
        """Return random scalars that depend on the payment, so that bad entropy never serves two payments."""
        transcript = Transcript(_DRAWING, bytes(CONTEXT_SIZE))
        for account in inputs:
            transcript.append(b"input", account)
        return _Drawn(secret_scalars(transcript, payment, entropy, _Drawn.COUNT))

    def _changed(self, account: Account, blinding: int, value: int) -> Account:
        """Return an account under the same key that holds `value` more."""
        group = self.group
        added = group.add(group.multiply(value, group.base), group.multiply(blinding, account.h))
        c = group.add(account.c, group.multiply(blinding, account.g))
        return account._replace(c=c, d=group.add(account.d, added))

    # ---- verifying

    def verify(self, claim: PaymentClaim, entropy: bytes) -> None:
        """Verify one payment.

        Raises:
            Refused: MALFORMED for a wrong length, AMOUNT_OUT_OF_RANGE for the fee, BAD_POINT, BAD_SCALAR;
                BAD_MOVEMENT, BAD_RANGE_PROOF, BAD_SHUFFLE for what does not hold.
        """
        self._verify(self._parts(claim), entropy)

    def verify_alone(self, claim: PaymentClaim, entropy: bytes) -> None:
        """Verify all but the first shuffle: what can be said of a payment whose inputs are not known.

        Args:
            claim: ten accounts of any kind stand for the inputs.
            entropy: as in `verify`.

        Raises:
            Refused: as `verify`.
        """
        parts = self._parts(claim)
        self._verify(parts._replace(shuffles=parts.shuffles[1:]), entropy)

    def _verify(self, parts: _Parts, entropy: bytes) -> None:
        _named(Reason.BAD_MOVEMENT, "what the payer loses is not what the receiver gets, or it is not the payer's",
               lambda: sigma.verify_batch(self.group, (parts.movement,), entropy))
        _named(Reason.BAD_RANGE_PROOF, "the amount, or what the payer keeps, may be negative",
               lambda: self._ranges.verify_batch((parts.ranges,), entropy))
        _named(Reason.BAD_SHUFFLE, "the accounts after a shuffle are not those before it",
               lambda: self._shuffles.verify_batch(parts.shuffles, entropy))

    def verify_batch(self, claims: Sequence[PaymentClaim], entropy: bytes) -> None:
        """Verify many payments as three sums with random weights.

        Args:
            claims: of any number.
            entropy: 32 random bytes that nobody knew when the proofs were made.

        Raises:
            Refused: as `verify`, for some of them: `faults` finds out which.
        """
        parts = [self._parts(claim) for claim in claims]
        sigma.verify_batch(self.group, [one.movement for one in parts], entropy)
        self._ranges.verify_batch([one.ranges for one in parts], entropy)
        self._shuffles.verify_batch([shuffle for one in parts for shuffle in one.shuffles], entropy)

    def faults(self, claims: Sequence[PaymentClaim], entropy: bytes) -> tuple[Fault, ...]:
        """Return which of the claims do not hold, and why; `entropy` as in `verify_batch`."""

        def verify(some: Sequence[PaymentClaim]) -> None:
            if len(some) == 1:
                self.verify(some[0], entropy)
            else:
                self.verify_batch(some, entropy)

        return find_faults(claims, verify)

    def _parts(self, claim: PaymentClaim) -> _Parts:
        """Count first, decode then: what is wrong in form costs no product."""
        context, inputs, outputs, fee, proof = claim
        check_sizes(proof)
        if len(inputs) != ACCOUNTS or len(outputs) != ACCOUNTS:
            raise Refused(Reason.MALFORMED, f"a payment turns {ACCOUNTS} accounts into as many")
        if len(context) != CONTEXT_SIZE:
            raise Refused(Reason.MALFORMED, f"a context has {CONTEXT_SIZE} bytes")
        check_amounts(fee)
        mixed = _accounts(proof.mixed)
        moved = mixed[0][:KEY_SIZE] + proof.moved[:KEY_SIZE], mixed[1][:KEY_SIZE] + proof.moved[KEY_SIZE:]
        first = ShuffleClaim(Transcript(_FIRST, context), inputs, mixed, proof.first)
        second = ShuffleClaim(_after(_SECOND, context, proof.first), moved + mixed[2:], outputs, proof.second)
        amounts = proof.amounts[:ENCODING_SIZE], proof.amounts[ENCODING_SIZE:]
        pair, after = ([decode_account(self.group, one) for one in some[:2]] for some in (mixed, moved))
        statement = self._statement(pair, after, [decode_nonzero(self.group, one) for one in amounts], fee)
        last = _after(_MOVEMENT, context, proof.first, proof.second, proof.ranges)
        ranges = RangeClaim(_after(_RANGES, context, proof.first, proof.second), amounts, proof.ranges)
        return _Parts((first, second), sigma.Claim(last, statement, proof.movement), ranges)

    def _statement(
        self, before: Sequence[Account], after: Sequence[Account], committed: Sequence[Point], fee: int
    ) -> Statement:
        """Return what is to be proven of what moved; witness: v, t_0, t_1, r, s, w, q."""
        group, base, blinding = self.group, self._pedersen.value_base, self._pedersen.blinding_base
        payer, receiver = before[0], before[1]
        poorer, richer = after[0], after[1]
        lost = group.add(group.subtract(poorer.d, payer.d), group.multiply(fee, base))
        return Statement((
            Row(group.subtract(poorer.c, payer.c), (Term(1, payer.g),)),
            Row(lost, (Term(0, self._minus_base), Term(1, payer.h))),
            Row(group.subtract(richer.c, receiver.c), (Term(2, receiver.g),)),
            Row(group.subtract(richer.d, receiver.d), (Term(0, base), Term(2, receiver.h))),
            Row(committed[0], (Term(0, base), Term(3, blinding))),
            Row(payer.h, (Term(4, payer.g),)),
            Row(poorer.d, (Term(5, base), Term(4, poorer.c))),
            Row(committed[1], (Term(5, base), Term(6, blinding))),
        ))


def check_sizes(proof: PaymentProof) -> None:
    """Check the lengths of all parts of a proof.

    Raises:
        Refused: MALFORMED.
    """
    for name, part, size in zip(PaymentProof._fields, proof, _SIZES, strict=True):
        if len(part) != size:
            raise Refused(Reason.MALFORMED, f"the part `{name}` of a payment's proof has {size} bytes")


class _Drawn:
    """Random scalars, taken one by one."""

    COUNT: Final = 2 * (3 * ACCOUNTS) + 4

    def __init__(self, scalars: Sequence[int]) -> None:
        self._left = iter(scalars)

    def scalar(self) -> int:
        """Return the next one, which is not zero."""
        return next(self._left) or 1

    def scalars(self, count: int) -> list[int]:
        """Return the next ones, none of them zero."""
        return [self.scalar() for _ in range(count)]

    def order(self, places: Sequence[int]) -> list[int]:
        """Return the places in a random order, each order as likely as the others."""
        left = list(places)
        return [left.pop(self.scalar() % len(left)) for _ in places]


def _after(protocol: bytes, context: bytes, *made: bytes) -> Transcript:
    """Begin a transcript with the proofs that were made before."""
    transcript = Transcript(protocol, context)
    for proof in made:
        transcript.append(b"before", proof)
    return transcript


def _joined(accounts: Sequence[Account]) -> bytes:
    return b"".join(account.encode() for account in accounts)


def _accounts(encoding: bytes) -> tuple[bytes, ...]:
    return tuple(encoding[at : at + ACCOUNT_SIZE] for at in range(0, len(encoding), ACCOUNT_SIZE))


def _named(reason: Reason, detail: str, verify: Callable[[], None]) -> None:
    """Give a proof that does not hold the name of what it should have shown."""
    try:
        verify()
    except Refused as refused:
        if refused.reason is Reason.UNPROVEN:
            raise Refused(reason, detail) from None
        raise


@cache
def quisquis_with(backend: str) -> Quisquis:
    """Return the proofs over a backend by its name (`crypto.group`): one object for the life of the process."""
    return Quisquis(load(backend))


@cache
def default_quisquis() -> Quisquis:
    """Return the proofs over the backend to use (`crypto.group.default`)."""
    return quisquis_with(available()[0])
