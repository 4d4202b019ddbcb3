"""The books: typed records over an overlay."""

import pytest

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state import ledger, records
from state.changes import Overlay
from state.records import Asset, Lock, asset_id, asset_text, outpoint_of, output_key, split_balance_key
from state.transaction import Coin, Memo, OutPoint, Output, State
from state.types import MAX_AMOUNT, NATIVE, Address, Amount, AssetId, Height, TxId

ALICE, BOB = Address(b"\x01" * 32), Address(b"\x02" * 32)
GOLD = asset_id(ALICE, "gold")
TX = TxId(b"\x07" * 32)


@pytest.fixture
def state() -> Overlay:
    return Overlay({})


def reason_of(call: object, *arguments: object) -> Reason:
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.reason


def test_balances(state: Overlay) -> None:
    ledger.credit(state, ALICE, NATIVE, 5)
    ledger.credit(state, ALICE, GOLD, 7)
    ledger.debit(state, ALICE, NATIVE, 2)
    assert [ledger.balance(state, ALICE, asset) for asset in (NATIVE, GOLD)] == [3, 7]
    assert reason_of(ledger.debit, state, ALICE, NATIVE, 4) is Reason.INSUFFICIENT_FUNDS
    assert reason_of(ledger.debit, state, BOB, NATIVE, 1) is Reason.INSUFFICIENT_FUNDS
    ledger.credit(state, ALICE, NATIVE, MAX_AMOUNT - 3)
    assert reason_of(ledger.credit, state, ALICE, NATIVE, 1) is Reason.AMOUNT_OUT_OF_RANGE


def test_nothing_is_no_record(state: Overlay) -> None:
    ledger.credit(state, ALICE, NATIVE, 5)
    ledger.debit(state, ALICE, NATIVE, 5)
    ledger.set_allowance(state, ALICE, BOB, NATIVE, 1)
    ledger.set_allowance(state, ALICE, BOB, NATIVE, 0)
    ledger.add_lock(state, ALICE, b"l" * 32, Lock(NATIVE, Amount(1), Height(1)))
    ledger.remove_lock(state, ALICE, b"l" * 32)
    ledger.set_frozen(state, ALICE, GOLD, True)
    ledger.set_frozen(state, ALICE, GOLD, False)
    ledger.set_supply(state, GOLD, 0)
    ledger.add_output(state, TX, 0, Coin(NATIVE, ALICE, Amount(1)))
    ledger.spend_output(state, OutPoint(TX, 0))
    assert len(state.changes()) == 0


def test_locks_keep_their_order(state: Overlay) -> None:
    identities = [bytes([number]) * 32 for number in (3, 1, 2)]
    for identity in identities:
        ledger.add_lock(state, ALICE, identity, Lock(GOLD, Amount(1), Height(9)))
    assert ledger.lock_ids(state, ALICE) == tuple(identities)
    assert ledger.lock(state, ALICE, identities[0]) == Lock(GOLD, Amount(1), Height(9))
    ledger.remove_lock(state, ALICE, identities[1])
    assert ledger.lock_ids(state, ALICE) == (identities[0], identities[2])
    assert reason_of(ledger.remove_lock, state, ALICE, identities[1]) is Reason.LOCK_NOT_FOUND
    assert reason_of(ledger.remove_lock, state, BOB, identities[0]) is Reason.LOCK_NOT_FOUND


def test_keys(state: Overlay) -> None:
    key = b"\x01" + b"k" * 1793
    mark = Address(digest(Label.ADDRESS, key))
    assert ledger.public_key(state, ALICE) is None and ledger.key_owner(state, mark) is None
    ledger.register_key(state, ALICE, key)
    ledger.register_key(state, BOB, key)
    assert ledger.public_key(state, BOB) == key
    assert ledger.key_owner(state, mark) == ALICE  # the first stays
    ledger.set_nonce(state, ALICE, 4)
    assert (ledger.nonce(state, ALICE), ledger.nonce(state, BOB)) == (4, 0)


@pytest.mark.parametrize("output", [
    Coin(GOLD, ALICE, Amount(MAX_AMOUNT)),
    Memo(bytes(32), ALICE, NATIVE, bytes(32), b"data", Height(1), Height(2)),
    State(3, bytes(32), ALICE, NATIVE, bytes(32), (b"", b"x"), Height(0), Height(2**63 - 1)),
])  # fmt: skip
def test_outputs_come_back(state: Overlay, output: Output) -> None:
    ledger.add_output(state, TX, 2**32 - 1, output)
    place = OutPoint(TX, 2**32 - 1)
    assert ledger.output(state, place) == output
    assert ledger.spend_output(state, place) == output
    assert ledger.output(state, place) is None
    assert reason_of(ledger.spend_output, state, place) is Reason.OUTPUT_NOT_FOUND


def test_assets(state: Overlay) -> None:
    asset = Asset(ALICE, "gold", 2, True, False, True)
    ledger.add_asset(state, GOLD, asset)
    ledger.set_supply(state, GOLD, 9)
    ledger.set_frozen(state, BOB, GOLD, True)
    assert ledger.asset(state, GOLD) == asset and ledger.asset(state, NATIVE) is None
    assert ledger.supply(state, GOLD) == 9
    assert [ledger.is_frozen(state, one, GOLD) for one in (ALICE, BOB)] == [False, True]
    assert not ledger.is_frozen(state, BOB, NATIVE)
    assert reason_of(ledger.set_supply, state, GOLD, MAX_AMOUNT + 1) is Reason.AMOUNT_OUT_OF_RANGE


def test_keys_of_records_differ_and_come_back() -> None:
    assert outpoint_of(output_key(TX, 258)) == OutPoint(TX, 258)
    for asset in (NATIVE, GOLD):
        assert split_balance_key(records.balance_key(ALICE, asset)) == (ALICE, asset)
    assert asset_id(ALICE, "gold") != asset_id(BOB, "gold") != asset_id(BOB, "tin")
    assert (asset_text(NATIVE), asset_text(AssetId(b"\xab" * 32))) == ("unxs", "ab" * 32)
    assert records.lock_id(TX, 0) != records.lock_id(TX, 1)


class Counting(dict[bytes, bytes]):
    """A reader that counts what is read."""

    reads = 0

    def get(self, key: bytes, default: object = None) -> bytes | None:  # type: ignore[override]
        self.reads += 1
        return super().get(key)


def test_an_overlay_reads_its_base_once() -> None:
    base = Counting({b"a": b"1"})
    state = Overlay(base)
    for _ in range(3):
        assert (state.get(b"a"), state.get(b"b")) == (b"1", None)
    state.put(b"a", b"2")
    state.put(b"b", b"1")
    assert state.changes().entries == {b"a": (b"1", b"2"), b"b": (None, b"1")}
    assert base.reads == 2


def test_created_records_are_not_looked_up() -> None:
    base = Counting()
    state = Overlay(base)
    branch = state.branch()
    branch.create(b"new", b"1")
    state.merge(branch)
    state.create(b"other", b"2")
    state.delete(b"other")
    assert state.changes().entries == {b"new": (None, b"1")}
    assert base.reads == 0


def test_branches_are_kept_or_dropped() -> None:
    state = Overlay({b"a": b"1"})
    dropped = state.branch()
    dropped.put(b"a", b"9")
    kept = state.branch()
    kept.delete(b"a")
    nested = kept.branch()
    nested.put(b"c", b"3")
    kept.merge(nested)
    state.merge(kept)
    assert state.changes().entries == {b"a": (b"1", None), b"c": (None, b"3")}
    undone = state.changes().invert()
    assert undone.entries == {b"a": (None, b"1"), b"c": (b"3", None)}
