"""The cache of records: bounded, and never wrong."""

from hypothesis import given
from hypothesis import strategies as st

from state.values import ENTRY_BYTES, Missing, ValueCache


@given(st.lists(st.tuples(st.binary(max_size=1), st.none() | st.binary(max_size=9), st.booleans()), max_size=60))
def test_it_never_answers_wrongly(steps: list[tuple[bytes, bytes | None, bool]]) -> None:
    cache, model = ValueCache(5 * ENTRY_BYTES), dict[bytes, bytes | None]()
    for key, value, drop in steps:
        if drop:
            cache.drop(key)
        else:
            cache.put(key, value)
            model[key] = value
        held = [key for key in model if not isinstance(cache.get(key), Missing)]
        assert all(cache.get(key) == model[key] for key in held)
        assert sum(ENTRY_BYTES + len(key) + len(model[key] or b"") for key in held) <= 5 * ENTRY_BYTES


def test_the_oldest_goes_first() -> None:
    cache = ValueCache(4 * ENTRY_BYTES)
    for number in range(5):
        cache.put(bytes([number]), b"x")
    kept = [number for number in range(5) if not isinstance(cache.get(bytes([number])), Missing)]
    assert kept == list(range(5 - len(kept), 5))
    assert kept
