"""What a wallet remembers opens with its own key, whole, or not at all."""

import pytest

from crypto.errors import Reason, Refused
from node.sealed import open_record, seal_record
from state.encoding import Codec, Record


class Memory(Record, frozen=True):
    number: int


class Other(Record, frozen=True):
    text: str


KEY = b"k" * 32
codec = Codec(Memory)


def test_a_sealed_record_opens() -> None:
    content = seal_record(KEY, Memory(7))
    assert content != seal_record(KEY, Memory(7))
    assert open_record(KEY, content, codec, "it", "make it") == Memory(7)


@pytest.mark.parametrize("content", [
    b"short", seal_record(b"x" * 32, Memory(7)), seal_record(KEY, Memory(7))[:-1], seal_record(KEY, Other("7")),
])  # fmt: skip
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(Refused) as caught:
        open_record(KEY, content, codec, "it", "make it")
    assert caught.value.reason is Reason.BAD_WALLET
