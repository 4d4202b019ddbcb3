"""Notes of ring coins: who opens them, and what is no note of one."""

import secrets
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.hpke import OVERHEAD, Opener, seal, sealing_key_from_seed
from crypto.notes import SIZE, Note, open_copy, open_note, seal_note, seal_parts
from crypto.ringnotes import RING_TEXT_SIZE, RingNote, open_ring_note, ring_note_info, seal_ring_note
from crypto.ristretto import ORDER

OUTGOING = b"o" * 32
INFO = ring_note_info(b"c" * 32, b"", b"k" * 32, b"v" * 32)
NOTE = RingNote(Opening(2**64 - 1, ORDER - 1), ORDER - 2, "x" * RING_TEXT_SIZE)


@cache
def key(number: int) -> tuple[bytes, Opener]:
    public, secret = sealing_key_from_seed(bytes([number]) * 32)
    return public, Opener(secret)


def sealed(note: RingNote = NOTE, info: bytes = INFO) -> bytes:
    return seal_ring_note(key(1)[0], OUTGOING, info, note)


def reason_of(opener: Opener, info: bytes, note: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        open_ring_note(opener, info, note)
    return caught.value.reason


def test_owner_and_sender_open_it() -> None:
    for note in (NOTE, RingNote(Opening(0, 0), 0, ""), RingNote(Opening(5, 6), 7, "für dich")):
        raw = sealed(note)
        assert len(raw) == SIZE
        assert open_ring_note(key(1)[1], INFO, raw) == note
        assert open_copy(OUTGOING, INFO, raw) == note.opening


def test_nobody_else_does() -> None:
    raw = sealed()
    assert reason_of(key(2)[1], INFO, raw) is Reason.CANNOT_OPEN
    others = [
        ring_note_info(b"d" * 32, b"", b"k" * 32, b"v" * 32), ring_note_info(b"c" * 32, b"", b"l" * 32, b"v" * 32),
        ring_note_info(b"c" * 32, b"", b"k" * 32, b"w" * 32),
        ring_note_info(b"c" * 32, b"a" * 32, b"k" * 32, b"v" * 32),
    ]  # fmt: skip
    assert len({INFO, *others}) == 5
    for info in others:
        assert reason_of(key(1)[1], info, raw) is Reason.CANNOT_OPEN
    for wrong in (b"", raw[:-1], raw + b"1", bytes(SIZE)):
        assert reason_of(key(1)[1], INFO, wrong) is Reason.CANNOT_OPEN


def test_what_is_sealed_and_says_nothing() -> None:
    """A note of another kind, one whose t is no scalar, and one of another length inside."""
    hidden = seal_note(key(1)[0], OUTGOING, INFO, Note(Opening(1, 2), "ü" * 32))
    assert open_note(key(1)[1], INFO, hidden).text == "ü" * 32
    assert reason_of(key(1)[1], INFO, hidden) is Reason.CANNOT_OPEN
    wrong = seal_parts(key(1)[0], OUTGOING, INFO, Opening(1, 2), b"\xff" * 64)
    assert reason_of(key(1)[1], INFO, wrong) is Reason.CANNOT_OPEN
    bare = seal(key(1)[0], INFO, secrets.token_bytes(SIZE - 56 - OVERHEAD))
    assert reason_of(key(1)[1], INFO, bare + bytes(56)) is Reason.CANNOT_OPEN


def test_what_cannot_be_sealed() -> None:
    for note, reason in (
        (NOTE._replace(text="x" * 33), Reason.TOO_LARGE), (NOTE._replace(text="a\0"), Reason.BAD_ARGUMENT),
        (NOTE._replace(opening=Opening(2**64, 1)), Reason.AMOUNT_OUT_OF_RANGE),
    ):
        with pytest.raises(Refused) as caught:
            sealed(note)
        assert caught.value.reason is reason
    with pytest.raises(Refused) as caught:
        seal_ring_note(b"no key", OUTGOING, INFO, NOTE)
    assert caught.value.reason is Reason.BAD_KEY


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.binary(min_size=SIZE, max_size=SIZE)))
def test_hostile_bytes(raw: bytes) -> None:
    assert reason_of(key(1)[1], INFO, raw) is Reason.CANNOT_OPEN
