"""Ring payments on every backend: what holds, what does not and by which name, and batches that find it."""

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import ring
from crypto.confidential import Balance, Claim, Opening, proofs_with
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.ring import Ring, signature_size
from crypto.ringpay import (
    RingMade,
    RingPaymentClaim,
    RingPayments,
    RingSpend,
    balances_of,
    one_time_key,
    ring_payments_with,
)
from crypto.ristretto import IDENTITY, ORDER

ENTROPY = bytes(range(32))
CONTEXT = b"\x05" * 32
GOLD = b"\x0a" * 32
SECRET = 2**210 + 7
MEMBERS = 4


@pytest.fixture(params=available())
def payments(request: pytest.FixtureRequest) -> RingPayments:
    return ring_payments_with(request.param)


def spend_of(payments: RingPayments, number: int, amount: int, asset: bytes = b"", place: int = 1) -> RingSpend:
    """Return a spend of a coin among others; number, place and amount name it."""
    tweaks = [2**200 + 100 * number + at for at in range(MEMBERS)]
    openings = [Opening(amount + (at - place), 2**201 + 100 * number + at) for at in range(MEMBERS)]
    secret = (SECRET + tweaks[place]) % ORDER
    new = 2**202 + number
    spend_key = payments.spend_key(SECRET)
    stated = Ring(
        tuple(payments.one_time_key(spend_key, tweak) for tweak in tweaks),
        tuple(payments.commit(one) for one in openings), payments.commit(Opening(amount, new)),
        payments.image(secret),
    )
    return RingSpend(asset, stated, place, secret, openings[place], new)


def made_of(amount: int, number: int, asset: bytes = b"") -> RingMade:
    return RingMade(asset, Opening(amount, 2**203 + number))


def proven(
    payments: RingPayments, spent: list[RingSpend], made: list[RingMade], public: dict[bytes, int],
    context: bytes = CONTEXT,
) -> RingPaymentClaim:
    proof = payments.prove(context, spent, made, public, ENTROPY)
    commitments = [(one.asset, payments.commit(one.opening)) for one in made]
    balances = balances_of([(one.asset, one.ring.commitment) for one in spent], commitments, public.items())
    amounts = Claim(context, tuple(one for _, one in commitments), proof.ranges, balances, proof.excesses)
    return RingPaymentClaim(tuple(one.ring for one in spent), proof.signatures, amounts)


@cache
def sample(name: str) -> RingPaymentClaim:
    """Two rings of the native token and one of gold; three coins made, and something in clear."""
    payments = ring_payments_with(name)
    spent = [spend_of(payments, 0, 30), spend_of(payments, 1, 12, place=3), spend_of(payments, 2, 9, GOLD, place=0)]
    return proven(payments, spent, [made_of(20, 0), made_of(4, 1, GOLD), made_of(17, 2)], {b"": 5, GOLD: 5})


def reason_of(payments: RingPayments, claim: RingPaymentClaim) -> Reason | None:
    try:
        payments.verify(claim, ENTROPY)
    except Refused as refused:
        return refused.reason
    return None


def test_what_holds(payments: RingPayments) -> None:
    cases: tuple[tuple[list[RingSpend], list[RingMade], dict[bytes, int]], ...] = (
        ([spend_of(payments, 0, 10)], [made_of(9, 0)], {b"": 1}),
        ([spend_of(payments, 0, 10)], [], {b"": 10}),
        ([spend_of(payments, 0, 10)], [made_of(0, 0), made_of(10, 1)], {}),
        ([spend_of(payments, at, 10, place=at) for at in range(4)], [made_of(39, 0)], {b"": 1}),
        ([spend_of(payments, 0, 2**64 - 2)], [made_of(2**64 - 2, 0)], {b"": 0}),
        ([spend_of(payments, 1, 10, GOLD)], [made_of(1, at, GOLD) for at in range(10)], {}),
    )
    for spent, made, public in cases:
        assert reason_of(payments, proven(payments, spent, made, public)) is None


def test_backends_agree() -> None:
    assert len({sample(name) for name in available()}) == 1
    for judge in available():
        assert reason_of(ring_payments_with(judge), sample(available()[0])) is None


def test_keys_of_one_wallet(payments: RingPayments) -> None:
    """Each coin has a key and an image of its own; with the tweak the owner's secret opens it, and no other tweak."""
    spend_key = payments.spend_key(SECRET)
    keys = {payments.one_time_key(spend_key, tweak) for tweak in range(5)}
    assert len(keys) == 5 and spend_key in keys  # a tweak of nothing leaves the key as it is
    assert payments.one_time_key(spend_key, 7) == payments.spend_key(SECRET + 7)
    assert len({payments.image(SECRET + tweak) for tweak in range(5)}) == 5
    group = load(available()[0])
    for bad in (IDENTITY, b"\xff" * 32, b"short"):
        with pytest.raises(Refused) as caught:
            one_time_key(group, bad, 5)
        assert caught.value.reason is Reason.BAD_POINT
    with pytest.raises(Refused) as caught:  # the one tweak that would undo the key
        payments.one_time_key(spend_key, -SECRET)
    assert caught.value.reason is Reason.BAD_POINT


def test_what_cannot_be_proven(payments: RingPayments) -> None:
    coin = spend_of(payments, 0, 10)
    cases: tuple[tuple[RingSpend, list[RingMade], dict[bytes, int], Reason], ...] = (
        (coin, [made_of(10, 0)], {b"": 1}, Reason.UNPROVEN),
        (coin, [made_of(2**64, 0)], {b"": 10 - 2**64}, Reason.AMOUNT_OUT_OF_RANGE),
        (coin, [made_of(10, 0, GOLD)], {}, Reason.UNBALANCED),
        (coin, [made_of(10, 0)], {GOLD: 1}, Reason.UNBALANCED),
        (coin._replace(place=0), [made_of(10, 0)], {}, Reason.UNPROVEN),
        (coin._replace(secret=5), [made_of(10, 0)], {}, Reason.UNPROVEN),
        (coin._replace(opening=Opening(10, 5)), [made_of(10, 0)], {}, Reason.UNPROVEN),
    )
    for spent, made, public, reason in cases:
        with pytest.raises(Refused) as caught:
            proven(payments, [spent], made, public)
        assert caught.value.reason is reason


@pytest.mark.parametrize("lie", ["amount", "another's coin", "image"])
def test_cheats_are_refused(payments: RingPayments, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real prover, the check of what it is told switched off."""
    monkeypatch.setattr(ring, "check_spend", lambda *_: None)
    coin, made = spend_of(payments, 0, 10), [made_of(10, 0)]
    if lie == "amount":  # the new commitment holds more than the coin
        coin = coin._replace(ring=coin.ring._replace(commitment=payments.commit(Opening(1000, coin.blinding))))
        made = [made_of(1000, 0)]
    elif lie == "another's coin":
        keys = (coin.ring.keys[0], payments.spend_key(99), *coin.ring.keys[2:])
        coin = coin._replace(ring=coin.ring._replace(keys=keys))
    else:
        coin = coin._replace(ring=coin.ring._replace(image=payments.image(99)))
    assert reason_of(payments, proven(payments, [coin], made, {})) is Reason.BAD_RING_SIGNATURE


Change = Callable[[RingPaymentClaim], RingPaymentClaim]


def _ring(**changes: object) -> Change:
    def change(claim: RingPaymentClaim) -> RingPaymentClaim:
        return claim._replace(rings=(claim.rings[0]._replace(**changes), *claim.rings[1:]))  # type: ignore[arg-type]

    return change


def _amounts(**changes: object) -> Change:
    return lambda claim: claim._replace(amounts=claim.amounts._replace(**changes))  # type: ignore[arg-type]


def _signature(edit: Callable[[bytes], bytes]) -> Change:
    return lambda claim: claim._replace(signatures=(edit(claim.signatures[0]), *claim.signatures[1:]))


def _balance(place: int, **changes: object) -> Change:
    def change(claim: RingPaymentClaim) -> RingPaymentClaim:
        balances = list(claim.amounts.balances)
        balances[place] = balances[place]._replace(**changes)  # type: ignore[arg-type]
        return claim._replace(amounts=claim.amounts._replace(balances=tuple(balances)))

    return change


def _swapped(claim: RingPaymentClaim) -> RingPaymentClaim:
    """Return it with the first two rings, their signatures and commitments in the other order."""
    first, second = claim.amounts.balances
    native = first._replace(spent=first.spent[::-1])
    return RingPaymentClaim(
        (claim.rings[1], claim.rings[0], claim.rings[2]),
        (claim.signatures[1], claim.signatures[0], claim.signatures[2]),
        claim.amounts._replace(balances=(native, second)),
    )


CHANGES: dict[str, tuple[Change, Reason]] = {
    "image of another": (_ring(image=sample(available()[0]).rings[1].image), Reason.BAD_RING_SIGNATURE),
    "keys in another order": (
        _ring(keys=sample(available()[0]).rings[0].keys[::-1]), Reason.BAD_RING_SIGNATURE,
    ),
    "members of another ring": (
        _ring(keys=sample(available()[0]).rings[1].keys, commitments=sample(available()[0]).rings[1].commitments),
        Reason.BAD_RING_SIGNATURE,
    ),
    "rings in another order": (_swapped, Reason.BAD_EXCESS),
    "signatures swapped": (
        lambda claim: claim._replace(signatures=claim.signatures[::-1]), Reason.BAD_EXCESS,
    ),
    "signature missing": (lambda claim: claim._replace(signatures=claim.signatures[:2]), Reason.MISSING_PROOF),
    "signature too many": (lambda claim: claim._replace(signatures=claim.signatures * 2), Reason.SURPLUS_PROOF),
    "signature short": (_signature(lambda raw: raw[:-32]), Reason.MALFORMED),
    "signature empty": (_signature(lambda raw: b""), Reason.MALFORMED),
    "signature no point": (_signature(lambda raw: b"\xff" * 32 + raw[32:]), Reason.BAD_EXCESS),
    "signature identity": (_signature(lambda raw: IDENTITY + raw[32:]), Reason.BAD_EXCESS),
    "signature no scalar": (_signature(lambda raw: raw[:-32] + b"\xff" * 32), Reason.BAD_EXCESS),
    "signature changed": (_signature(lambda raw: raw[:-32] + bytes(32)), Reason.BAD_EXCESS),
    "context": (_amounts(context=bytes(32)), Reason.BAD_EXCESS),
    "public": (_balance(0, public=6), Reason.BAD_EXCESS),
    "asset": (_balance(1, asset=b"\x0b" * 32), Reason.BAD_EXCESS),
    "one coin less made": (_balance(0, made=sample(available()[0]).amounts.balances[0].made[:1]), Reason.BAD_EXCESS),
    "range missing": (_amounts(ranges=b""), Reason.MISSING_PROOF),
    "range short": (_amounts(ranges=bytes(32)), Reason.MALFORMED),
    "made in another order": (_amounts(made=sample(available()[0]).amounts.made[::-1]), Reason.BAD_RANGE_PROOF),
    "excess missing": (_amounts(excesses=sample(available()[0]).amounts.excesses[:1]), Reason.MISSING_PROOF),
    "member twice": (_ring(keys=(sample(available()[0]).rings[0].keys[0],) * MEMBERS), Reason.MALFORMED),
    "member no point": (_ring(keys=(b"\xff" * 32, *sample(available()[0]).rings[0].keys[1:])), Reason.BAD_POINT),
    "image identity": (_ring(image=IDENTITY), Reason.BAD_POINT),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_refused_by_name(payments: RingPayments, name: str) -> None:
    change, reason = CHANGES[name]
    assert reason_of(payments, change(sample(available()[0]))) is reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("signature no point", Reason.BAD_POINT), ("signature identity", Reason.BAD_POINT),
        ("signature no scalar", Reason.BAD_SCALAR), ("signature changed", Reason.BAD_RING_SIGNATURE),
        ("signatures swapped", Reason.BAD_RING_SIGNATURE),
    ],
)
def test_signatures_by_themselves(payments: RingPayments, name: str, reason: Reason) -> None:
    """What a payer meets who proves the amounts for signatures that do not hold."""
    good = sample(available()[0])
    claim = CHANGES[name][0](good)
    assert claim.bound.context != good.bound.context
    [fault] = payments.signature_faults([claim])
    assert fault.refused.reason is reason


def test_batch_finds_every_fault_and_its_name(payments: RingPayments) -> None:
    good = sample(available()[0])
    bad = {0: "signature short", 2: "public", 3: "image of another", 4: "made in another order"}
    bad[6] = "signature missing"
    claims = [CHANGES[bad[place]][0](good) if place in bad else good for place in range(8)]
    faults = payments.faults(claims, ENTROPY)
    assert [(fault.place, fault.refused.reason) for fault in faults] == [
        (0, Reason.MALFORMED), (2, Reason.BAD_EXCESS), (3, Reason.BAD_RING_SIGNATURE), (4, Reason.BAD_RANGE_PROOF),
        (6, Reason.MISSING_PROOF),
    ]
    alone = payments.signature_faults(claims)
    assert [fault.place for fault in alone] == [0, 3, 6]
    assert payments.faults([good] * 3, ENTROPY) == () == payments.faults([], ENTROPY)


hostile = st.one_of(st.binary(max_size=33), st.binary(min_size=32, max_size=32))


def of_size(right: int) -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=40), st.binary(min_size=right, max_size=right))


@settings(max_examples=60, deadline=None)
@given(st.lists(hostile, min_size=2, max_size=3), hostile, hostile, of_size(128), of_size(672), of_size(64))
def test_hostile_bytes_are_refused(
    points: list[bytes], image: bytes, made: bytes, signature: bytes, ranges: bytes, excess: bytes
) -> None:
    payments = ring_payments_with(available()[0])
    stated = Ring(tuple(points), tuple(points[::-1]), made, image)
    balance = Balance(b"", (made,), (made,), 1)
    claim = RingPaymentClaim((stated,), (signature,), Claim(CONTEXT, (made,), ranges, (balance,), (excess,)))
    [fault] = payments.faults([claim], ENTROPY)
    assert fault.refused.reason is not Reason.INTERNAL
    [fault] = payments.signature_faults([claim])
    assert fault.refused.reason is not Reason.INTERNAL


def test_sizes() -> None:
    claim = sample(available()[0])
    assert {len(signature) for signature in claim.signatures} == {signature_size(MEMBERS)}
    assert len(claim.amounts.ranges) == proofs_with(available()[0]).range_size(3)
