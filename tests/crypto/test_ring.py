"""Ring signatures: every member can sign, nobody else can, and a coin spent twice shows."""


import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import ring
from crypto.errors import Reason
from crypto.group import available, load
from crypto.pedersen import pedersen
from crypto.ring import MOST, Ring, RingClaim, Spend, key_image, linked, public_key, sign, signature_size, verify
from crypto.ristretto import IDENTITY, ORDER, Group
from crypto.transcript import Transcript
from tests.crypto.refusals import reason_of

ENTROPY = b"e" * 32
NEW_BLINDING = 2**190


@pytest.fixture(params=available())
def group(request: pytest.FixtureRequest) -> Group:
    return load(str(request.param))


def begun(context: bytes = bytes(32)) -> Transcript:
    return Transcript(b"test", context)


def secret_of(place: int) -> int:
    return 2**200 + place


def ring_of(group: Group, members: int, place: int, value: int | None = None) -> tuple[Ring, Spend]:
    """Return a ring whose members hold 10, 11, 12 ... and who spends the one at a place."""
    bases = pedersen(group)
    keys = tuple(public_key(group, secret_of(n)) for n in range(members))
    commitments = tuple(bases.commit(10 + n, 2**201 + n).encode() for n in range(members))
    new = bases.commit(10 + place if value is None else value, NEW_BLINDING).encode()
    coins = Ring(keys, commitments, new, key_image(group, secret_of(place)))
    return coins, Spend(place, secret_of(place), 2**201 + place - NEW_BLINDING)


@pytest.mark.parametrize("members", [2, 3, 11])
def test_every_member_can_sign(group: Group, members: int) -> None:
    images = set()
    for place in range(members):
        coins, spend = ring_of(group, members, place)
        signature = sign(group, begun(), coins, spend, ENTROPY)
        assert len(signature) == signature_size(members) == 32 * (members + 2)
        verify(group, RingClaim(begun(), coins, signature))
        images.add(coins.image)
    assert len(images) == members


def test_both_backends_make_the_same_bytes() -> None:
    assert len({sign(load(name), begun(), *ring_of(load(name), 4, 2), ENTROPY) for name in available()}) == 1


def test_a_coin_spent_twice_shows(group: Group) -> None:
    """In other company, with another commitment, by another signature: the key image is the same."""
    first, spend = ring_of(group, 3, 1)
    second = Ring(
        (public_key(group, 77), first.keys[1]), (first.commitments[0], first.commitments[1]),
        pedersen(group).commit(11, 5).encode(), key_image(group, spend.secret),
    )
    again = Spend(1, spend.secret, 2**201 + 1 - 5)
    verify(group, RingClaim(begun(), first, sign(group, begun(), first, spend, ENTROPY)))
    verify(group, RingClaim(begun(b"2" * 32), second, sign(group, begun(b"2" * 32), second, again, b"f" * 32)))
    assert linked(first, second)
    other, _ = ring_of(group, 3, 2)
    assert not linked(first, other)


def test_spend_has_to_fit(group: Group) -> None:
    coins, spend = ring_of(group, 3, 1)
    wrong = [
        (coins, spend._replace(place=0)), (coins, spend._replace(place=3)), (coins, spend._replace(place=-1)),
        (coins, spend._replace(secret=5)), (coins, spend._replace(blinding=5)),
        (coins._replace(image=key_image(group, secret_of(0))), spend),
        ring_of(group, 3, 1, value=12),
    ]
    for stated, known in wrong:
        assert reason_of(sign, group, begun(), stated, known, ENTROPY) is Reason.UNPROVEN


@pytest.mark.parametrize("lie", ["value", "key", "image"])
def test_cheats_are_refused(group: Group, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real signer, its check of what it is told switched off: a larger amount, another's coin, a new key image."""
    monkeypatch.setattr(ring, "check_spend", lambda *_: None)
    stated, spend = ring_of(group, 3, 1, value=12 if lie == "value" else None)
    if lie == "key":
        stated = stated._replace(keys=(stated.keys[0], public_key(group, 99), stated.keys[2]))
    if lie == "image":
        stated = stated._replace(image=key_image(group, 99))
    signature = sign(group, begun(), stated, spend, ENTROPY)
    assert reason_of(verify, group, RingClaim(begun(), stated, signature)) is Reason.UNPROVEN


def test_signature_is_bound_to_all_that_is_stated(group: Group) -> None:
    coins, spend = ring_of(group, 3, 1)
    signature = sign(group, begun(), coins, spend, ENTROPY)
    other = public_key(group, 99)
    stated = [
        coins._replace(image=key_image(group, secret_of(0))), coins._replace(image=other),
        coins._replace(commitment=other), coins._replace(keys=(other, *coins.keys[1:])),
        coins._replace(commitments=(other, *coins.commitments[1:])),
        coins._replace(keys=coins.keys[::-1], commitments=coins.commitments[::-1]),
        coins._replace(keys=(coins.keys[2], coins.keys[1], coins.keys[0])),
    ]
    for one in stated:
        assert reason_of(verify, group, RingClaim(begun(), one, signature)) is Reason.UNPROVEN
    elsewhere = RingClaim(begun(b"1" * 32), coins, signature)
    assert reason_of(verify, group, elsewhere) is Reason.UNPROVEN


def test_rings_that_hide_less_than_they_say(group: Group) -> None:
    coins, spend = ring_of(group, 3, 1)
    signature = sign(group, begun(), coins, spend, ENTROPY)
    twice = coins._replace(keys=(coins.keys[1], coins.keys[1], coins.keys[2]))
    reused = coins._replace(commitment=coins.commitments[1])
    alone = Ring(coins.keys[1:2], coins.commitments[1:2], coins.commitment, coins.image)
    for stated in (twice, reused, alone):
        assert reason_of(sign, group, begun(), stated, spend, ENTROPY) is Reason.MALFORMED
    assert reason_of(verify, group, RingClaim(begun(), twice, signature)) is Reason.MALFORMED
    assert reason_of(verify, group, RingClaim(begun(), reused, signature)) is Reason.MALFORMED
    assert reason_of(verify, group, RingClaim(begun(), alone, signature[:96])) is Reason.MALFORMED


def test_sizes_are_counted_first(group: Group) -> None:
    coins, spend = ring_of(group, 3, 1)
    signature = sign(group, begun(), coins, spend, ENTROPY)
    for wrong in (b"", signature[:-1], signature + bytes(32)):
        assert reason_of(verify, group, RingClaim(begun(), coins, wrong)) is Reason.MALFORMED
    short = coins._replace(commitments=coins.commitments[:2])
    assert reason_of(verify, group, RingClaim(begun(), short, signature)) is Reason.MALFORMED
    crowd = Ring((b"",) * (MOST + 1), (b"",) * (MOST + 1), b"", b"")
    assert reason_of(verify, group, RingClaim(begun(), crowd, b"")) is Reason.TOO_LARGE


def test_every_point_and_scalar_is_checked(group: Group) -> None:
    coins, spend = ring_of(group, 3, 1)
    signature = sign(group, begun(), coins, spend, ENTROPY)
    for bad in (IDENTITY, b"\xff" * 32, b"short"):
        for stated in (
            coins._replace(image=bad), coins._replace(commitment=bad), coins._replace(keys=(bad, *coins.keys[1:])),
            coins._replace(commitments=(bad, *coins.commitments[1:])),
        ):
            assert reason_of(verify, group, RingClaim(begun(), stated, signature)) is Reason.BAD_POINT
    assert reason_of(verify, group, RingClaim(begun(), coins, IDENTITY + signature[32:])) is Reason.BAD_POINT
    for at in range(32, len(signature), 32):
        scalar = int.from_bytes(signature[at : at + 32], "little") + ORDER
        wrong = signature[:at] + scalar.to_bytes(32, "little") + signature[at + 32 :]
        assert reason_of(verify, group, RingClaim(begun(), coins, wrong)) is Reason.BAD_SCALAR


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=33), max_size=4), st.lists(st.binary(max_size=33), max_size=4),
       st.binary(max_size=33), st.one_of(st.binary(max_size=40), st.binary(min_size=128, max_size=128)))  # fmt: skip
def test_hostile_bytes_are_refused(keys: list[bytes], commitments: list[bytes], one: bytes, signature: bytes) -> None:
    stated = Ring(tuple(keys), tuple(commitments), one, one)
    claim = RingClaim(begun(), stated, signature)
    assert reason_of(verify, load(available()[0]), claim) is not Reason.INTERNAL
