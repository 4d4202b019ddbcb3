"""The mempool alone: transactions are well-formed but unsigned, since nobody here looks at signatures."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crypto.errors import Reason, Refused
from node.mempool import Entry, Limits, Mempool, Removed
from state.transaction import (
    Body,
    Call,
    Coin,
    Decoded,
    Message,
    OutPoint,
    Transfer,
    Witness,
    assemble,
    decode_transaction,
)
from state.types import NATIVE, Address, Amount, ChainId, Height, TxId

CHAIN = ChainId(b"\x01" * 32)
GAS = 1000


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


def outpoint(number: int) -> OutPoint:
    return OutPoint(TxId(number.to_bytes(32, "big")), 0)


def transfer(*inputs: int, sender: int = 1, fee: int = 1000, expiry: int = 100, salt: bytes = b"") -> Decoded:
    payload = Transfer(tuple(outpoint(number) for number in inputs), (Coin(NATIVE, address(9), Amount(1)),))
    return build(payload, sender, fee, expiry, salt)


def call(sender: int, nonce: int, fee: int = 1000, expiry: int = 100) -> Decoded:
    payload = Call(address(sender), nonce, GAS, (Message("token/burn", b"\x90"),))
    return build(payload, sender, fee, expiry)


def build(payload: Transfer | Call, sender: int, fee: int, expiry: int, salt: bytes = b"") -> Decoded:
    body = Body(1, CHAIN, CHAIN, Height(expiry), 0, Amount(fee), payload)
    return decode_transaction(assemble(body, (Witness(address(sender), b"", salt),)))


def entry(decoded: Decoded) -> Entry:
    return Entry(decoded, GAS, (b"key",))


def pool(*decoded: Decoded, limits: Limits | None = None) -> Mempool:
    mempool = Mempool(limits or Limits())
    for one in decoded:
        mempool.add(entry(one))
    return mempool


def order(mempool: Mempool) -> list[Decoded]:
    return [one.decoded for one in mempool.candidates()]


def reason(mempool: Mempool, decoded: Decoded, next_nonce: int = 0) -> Reason:
    with pytest.raises(Refused) as caught:
        mempool.add(entry(decoded), next_nonce)
    return caught.value.reason


def test_first_come_first_served_within_a_class_of_fees() -> None:
    first, second, dear = transfer(1, fee=1000), transfer(2, fee=1100), transfer(3, fee=4000)
    assert order(pool(first, second, dear)) == [dear, first, second]


def duty(sender: int, nonce: int, fee: int = 0, name: bytes = b"proofs/work") -> Entry:
    return Entry(call(sender, nonce, fee), GAS, (b"key",), address(sender) + name)


def test_exempt_calls_come_first_and_are_never_pushed_out() -> None:
    dear = transfer(1, fee=2**40)
    mempool = pool(dear, limits=Limits(transactions=3))
    for sender in (5, 6):
        mempool.add(duty(sender, 0))
    assert [one.decoded for one in mempool.candidates()][2:] == [dear]
    assert reason(mempool, transfer(2, fee=1000)) is Reason.MEMPOOL_FULL
    assert [removed.entry.decoded for removed in mempool.add(entry(transfer(3, fee=2**42)))] == [dear]
    assert sum(bool(one.exempt) for one in mempool.candidates()) == 2


def test_one_exempt_call_of_a_validator_and_kind_waits_at_a_time() -> None:
    mempool = pool()
    mempool.add(duty(5, 0))
    mempool.add(duty(5, 1, name=b"proofs/space"))
    with pytest.raises(Refused) as caught:
        mempool.add(duty(5, 2))
    assert caught.value.reason is Reason.CONFLICT
    assert len(mempool) == 2
    mempool.remove(duty(5, 0).wtxid)
    mempool.add(duty(5, 2))
    assert len(mempool) == 2


def test_calls_of_an_account_come_by_nonce_whatever_they_pay() -> None:
    late, early = call(1, 1, fee=8000), call(1, 0, fee=1000)
    assert order(pool(late, early)) == [early, late]


def test_a_gap_holds_back_what_is_behind_it() -> None:
    mempool = pool(call(1, 0), call(1, 2))
    assert len(order(mempool)) == 1
    assert mempool.pending_nonce(address(1), 0) == 1
    mempool.add(entry(call(1, 1)))
    assert [one.body.payload.nonce for one in order(mempool)] == [0, 1, 2]  # type: ignore[union-attr]
    assert mempool.pending_nonce(address(1), 0) == 3


def test_a_gap_alone_is_no_work() -> None:
    assert not pool(call(1, 1)).has_work


def test_the_same_bytes_are_known() -> None:
    assert reason(pool(transfer(1)), transfer(1)) is Reason.ALREADY_KNOWN


def test_another_witness_on_the_same_body_replaces_nothing() -> None:
    assert reason(pool(transfer(1)), transfer(1, salt=b"x")) is Reason.CONFLICT


def test_a_conflict_needs_ten_percent_more() -> None:
    mempool = pool(transfer(1, fee=1000), transfer(2, fee=1000))
    assert reason(mempool, transfer(1, 2, fee=2199)) is Reason.CONFLICT
    removed = mempool.add(entry(transfer(1, 2, fee=2200)))
    assert [one.reason for one in removed] == [Reason.CONFLICT, Reason.CONFLICT]
    assert len(mempool) == 1


def withdrawal(coin: int, nonce: int = 0, fee: int = 1000) -> Entry:
    return Entry(call(1, nonce, fee), GAS, (b"key",), withdrawn=(outpoint(coin),))


def test_a_coin_is_not_taken_by_a_transfer_and_a_call() -> None:
    mempool = pool(transfer(1))
    with pytest.raises(Refused) as caught:
        mempool.add(withdrawal(1, fee=9000))
    assert caught.value.reason is Reason.CONFLICT
    mempool.add(withdrawal(2))
    assert reason(mempool, transfer(2, fee=9000)) is Reason.CONFLICT
    with pytest.raises(Refused) as caught:
        mempool.add(withdrawal(2, nonce=1, fee=9000))
    assert caught.value.reason is Reason.CONFLICT
    dearer = withdrawal(2, fee=2000)
    assert [removed.reason for removed in mempool.add(dearer)] == [Reason.CONFLICT]
    mempool.remove(dearer.wtxid)
    mempool.add(entry(transfer(2)))


def test_a_withdrawal_whose_coin_is_gone_stays_for_the_sake_of_its_nonce() -> None:
    mempool = pool()
    mempool.add(withdrawal(1))
    assert mempool.commit(Height(1), [transfer(1)]) == ()
    assert len(mempool) == 1


def test_a_nonce_is_replaced_in_its_place() -> None:
    mempool = pool(call(1, 0), call(1, 1))
    assert reason(mempool, call(1, 0, fee=1099)) is Reason.CONFLICT
    mempool.add(entry(call(1, 0, fee=1100)))
    assert [one.body.fee for one in order(mempool)] == [1100, 1000]
    assert mempool.pending_fees(address(1)) == 2100


def test_used_and_far_nonces_are_refused() -> None:
    assert reason(Mempool(Limits()), call(1, 4), 5) is Reason.NONCE_TOO_LOW
    assert reason(Mempool(Limits()), call(1, 5000), 5) is Reason.NONCE_TOO_HIGH


def test_a_sender_has_a_limit() -> None:
    mempool = pool(call(1, 0), call(1, 1), limits=Limits(per_sender=2))
    assert reason(mempool, call(1, 2)) is Reason.SENDER_LIMIT
    mempool.add(entry(call(2, 0)))
    mempool.add(entry(call(1, 1, fee=2000)))  # a replacement adds nothing


def test_a_full_pool_takes_what_pays_a_class_more() -> None:
    mempool = pool(transfer(1, fee=1000), transfer(2, fee=1000), limits=Limits(transactions=2))
    assert reason(mempool, transfer(3, fee=1500)) is Reason.MEMPOOL_FULL
    removed = mempool.add(entry(transfer(3, fee=4000)))
    assert [one.reason for one in removed] == [Reason.MEMPOOL_FULL]
    assert [one.body.fee for one in order(mempool)] == [4000, 1000]


def test_evicting_a_call_takes_its_followers_along() -> None:
    mempool = pool(call(1, 0, fee=1000), call(1, 1, fee=9000), limits=Limits(transactions=2))
    mempool.add(entry(transfer(1, fee=4000)))
    assert [one.body.fee for one in order(mempool)] == [4000]


def test_bytes_are_bounded_too() -> None:
    size = len(transfer(1).raw)
    mempool = pool(transfer(1), transfer(2), limits=Limits(bytes=2 * size))
    assert reason(mempool, transfer(3)) is Reason.MEMPOOL_FULL


def test_a_block_takes_its_transactions_and_what_they_make_impossible() -> None:
    mempool = pool(transfer(1), transfer(2), call(1, 0), call(1, 1), transfer(3, expiry=5), transfer(4, expiry=6))
    removed = mempool.commit(Height(5), [transfer(1), transfer(2, fee=7), call(1, 0, fee=7)])
    assert {(one.entry.decoded, one.reason) for one in removed} == {
        (transfer(2), Reason.OUTPUT_NOT_FOUND),
        (call(1, 0), Reason.NONCE_TOO_LOW),
        (transfer(3, expiry=5), Reason.EXPIRED),
    }
    assert order(mempool) == [call(1, 1), transfer(4, expiry=6)]
    assert reason(mempool, transfer(8, expiry=5)) is Reason.EXPIRED


def test_the_same_body_in_a_block_frees_the_pool() -> None:
    mempool = pool(transfer(1))
    (removed,) = mempool.commit(Height(1), [transfer(1, salt=b"x")])
    assert removed.reason is Reason.ALREADY_COMMITTED


def test_refused_bytes_are_remembered() -> None:
    mempool = Mempool(Limits())
    mempool.remember_refused(transfer(1).wtxid, Refused(Reason.BAD_SIGNATURE, "no"))
    assert reason(mempool, transfer(1)) is Reason.BAD_SIGNATURE
    mempool.add(entry(transfer(1, salt=b"good")))


def test_what_is_remembered_of_refused_bytes_does_not_hold_them() -> None:
    class Slice(set[bytes]):
        """Bytes whose end can be seen."""

    def refuse(raws: Slice) -> None:
        raise Refused(Reason.MALFORMED, f"{len(raws)} transactions that are none")

    mempool, raws = Mempool(Limits()), Slice()
    seen = weakref.ref(raws)
    try:
        refuse(raws)
    except Refused as refused:
        mempool.remember_refused(transfer(1).wtxid, refused)
    del raws
    gc.collect()
    assert seen() is None and reason(mempool, transfer(1)) is Reason.MALFORMED


class Histories(RuleBasedStateMachine):
    """Random histories: whatever happens, the books agree with each other, and a block's candidates fit together."""

    def __init__(self) -> None:
        super().__init__()
        self.mempool = Mempool(Limits(transactions=12, bytes=4000, per_sender=6))
        self.nonces = {1: 0, 2: 0}
        self.height = 0
        self.present: set[bytes] = set()

    def _add(self, decoded: Decoded, next_nonce: int = 0) -> None:
        try:
            removed = self.mempool.add(entry(decoded), next_nonce)
        except Refused:
            return
        self._removed(removed)
        self.present.add(decoded.wtxid)

    def _removed(self, removed: tuple[Removed, ...]) -> None:
        for one in removed:
            self.present.remove(one.entry.wtxid)

    @rule(inputs=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True), fee=st.integers(500, 9000),
          expiry=st.integers(1, 8), sender=st.sampled_from([1, 2]))
    def pay(self, inputs: list[int], fee: int, expiry: int, sender: int) -> None:
        self._add(transfer(*inputs, sender=sender, fee=fee, expiry=self.height + expiry))

    @rule(sender=st.sampled_from([1, 2]), ahead=st.integers(-1, 5), fee=st.integers(500, 9000))
    def invoke(self, sender: int, ahead: int, fee: int) -> None:
        nonce = max(0, self.nonces[sender] + ahead)
        self._add(call(sender, nonce, fee), self.nonces[sender])

    @rule(count=st.integers(0, 6))
    def block(self, count: int) -> None:
        chosen = order(self.mempool)[:count]
        self.height += 1
        self._removed(self.mempool.commit(Height(self.height), chosen))
        self.present -= {decoded.wtxid for decoded in chosen}
        for decoded in chosen:
            if isinstance(decoded.body.payload, Call):
                self.nonces[int.from_bytes(decoded.body.payload.sender, "big")] += 1

    @invariant()
    def the_books_agree(self) -> None:
        assert len(self.mempool) == len(self.present) <= 12
        entries = [self.mempool.get(wtxid) for wtxid in self.present]  # type: ignore[arg-type]
        assert all(one is not None for one in entries)
        assert self.mempool.bytes == sum(len(one.decoded.raw) for one in entries if one) <= 4000

    @invariant()
    def candidates_fit_together(self) -> None:
        spent: list[OutPoint] = []
        nonces = dict(self.nonces)
        for decoded in order(self.mempool):
            assert decoded.body.expiry > self.height
            payload = decoded.body.payload
            if isinstance(payload, Transfer):
                spent += payload.inputs
            elif isinstance(payload, Call):
                sender = int.from_bytes(payload.sender, "big")
                assert payload.nonce == nonces[sender]
                nonces[sender] += 1
        assert len(spent) == len(set(spent))


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.permutations(range(8)))
def test_nonces_in_any_order_come_out_in_order(arrivals: list[int]) -> None:
    mempool = pool(*(call(1, nonce, fee=1000 + 700 * nonce) for nonce in arrivals))
    assert [one.body.payload.nonce for one in order(mempool)] == list(range(8))  # type: ignore[union-attr]


def test_candidates_may_be_left_half_way() -> None:
    iterator: Iterator[Entry] = pool(transfer(1), transfer(2)).candidates()
    assert next(iterator).decoded == transfer(1)
