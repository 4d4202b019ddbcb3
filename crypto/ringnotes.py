"""The note of a ring coin: what its owner needs to find it, to see what it holds, and to spend it.

As long as the note of a hidden coin and sealed in the same way (`crypto.notes`); in place of 64 bytes of text there are

    t (32, little-endian) || text (32, UTF-8, filled up with zeros)

so that the key of the coin is that of the wallet plus t * H (`crypto.ringpay`). Its sender keeps a copy of amount and
blinding, too. What a note says may be untrue: who opens it recomputes key and commitment, and ignores it otherwise.
"""

from typing import Final, NamedTuple

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.hpke import Opener
from crypto.notes import TEXT_SIZE, open_parts, padded_text, seal_parts, text_of
from crypto.ristretto import ENCODING_SIZE, decode_scalar, encode_scalar

RING_TEXT_SIZE: Final = TEXT_SIZE - ENCODING_SIZE
_PURPOSE: Final = b"ring coin/1"


class RingNote(NamedTuple):
    """What the owner of a ring coin is told: what it holds, and `tweak`, the t of its key."""

    opening: Opening
    tweak: int
    text: str


def ring_note_info(chain_id: bytes, asset: bytes, key: bytes, commitment: bytes) -> bytes:
    """Return what names a ring coin in its note. A chain has each key once."""
    return chain_id + _PURPOSE + bytes([len(asset)]) + asset + key + commitment


def seal_ring_note(receiver: bytes, outgoing: bytes, info: bytes, note: RingNote) -> bytes:
    """Return the note of a ring coin.

    Args:
        receiver: the sealing key of the coin's owner.
        outgoing: the sender's outgoing view key.
        info: from `ring_note_info`.
        note: what to tell; the text has at most RING_TEXT_SIZE bytes and no zeros.

    Raises:
        Refused: BAD_KEY if nothing can be sealed to `receiver`; AMOUNT_OUT_OF_RANGE; TOO_LARGE for the text;
            BAD_ARGUMENT for a zero in it.
    """
    rest = encode_scalar(note.tweak) + padded_text(note.text, RING_TEXT_SIZE)
    return seal_parts(receiver, outgoing, info, note.opening, rest)


def open_ring_note(opener: Opener, info: bytes, note: bytes) -> RingNote:
    """Return what a note tells the owner of the coin.

    Raises:
        Refused: CANNOT_OPEN if it was sealed to another key or for another coin, or says nothing sensible.
    """
    opening, rest = open_parts(opener, info, note)
    try:
        tweak = decode_scalar(rest[:ENCODING_SIZE])
    except Refused:
        raise Refused(Reason.CANNOT_OPEN, "the note holds no way to the key of its coin") from None
    return RingNote(opening, tweak, text_of(rest[ENCODING_SIZE:]))
