"""Proofs of hidden amounts on every backend: what holds, what does not and by which name, and batches that find it."""

import secrets
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.confidential import Balance, Claim, ConfidentialProofs, Opening, padded, proofs_with
from crypto.errors import Reason, Refused
from crypto.group import available
from crypto.ristretto import IDENTITY, ORDER

ENTROPY = bytes(range(32))
CONTEXT = b"\x05" * 32
GOLD = b"\x0a" * 32


@pytest.fixture(params=available())
def proofs(request: pytest.FixtureRequest) -> ConfidentialProofs:
    return proofs_with(request.param)


def opening(amount: int) -> Opening:
    return Opening(amount, secrets.randbelow(ORDER))


def claim_of(
    proofs: ConfidentialProofs, moves: dict[bytes, tuple[list[int], list[int], int]], context: bytes = CONTEXT
) -> Claim:
    """Return a proven claim: by asset, amounts spent and made, and what leaves in clear."""
    balances, excesses, made = [], [], []
    for asset in sorted(moves):
        before, after = [[opening(amount) for amount in side] for side in moves[asset][:2]]
        made += after
        balance = Balance(asset, tuple(map(proofs.commit, before)), tuple(map(proofs.commit, after)), moves[asset][2])
        balances.append(balance)
        excess = sum(one.blinding for one in before) - sum(one.blinding for one in after)
        excesses.append(proofs.prove_excess(context, balance, excess, ENTROPY))
    ranges = proofs.prove_ranges(context, made, ENTROPY)
    return Claim(context, tuple(map(proofs.commit, made)), ranges, tuple(balances), tuple(excesses))


@cache
def sample(name: str) -> Claim:
    return claim_of(proofs_with(name), {b"": ([10, 20], [7, 22], 1), GOLD: ([5], [5], 0)})


def reason_of(proofs: ConfidentialProofs, claim: Claim) -> Reason | None:
    try:
        proofs.verify(claim, ENTROPY)
    except Refused as refused:
        return refused.reason
    return None


def test_what_holds(proofs: ConfidentialProofs) -> None:
    cases: tuple[dict[bytes, tuple[list[int], list[int], int]], ...] = (
        {b"": ([10], [9], 1)}, {b"": ([10], [], 10)}, {b"": ([], [10], -10)},
        {b"": ([0, 2**64 - 1], [2**64 - 1, 0], 0)}, {b"": ([9] * 3, [1] * 16, 11), GOLD: ([4], [], 4)},
    )  # fmt: skip
    for moves in cases:
        claim = claim_of(proofs, moves)
        assert reason_of(proofs, claim) is None
        assert len(claim.ranges) == proofs.range_size(len(claim.made))
    assert proofs.range_size(0) == 0 and proofs.range_size(16) == 928
    assert [padded(count) for count in (1, 2, 3, 5, 16)] == [1, 2, 4, 8, 16]


def test_backends_agree() -> None:
    for maker in available():
        for judge in available():
            assert reason_of(proofs_with(judge), sample(maker)) is None


def test_what_cannot_be_proven(proofs: ConfidentialProofs) -> None:
    for moves, reason in (
        ({b"": ([10], [10], 1)}, Reason.UNPROVEN), ({b"": ([10], [2**64], 10 - 2**64)}, Reason.AMOUNT_OUT_OF_RANGE),
        ({b"": ([10], [-1], 11)}, Reason.AMOUNT_OUT_OF_RANGE), ({b"": ([17], [1] * 17, 0)}, Reason.TOO_LARGE),
    ):  # fmt: skip
        with pytest.raises(Refused) as caught:
            claim_of(proofs, moves)
        assert caught.value.reason is reason
    coin = opening(5)
    commitment = proofs.commit(coin)
    with pytest.raises(Refused) as caught:  # spent and made with one blinding: the excess is the identity
        proofs.prove_excess(CONTEXT, Balance(b"", (commitment,), (commitment,), 0), 0, ENTROPY)
    assert caught.value.reason is Reason.BAD_POINT


Change = Callable[[Claim], Claim]


def _balance(place: int, **changes: object) -> Change:
    def change(claim: Claim) -> Claim:
        balances = list(claim.balances)
        balances[place] = balances[place]._replace(**changes)  # type: ignore[arg-type]
        return claim._replace(balances=tuple(balances))

    return change


CHANGES: dict[str, tuple[Change, Reason]] = {
    "public": (_balance(0, public=2), Reason.BAD_EXCESS),
    "asset": (_balance(1, asset=b"\x0b" * 32), Reason.BAD_EXCESS),
    "nothing spent": (_balance(1, spent=()), Reason.BAD_EXCESS),
    "context": (lambda claim: claim._replace(context=bytes(32)), Reason.BAD_EXCESS),
    "excesses swapped": (lambda claim: claim._replace(excesses=claim.excesses[::-1]), Reason.BAD_EXCESS),
    "excess missing": (lambda claim: claim._replace(excesses=claim.excesses[:1]), Reason.MISSING_PROOF),
    "excess too many": (lambda claim: claim._replace(excesses=claim.excesses * 2), Reason.SURPLUS_PROOF),
    "excess short": (lambda claim: claim._replace(excesses=(b"", claim.excesses[1])), Reason.MALFORMED),
    "excess no point": (lambda claim: claim._replace(excesses=(b"\xff" * 64, claim.excesses[1])), Reason.BAD_SCALAR),
    "range missing": (lambda claim: claim._replace(ranges=b""), Reason.MISSING_PROOF),
    "range short": (lambda claim: claim._replace(ranges=claim.ranges[32:]), Reason.MALFORMED),
    "range surplus": (lambda claim: claim._replace(made=()), Reason.SURPLUS_PROOF),
    "made in another order": (lambda claim: claim._replace(made=claim.made[::-1]), Reason.BAD_RANGE_PROOF),
    "made no point": (lambda claim: claim._replace(made=(b"\xff" * 32, *claim.made[1:])), Reason.BAD_POINT),
    "made identity": (lambda claim: claim._replace(made=(IDENTITY, *claim.made[1:])), Reason.BAD_POINT),
    "spent identity": (_balance(1, spent=(IDENTITY,)), Reason.BAD_POINT),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_refused_by_name(proofs: ConfidentialProofs, name: str) -> None:
    change, reason = CHANGES[name]
    assert reason_of(proofs, change(sample(available()[0]))) is reason


def test_batch_finds_every_fault_and_its_name(proofs: ConfidentialProofs) -> None:
    good = sample(available()[0])
    bad = {2: "public", 3: "made in another order", 6: "made no point"}
    claims = [CHANGES[bad[place]][0](good) if place in bad else good for place in range(9)]
    faults = proofs.faults(claims, ENTROPY)
    assert [(fault.place, fault.refused.reason) for fault in faults] == [
        (2, Reason.BAD_EXCESS), (3, Reason.BAD_RANGE_PROOF), (6, Reason.BAD_POINT),
    ]  # fmt: skip
    assert proofs.faults([good] * 9, ENTROPY) == () == proofs.faults([], ENTROPY)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_flipped_bits(bit: int, in_ranges: bool) -> None:
    proofs, claim = proofs_with(available()[0]), sample(available()[0])
    raw = bytearray(claim.ranges if in_ranges else b"".join(claim.excesses))
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    ranges, excesses = (bytes(raw), b"".join(claim.excesses)) if in_ranges else (claim.ranges, bytes(raw))
    mutant = claim._replace(ranges=ranges, excesses=(excesses[:64], excesses[64:]))
    assert reason_of(proofs, mutant) in (
        Reason.BAD_POINT, Reason.BAD_SCALAR, Reason.BAD_EXCESS, Reason.BAD_RANGE_PROOF,
    )
