"""Changes and overlays: what a block does to records, forwards and backwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from state.changes import Changes, Overlay
from state.encoding import encode

VALUES = st.none() | st.binary(max_size=4)
CHANGES = st.dictionaries(st.binary(max_size=4), st.tuples(VALUES, VALUES), max_size=8).map(Changes)


class Base:
    def __init__(self, records: dict[bytes, bytes]) -> None:
        self.records = records

    def get(self, key: bytes) -> bytes | None:
        return self.records.get(key)


@given(CHANGES)
def test_round_trip(changes: Changes) -> None:
    assert Changes.decode(changes.encode()) == changes
    assert changes.invert().invert() == changes
    assert len(changes) == len(list(changes))


@given(CHANGES)
def test_order_does_not_matter(changes: Changes) -> None:
    backwards = Changes(dict(reversed(list(changes.entries.items()))))
    assert backwards.encode() == changes.encode()


def test_changes_out_of_order_or_twice_are_refused() -> None:
    for keys in ([b"b", b"a"], [b"a", b"a"]):
        with pytest.raises(Refused) as refused:
            Changes.decode(encode([(key, (), (b"x",)) for key in keys]))
        assert refused.value.reason is Reason.NOT_CANONICAL


def test_more_than_one_value_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        Changes.decode(encode([(b"a", (b"1", b"2"), ())]))
    assert refused.value.reason is Reason.MALFORMED


@given(
    st.dictionaries(st.binary(max_size=1), st.binary(max_size=2), max_size=6),
    st.lists(st.tuples(st.binary(max_size=1), VALUES, st.sampled_from("bkd")), max_size=20),
)
def test_overlay_against_dictionaries(
    records: dict[bytes, bytes], writes: list[tuple[bytes, bytes | None, str]]
) -> None:
    """b: write straight; k: in a branch that is kept; d: in a branch that is dropped."""
    overlay, model = Overlay(Base(records)), dict(records)
    for key, value, way in writes:
        target = overlay if way == "b" else overlay.branch()
        if value is None:
            target.delete(key)
        else:
            target.put(key, value)
        assert target.get(key) == value
        if way == "k":
            overlay.merge(target)
        if way != "d":
            model.pop(key, None)
            if value is not None:
                model[key] = value
        assert overlay.get(key) == model.get(key)
    changes = overlay.changes()
    applied = dict(records)
    for key, (before, after) in changes.entries.items():
        assert before == records.get(key) != after
        applied.pop(key, None)
        if after is not None:
            applied[key] = after
    assert applied == model
