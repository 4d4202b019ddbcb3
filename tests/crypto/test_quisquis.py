"""Payments among anonymous accounts: what they do, who cannot make them, and by which name a false one is refused.

A cheat runs the real prover with its checks switched off, so that all but the lie is as it should be.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import shuffle, sigma
from crypto.elgamal import Account, new_account, update
from crypto.errors import Reason
from crypto.group import available, load
from crypto.quisquis import (
    Arrangement,
    Payment,
    PaymentClaim,
    PaymentProof,
    Quisquis,
    check_sizes,
    default_quisquis,
    quisquis_with,
)
from crypto.rangeproof import RangeProof, RangeProofs
from crypto.ristretto import IDENTITY, ORDER
from crypto.shuffle import shuffled
from crypto.transcript import FiatShamir
from tests.crypto.refusals import reason_of

ENTROPY = bytes(range(32))
CONTEXT = b"\x07" * 32
SECRETS = [2**200 + place for place in range(10)]
BALANCES = [100 + place for place in range(9)] + [0]
PAYMENT = Payment(payer=4, secret=SECRETS[4], balance=104, receiver=9, amount=30, fee=3)


@pytest.fixture(params=available())
def system(request: pytest.FixtureRequest) -> Quisquis:
    return quisquis_with(request.param)


@cache
def inputs(name: str) -> tuple[bytes, ...]:
    """Return nine accounts that were renewed before, and a new one."""
    group, system = load(name), quisquis_with(name)
    accounts = [
        new_account(group, secret, 2**201 + place, 100 + place, 2**202 + place)
        for place, secret in enumerate(SECRETS[:9])
    ]
    renewed = [update(group, account, 2**203 - place, 5 + place) for place, account in enumerate(accounts)]
    return (*(account.encode() for account in renewed), system.account(system.key(SECRETS[9], 2**204), 0))


def ins() -> tuple[bytes, ...]:
    return inputs(available()[0])


@cache
def sample(name: str, payment: Payment = PAYMENT, context: bytes = CONTEXT, entropy: bytes = ENTROPY) -> PaymentClaim:
    system = quisquis_with(name)
    return proven(system, system.arrange(inputs(name), payment, entropy), context)


def good() -> PaymentClaim:
    return sample(available()[0])


def proven(system: Quisquis, drawn: Arrangement, context: bytes = CONTEXT) -> PaymentClaim:
    before = tuple(account.encode() for account in drawn.inputs)
    return PaymentClaim(context, before, drawn.outputs, drawn.payment.fee, system.prove(context, drawn, ENTROPY))


def refusal(system: Quisquis, claim: PaymentClaim) -> Reason:
    """Return why a claim is refused, alone and among others."""
    reason = reason_of(system.verify, claim, ENTROPY)
    found = system.faults([good(), claim, good()], ENTROPY)
    assert [(fault.place, fault.refused.reason) for fault in found] == [(1, reason)]
    return reason


def held(system: Quisquis, accounts: tuple[bytes, ...], expected: list[int]) -> None:
    """Check what the owner of each secret holds among these accounts."""
    for secret, amount in zip(SECRETS, expected, strict=True):
        (own,) = [account for account in accounts if system.owns(secret, account)]
        assert system.holds(secret, own, amount)


# ---- what holds


@pytest.mark.parametrize(
    "payment",
    [PAYMENT, PAYMENT._replace(amount=0), PAYMENT._replace(amount=104, fee=0), PAYMENT._replace(receiver=0),
     Payment(0, SECRETS[0], 100, 8, 97, 3), Payment(9, SECRETS[9], 0, 3, 0, 0)],
    ids=["to the new one", "nothing", "all", "to an old one", "all but the fee", "by the new one"],
)  # fmt: skip
def test_payments(system: Quisquis, payment: Payment) -> None:
    name = available()[0]
    claim = sample(name, payment)
    system.verify(claim, ENTROPY)
    after = list(BALANCES)
    after[payment.payer] -= payment.amount + payment.fee
    after[payment.receiver] += payment.amount
    held(system, claim.inputs, BALANCES)
    held(system, claim.outputs, after)
    pieces = {one[at : at + 32] for side in (claim.inputs, claim.outputs) for one in side for at in range(0, 128, 32)}
    assert len(pieces) == 78  # the new account has two points twice: no other point stands anywhere again


def test_backends_agree() -> None:
    made = {(sample(name).outputs, sample(name).proof) for name in available()}
    assert len(made) == 1
    for judge in available():
        assert quisquis_with(judge).faults([sample(maker) for maker in available()], ENTROPY) == ()
    assert default_quisquis() is quisquis_with(available()[0])


def test_sizes() -> None:
    check_sizes(good().proof)
    assert sum(map(len, good().proof)) == 8832


def test_payment_upon_payment(system: Quisquis) -> None:
    """The receiver pays out of what it got; accounts of a payment are as good as others."""
    first = good().outputs
    place = next(place for place, account in enumerate(first) if system.owns(SECRETS[9], account))
    decoys = [account for at, account in enumerate(first) if at != place][:8]
    new = system.account(system.renewed(system.key(2**205, 3), 2**198), 0)
    drawn = system.arrange([*decoys, first[place], new], Payment(8, SECRETS[9], 30, 9, 29, 1), ENTROPY)
    system.verify(proven(system, drawn), ENTROPY)
    (got,) = [account for account in drawn.outputs if system.owns(2**205, account)]
    assert system.holds(2**205, got, 29)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(10)), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_every_place_and_amount(order: list[int], amount: int, entropy: bytes) -> None:
    system, group = default_quisquis(), load(available()[0])
    accounts = list(ins())
    accounts[order[0]] = new_account(group, SECRETS[0], 3, 2**64 - 1, 2**202).encode()
    payment = Payment(order[0], SECRETS[0], 2**64 - 1, order[1], amount, (2**64 - 1 - amount) // 2)
    system.verify(proven(system, system.arrange(accounts, payment, entropy)), entropy)


def test_arrangements_differ(system: Quisquis) -> None:
    """Two payments out of the same accounts, even with the same entropy, have no point in common."""
    drawn = [system.arrange(ins(), payment, ENTROPY) for payment in (PAYMENT, PAYMENT._replace(amount=31))]
    points = [{point.encode() for account in one.mixed + one.moved + one.made for point in account} for one in drawn]
    assert not points[0] & points[1]
    assert system.arrange(ins(), PAYMENT, bytes(32)).outputs != drawn[0].outputs


# ---- what cannot be drawn up


@pytest.mark.parametrize(
    ("payment", "reason"),
    [
        (PAYMENT._replace(secret=SECRETS[5]), Reason.NOT_OWNER),
        (PAYMENT._replace(payer=5), Reason.NOT_OWNER),
        (PAYMENT._replace(balance=105), Reason.CANNOT_OPEN),
        (PAYMENT._replace(amount=102), Reason.INSUFFICIENT_FUNDS),
        (PAYMENT._replace(amount=-1), Reason.AMOUNT_OUT_OF_RANGE),
        (PAYMENT._replace(amount=2**64), Reason.AMOUNT_OUT_OF_RANGE),
        (PAYMENT._replace(fee=-1), Reason.AMOUNT_OUT_OF_RANGE),
        (PAYMENT._replace(receiver=4), Reason.BAD_ARGUMENT),
        (PAYMENT._replace(receiver=10), Reason.BAD_ARGUMENT),
        (PAYMENT._replace(payer=-1), Reason.BAD_ARGUMENT),
    ],
)
def test_no_payments(system: Quisquis, payment: Payment, reason: Reason) -> None:
    assert reason_of(system.arrange, ins(), payment, ENTROPY) is reason


def test_no_inputs(system: Quisquis) -> None:
    for accounts, reason in (
        (ins()[:9], Reason.MALFORMED), ((*ins(), ins()[0]), Reason.MALFORMED),
        ((*ins()[:9], b"\xff" * 127), Reason.MALFORMED), ((*ins()[:9], b"\xff" * 128), Reason.BAD_POINT),
    ):  # fmt: skip
        assert reason_of(system.arrange, accounts, PAYMENT, ENTROPY) is reason


# ---- what is refused


Change = Callable[[PaymentClaim], PaymentClaim]


def _other(part: str) -> Change:
    """Take a part of the proof from another payment of the same accounts."""

    def change(claim: PaymentClaim) -> PaymentClaim:
        other = sample(available()[0], entropy=bytes(32)).proof
        return claim._replace(proof=claim.proof._replace(**{part: getattr(other, part)}))

    return change


def _elsewhere(part: str) -> Change:
    """Take a part of the proof of the same payment for another context."""

    def change(claim: PaymentClaim) -> PaymentClaim:
        other = sample(available()[0], context=bytes(32)).proof
        return claim._replace(proof=claim.proof._replace(**{part: getattr(other, part)}))

    return change


def _swapped(part: str, size: int) -> Change:
    """Let the first two pieces of a part change places."""

    def change(claim: PaymentClaim) -> PaymentClaim:
        raw = getattr(claim.proof, part)
        raw = raw[size : 2 * size] + raw[:size] + raw[2 * size :]
        return claim._replace(proof=claim.proof._replace(**{part: raw}))

    return change


CHANGES: dict[str, tuple[Change, Reason]] = {
    "mixed": (_other("mixed"), Reason.BAD_MOVEMENT),
    "moved": (_other("moved"), Reason.BAD_MOVEMENT),
    "first": (_other("first"), Reason.BAD_MOVEMENT),
    "second": (_other("second"), Reason.BAD_MOVEMENT),
    "amounts": (_other("amounts"), Reason.BAD_MOVEMENT),
    "movement": (_other("movement"), Reason.BAD_MOVEMENT),
    "ranges": (_other("ranges"), Reason.BAD_MOVEMENT),
    "first elsewhere": (_elsewhere("first"), Reason.BAD_MOVEMENT),
    "second elsewhere": (_elsewhere("second"), Reason.BAD_MOVEMENT),
    "movement elsewhere": (_elsewhere("movement"), Reason.BAD_MOVEMENT),
    "ranges elsewhere": (_elsewhere("ranges"), Reason.BAD_MOVEMENT),
    "shuffles swapped": (
        lambda claim: claim._replace(proof=claim.proof._replace(first=claim.proof.second, second=claim.proof.first)),
        Reason.BAD_MOVEMENT,
    ),
    "payer and receiver swapped": (_swapped("mixed", 128), Reason.BAD_MOVEMENT),
    "moved swapped": (_swapped("moved", 64), Reason.BAD_MOVEMENT),
    "amounts swapped": (_swapped("amounts", 32), Reason.BAD_MOVEMENT),
    "context": (lambda claim: claim._replace(context=bytes(32)), Reason.BAD_MOVEMENT),
    "more fee": (lambda claim: claim._replace(fee=claim.fee + 1), Reason.BAD_MOVEMENT),
    "no fee": (lambda claim: claim._replace(fee=0), Reason.BAD_MOVEMENT),
    "inputs turned": (lambda claim: claim._replace(inputs=claim.inputs[::-1]), Reason.BAD_SHUFFLE),
    "outputs turned": (lambda claim: claim._replace(outputs=claim.outputs[::-1]), Reason.BAD_SHUFFLE),
    "outputs are inputs": (lambda claim: claim._replace(outputs=claim.inputs), Reason.BAD_SHUFFLE),
    "an input twice": (lambda claim: claim._replace(inputs=claim.inputs[:9] + claim.inputs[:1]), Reason.BAD_SHUFFLE),
    "huge fee": (lambda claim: claim._replace(fee=2**64), Reason.AMOUNT_OUT_OF_RANGE),
    "negative fee": (lambda claim: claim._replace(fee=-1), Reason.AMOUNT_OUT_OF_RANGE),
    "nine inputs": (lambda claim: claim._replace(inputs=claim.inputs[:9]), Reason.MALFORMED),
    "eleven outputs": (lambda claim: claim._replace(outputs=claim.outputs + claim.outputs[:1]), Reason.MALFORMED),
    "short input": (lambda claim: claim._replace(inputs=(*claim.inputs[:9], bytes(127))), Reason.MALFORMED),
    "short context": (lambda claim: claim._replace(context=bytes(31)), Reason.MALFORMED),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_refused_by_name(system: Quisquis, name: str) -> None:
    change, reason = CHANGES[name]
    assert refusal(system, change(good())) is reason


@pytest.mark.parametrize("part", PaymentProof._fields)
def test_lengths_and_forms(system: Quisquis, part: str) -> None:
    raw = getattr(good().proof, part)
    for wrong in (b"", raw[:-1], raw[:-32], raw + bytes(32)):
        assert refusal(system, good()._replace(proof=good().proof._replace(**{part: wrong}))) is Reason.MALFORMED
    reasons = set()
    for place in sorted({0, len(raw) // 64, len(raw) // 32 - 1}):
        for bad in (IDENTITY, b"\xff" * 32):
            changed = raw[: 32 * place] + bad + raw[32 * place + 32 :]
            claim = good()._replace(proof=good().proof._replace(**{part: changed}))
            reasons.add(reason_of(system.verify, claim, ENTROPY))
    # What moved is bound to these three, and verified before they are decoded.
    assert Reason.BAD_POINT in reasons or (part in ("first", "second", "ranges") and reasons == {Reason.BAD_MOVEMENT})
    # A zero is a scalar in its proper form.
    assert reasons <= {
        Reason.BAD_POINT, Reason.BAD_SCALAR, Reason.BAD_SHUFFLE, Reason.BAD_MOVEMENT, Reason.BAD_RANGE_PROOF,
    }  # fmt: skip


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_identity_points_in_accounts(system: Quisquis, side: str) -> None:
    accounts = getattr(good(), side)
    for at in range(0, 128, 32):
        spoilt = accounts[7][:at] + IDENTITY + accounts[7][at + 32 :]
        changed = (*accounts[:7], spoilt, *accounts[8:])
        claim = good()._replace(inputs=changed) if side == "inputs" else good()._replace(outputs=changed)
        assert reason_of(system.verify, claim, ENTROPY) is Reason.BAD_POINT


def test_batch_finds_every_fault_and_its_name(system: Quisquis) -> None:
    bad = {1: "more fee", 2: "ranges", 5: "inputs turned", 6: "eleven outputs"}
    claims = [CHANGES[bad[place]][0](good()) if place in bad else good() for place in range(8)]
    assert [(fault.place, fault.refused.reason) for fault in system.faults(claims, ENTROPY)] == [
        (1, Reason.BAD_MOVEMENT), (2, Reason.BAD_MOVEMENT), (5, Reason.BAD_SHUFFLE), (6, Reason.MALFORMED),
    ]  # fmt: skip
    assert system.faults([good()] * 5, ENTROPY) == () == system.faults([], ENTROPY)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hostile_bytes_are_refused(data: st.DataObject) -> None:
    """Whatever stands in a proof and around it: a refusal, and never another error."""
    system, claim = default_quisquis(), good()
    for part in data.draw(st.sets(st.sampled_from(PaymentProof._fields), max_size=3)):
        size = len(getattr(claim.proof, part))
        raw = data.draw(st.one_of(st.binary(max_size=64), st.binary(min_size=size, max_size=size)))
        claim = claim._replace(proof=claim.proof._replace(**{part: raw}))
    account = st.one_of(st.binary(max_size=130), st.binary(min_size=128, max_size=128), st.sampled_from(good().outputs))
    claim = claim._replace(
        inputs=tuple(data.draw(st.one_of(st.just(claim.inputs), st.lists(account, max_size=11)))),
        outputs=tuple(data.draw(st.one_of(st.just(claim.outputs), st.lists(account, max_size=11)))),
        context=data.draw(st.binary(max_size=33)), fee=data.draw(st.integers(-1, 2**65)),
    )
    assert reason_of(system.verify, claim, ENTROPY) is not Reason.INTERNAL


# ---- provers who cheat


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off what keeps a prover from believing a lie."""
    monkeypatch.setattr(Quisquis, "_check", lambda *_: None)
    monkeypatch.setattr(shuffle, "check_witness", lambda *_: None)
    monkeypatch.setattr(sigma, "check_witness", lambda *_: None)
    honest = RangeProofs.prove

    def prove(
        self: RangeProofs, transcript: FiatShamir, values: tuple[int, ...], blindings: tuple[int, ...], entropy: bytes
    ) -> RangeProof:
        """Prove the values without the bits that are too many, of commitments to the whole of them."""
        proof = honest(self, transcript, [value % 2**64 for value in values], blindings, entropy).proof
        pairs = zip(values, blindings, strict=True)
        return RangeProof(tuple(self.pedersen.commit(*pair).encode() for pair in pairs), proof)

    monkeypatch.setattr(RangeProofs, "prove", prove)


def added(system: Quisquis, account: Account, value: int) -> Account:
    """Return an account with a value put on top, in clear."""
    group = system.group
    return account._replace(d=group.add(account.d, group.multiply(value, group.base)))


def remade(system: Quisquis, drawn: Arrangement, before: tuple[Account, ...]) -> Arrangement:
    """Return an arrangement whose second shuffle begins with other accounts."""
    made = tuple(shuffled(system.group, before, drawn.second))
    return replace(drawn, made=made, outputs=tuple(account.encode() for account in made))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("payment", "reason"),
    [
        (PAYMENT._replace(amount=102), Reason.BAD_RANGE_PROOF),
        (PAYMENT._replace(amount=2**64 - 1), Reason.BAD_RANGE_PROOF),
        (PAYMENT._replace(amount=-1), Reason.BAD_RANGE_PROOF),
        (PAYMENT._replace(amount=-(2**70)), Reason.BAD_RANGE_PROOF),
        (PAYMENT._replace(amount=2**64), Reason.BAD_RANGE_PROOF),
        (PAYMENT._replace(amount=ORDER - 1), Reason.BAD_RANGE_PROOF),
        (PAYMENT._replace(balance=2**63), Reason.BAD_MOVEMENT),
        (PAYMENT._replace(secret=SECRETS[5]), Reason.BAD_MOVEMENT),
        (PAYMENT._replace(payer=5, balance=105), Reason.BAD_MOVEMENT),
    ],
    ids=["overdraft", "huge overdraft", "negative", "very negative", "too large", "around the order",
         "more than there is", "another's secret", "another's account"],
)  # fmt: skip
def test_false_payments(system: Quisquis, payment: Payment, reason: Reason) -> None:
    claim = proven(system, system.arrange(ins(), payment, ENTROPY))
    assert refusal(system, claim) is reason


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("which", [0, 1])
def test_money_put_on_what_moved(system: Quisquis, which: int) -> None:
    drawn = system.arrange(ins(), PAYMENT, ENTROPY)
    moved = [drawn.moved[0], drawn.moved[1]]
    moved[which] = added(system, moved[which], 1)
    lie = remade(system, replace(drawn, moved=(moved[0], moved[1])), (*moved, *drawn.mixed[2:]))
    assert refusal(system, proven(system, lie)) is Reason.BAD_MOVEMENT


@pytest.mark.usefixtures("unchecked")
def test_decoy_changed_between_the_shuffles(system: Quisquis) -> None:
    """A payer cannot let the receiver's, or an own second account, grow out of a decoy, whichever list has the lie."""
    drawn = system.arrange(ins(), PAYMENT, ENTROPY)
    richer, poorer = added(system, drawn.mixed[2], 50), added(system, drawn.mixed[3], -50)
    changed = (*drawn.moved, richer, poorer, *drawn.mixed[4:])
    unpublished = remade(system, drawn, changed)
    assert refusal(system, proven(system, unpublished)) is Reason.BAD_SHUFFLE
    published = replace(unpublished, mixed=drawn.mixed[:2] + changed[2:])
    assert refusal(system, proven(system, published)) is Reason.BAD_SHUFFLE


@pytest.mark.usefixtures("unchecked")
def test_decoy_under_another_owner(system: Quisquis) -> None:
    drawn = system.arrange(ins(), PAYMENT, ENTROPY)
    thief = drawn.mixed[0]._replace(c=drawn.mixed[2].c, d=drawn.mixed[2].d)
    lie = remade(system, drawn, (*drawn.moved, thief, *drawn.mixed[3:]))
    assert refusal(system, proven(system, lie)) is Reason.BAD_SHUFFLE


@pytest.mark.usefixtures("unchecked")
def test_decoy_left_out(system: Quisquis) -> None:
    drawn = system.arrange(ins(), PAYMENT, ENTROPY)
    lie = remade(system, drawn, (*drawn.moved, drawn.mixed[2], drawn.mixed[2], *drawn.mixed[4:]))
    assert refusal(system, proven(system, lie)) is Reason.BAD_SHUFFLE
