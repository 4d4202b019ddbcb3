"""The Store protocol: LevelDB and the store in memory answer alike."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from state.memory import MemoryStore
from state.store import Store


def test_get_put_delete(store: Store) -> None:
    assert store.get(b"a") is None
    store.write([(b"a", b"1"), (b"b", b""), (b"c", b"3")])
    assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (b"1", b"", b"3")
    store.write([(b"a", None), (b"b", b"2"), (b"absent", None)], sync=False)
    assert (store.get(b"a"), store.get(b"b")) == (None, b"2")


def test_the_last_write_of_a_batch_counts(store: Store) -> None:
    store.write([(b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"2")])
    assert list(store.scan(b"", b"z")) == [(b"b", b"2")]


def test_scan_is_ordered_and_half_open(store: Store) -> None:
    keys = [bytes([number, number ^ 0x55]) for number in range(256)]
    random.Random(1).shuffle(keys)
    store.write([(key, key[::-1]) for key in keys])
    found = list(store.scan(bytes([16]), bytes([32])))
    assert found == sorted((key, key[::-1]) for key in keys if 16 <= key[0] < 32)
    assert list(store.scan(b"\x10\x45", b"\x10\x45")) == []
    assert [key for key, _ in store.scan(b"\x10\x45", b"\x10\x45\x00")] == [b"\x10\x45"]


def test_a_scan_does_not_see_later_writes(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b"2")])
    rows = store.scan(b"", b"z")
    assert next(rows) == (b"a", b"1")
    store.write([(b"b", None), (b"c", b"3")])
    assert list(rows) == [(b"b", b"2")]


def test_a_snapshot_stays_as_it_is(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b"2")])
    snapshot = store.snapshot()
    store.write([(b"a", None), (b"c", b"3")])
    assert snapshot.get(b"a") == b"1"
    assert list(snapshot.scan(b"", b"z")) == [(b"a", b"1"), (b"b", b"2")]
    assert list(store.scan(b"", b"z")) == [(b"b", b"2"), (b"c", b"3")]
    snapshot.close()


@given(st.lists(st.lists(st.tuples(st.binary(max_size=2), st.none() | st.binary(max_size=2)), max_size=8), max_size=8))
@settings(max_examples=50)
def test_memory_against_a_dictionary(batches: list[list[tuple[bytes, bytes | None]]]) -> None:
    store, model = MemoryStore(), dict[bytes, bytes]()
    for batch in batches:
        store.write(batch)
        for key, value in batch:
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert list(store.scan(b"", b"\xff" * 3)) == sorted(model.items())
