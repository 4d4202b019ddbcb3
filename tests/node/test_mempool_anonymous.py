"""Anonymous payments in the mempool: they share decoys, and one sender; nobody here looks at proofs."""

from collections.abc import Sequence

import pytest
from msgspec.structs import fields
from msgspec.structs import replace as changed

from apps.anonymous.records import ACCOUNT
from crypto.errors import Reason, Refused
from node.mempool import ANONYMOUS, Entry, Limits, Mempool, Removed, taken_in
from state.changes import Changes
from state.records import output_key
from state.transaction import (
    ACCOUNT_KEY_SIZE,
    ACCOUNT_SIZE,
    EXCESS_SIZE,
    MOVEMENT_PROOF,
    PAIR_RANGE_PROOF,
    RING_SIGNATURE,
    RING_SIZE,
    SET_SIZE,
    SHUFFLE_PROOF,
    AccountPayment,
    AccountProof,
    Body,
    Call,
    Decoded,
    Message,
    OutPoint,
    Ring,
    RingPayment,
    RingProof,
    Witness,
    assemble,
    decode_transaction,
)
from state.types import NATIVE, Address, Amount, ChainId, Height, TxId

CHAIN = ChainId(b"\x01" * 32)
GAS = 1000
ACCOUNT_PROOF = AccountProof(
    bytes((SET_SIZE + 1) * ACCOUNT_SIZE), bytes(ACCOUNT_SIZE), bytes(SHUFFLE_PROOF), bytes(SHUFFLE_PROOF), bytes(64),
    bytes(MOVEMENT_PROOF), bytes(PAIR_RANGE_PROOF),
)  # fmt: skip


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def payment(first: int, fee: int = 1000, *, key: bytes = b"\x01", signer: int = 0) -> Decoded:
    """A payment that renews the nine accounts from this one on."""
    names = tuple(name(number) for number in range(first, first + SET_SIZE))
    outputs = tuple(bytes([place]) * ACCOUNT_SIZE for place in range(SET_SIZE + 1))
    payload = AccountPayment(names, key * ACCOUNT_KEY_SIZE, outputs)
    body = Body(1, CHAIN, CHAIN, Height(100), 0, Amount(fee), payload, name(signer) if signer else b"")
    witnesses = (Witness(Address(name(signer)), b"", b""),) if signer else ()
    return decode_transaction(assemble(body, witnesses, (ACCOUNT_PROOF,)))


def spend(*images: int, fee: int = 1000) -> Decoded:
    """A payment that shows these key images."""
    rings = tuple(Ring(NATIVE, tuple(range(RING_SIZE)), bytes(32), name(image)) for image in images)
    body = Body(1, CHAIN, CHAIN, Height(100), 0, Amount(fee), RingPayment(rings, (), ()))
    proof = RingProof((bytes(RING_SIGNATURE),) * len(images), b"", (bytes(EXCESS_SIZE),))
    return decode_transaction(assemble(body, (), (proof,)))


def closing(account: int, nonce: int = 0, fee: int = 1000) -> Entry:
    """A call whose proof that it may close an account was verified."""
    payload = Call(Address(name(77)), nonce, GAS, (Message("anonymous/close", b"\x90"),))
    body = Body(1, CHAIN, CHAIN, Height(100), 0, Amount(fee), payload)
    decoded = decode_transaction(assemble(body, (Witness(Address(name(77)), b"", b""),)))
    return Entry(decoded, GAS, (b"key",), withdrawn=(ACCOUNT + name(account),))


def entry(decoded: Decoded) -> Entry:
    return Entry(decoded, GAS, ())


def pool(*entries: Decoded, limits: Limits | None = None) -> Mempool:
    mempool = Mempool(limits or Limits())
    for one in entries:
        mempool.add(entry(one))
    return mempool


def reason(mempool: Mempool, new: Entry) -> Reason:
    with pytest.raises(Refused) as caught:
        mempool.add(new)
    return caught.value.reason


def gone(removed: Sequence[Removed]) -> list[tuple[Decoded, Reason]]:
    return [(one.entry.decoded, one.reason) for one in removed]


def test_two_payments_that_share_a_decoy_do_not_wait_together() -> None:
    first = payment(0)
    mempool = pool(first)
    assert reason(mempool, entry(payment(8))) is Reason.CONFLICT  # account 8 is in both
    mempool.add(entry(payment(9)))
    assert len(mempool) == 2


def test_a_higher_fee_pushes_out_all_that_share_a_decoy() -> None:
    left, right = payment(0, 1000), payment(9, 1000)
    mempool = pool(left, right)
    assert reason(mempool, entry(payment(5, 2199))) is Reason.CONFLICT
    dear = payment(5, 2200)
    assert gone(mempool.add(entry(dear))) == [(left, Reason.CONFLICT), (right, Reason.CONFLICT)]
    assert [one.decoded for one in mempool.candidates()] == [dear]


def test_a_second_proof_of_the_same_body_replaces_nothing() -> None:
    first = payment(0)
    other = decode_transaction(assemble(first.body, (), (changed(ACCOUNT_PROOF, amounts=b"\x01" * 64),)))
    assert first.txid == other.txid and first.wtxid != other.wtxid
    assert reason(pool(first), entry(other)) is Reason.CONFLICT


def test_a_block_evicts_what_it_took_an_account_of() -> None:
    first, second, apart = payment(0), payment(8), payment(30)
    mempool = pool(first, apart)
    assert gone(mempool.commit(Height(1), [second])) == [(first, Reason.ACCOUNT_NOT_FOUND)]
    assert mempool.get(apart.wtxid) is not None
    mempool.add(entry(payment(0)))  # nothing of the old entry is left behind


def test_images_are_spent_once() -> None:
    first = spend(1, 2)
    mempool = pool(first)
    assert reason(mempool, entry(spend(3, 2))) is Reason.CONFLICT
    mempool.add(entry(spend(3, 4)))
    assert gone(mempool.commit(Height(1), [spend(2, 9)])) == [(first, Reason.IMAGE_USED)]


def test_all_anonymous_payments_share_one_limit() -> None:
    mempool = pool(payment(0), spend(1), limits=Limits(per_sender=2))
    assert {one.sender for one in mempool.candidates()} == {ANONYMOUS}
    assert reason(mempool, entry(payment(20))) is Reason.SENDER_LIMIT
    assert reason(mempool, entry(payment(20, signer=5))) is Reason.SENDER_LIMIT
    mempool.add(closing(50))
    mempool.commit(Height(1), [spend(1)])
    mempool.add(entry(payment(20)))


def test_who_pays_a_class_more_enters_when_anonymous_payments_fill_their_share() -> None:
    first, second = payment(0), spend(1)
    mempool = pool(first, second, limits=Limits(per_sender=2))
    assert reason(mempool, entry(payment(20, 1001))) is Reason.SENDER_LIMIT
    assert gone(mempool.add(entry(payment(20, 4000)))) == [(second, Reason.MEMPOOL_FULL)]
    assert gone(mempool.add(entry(spend(3, fee=4000)))) == [(first, Reason.MEMPOOL_FULL)]
    assert reason(mempool, entry(payment(30, 4000))) is Reason.SENDER_LIMIT


def test_an_account_is_not_closed_and_renewed_at_once() -> None:
    mempool = pool(payment(0))
    assert reason(mempool, closing(3, fee=10**6)) is Reason.CONFLICT
    mempool.add(closing(10))
    assert reason(mempool, entry(payment(9, 10**6))) is Reason.CONFLICT  # would leave a gap in the sender's nonces
    call, renewing = closing(10).decoded, payment(9)
    assert gone(mempool.commit(Height(1), [renewing])) == []  # it fails, and the next can run
    assert mempool.get(call.wtxid) is not None


def test_a_call_that_closes_an_account_does_not_wait_behind_a_gap() -> None:
    mempool = Mempool(Limits())
    assert reason(mempool, closing(3, nonce=1)) is Reason.NONCE_TOO_HIGH  # nothing pays for keeping others off
    mempool.add(entry(payment(0)))
    mempool.add(closing(10, nonce=0))
    mempool.add(closing(11, nonce=1))
    mempool.add(closing(12, nonce=1, fee=2000))  # in the other's place


def test_what_would_be_pushed_out_is_told_without_a_change() -> None:
    low, dear = payment(0, 1000), payment(8, 1100)
    mempool = pool(low)
    assert gone(mempool.pushed_out(entry(dear))) == [(low, Reason.CONFLICT)]
    assert [one.decoded for one in mempool.candidates()] == [low]
    with pytest.raises(Refused) as caught:
        mempool.pushed_out(entry(payment(8, 1099)))
    assert caught.value.reason is Reason.CONFLICT


def test_what_a_block_s_calls_took_is_gone() -> None:
    first = payment(0)
    mempool = pool(first)
    coin = OutPoint(TxId(name(4)), 1)
    changes = Changes({
        ACCOUNT + name(3): (b"account", None), ACCOUNT + name(4): (b"account", b"moved"),
        ACCOUNT + name(60): (None, b"new"), output_key(coin.txid, coin.index): (b"coin", None), b"x": (b"y", None),
    })
    taken = list(taken_in(changes))
    assert taken == [(ACCOUNT + name(3), Reason.ACCOUNT_NOT_FOUND), (coin, Reason.OUTPUT_NOT_FOUND)]
    assert gone(mempool.commit(Height(1), [closing(3).decoded], taken)) == [(first, Reason.ACCOUNT_NOT_FOUND)]


def test_the_sizes_of_proofs_are_fixed() -> None:
    for field in fields(AccountProof):
        with pytest.raises(Refused) as caught:
            short = changed(ACCOUNT_PROOF, **{field.name: getattr(ACCOUNT_PROOF, field.name)[1:]})
            decode_transaction(assemble(payment(0).body, (), (short,)))
        assert caught.value.reason is Reason.MALFORMED
