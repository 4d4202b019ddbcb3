"""The note of a hidden coin: amount, blinding and a short text for its owner, and a copy for its sender.

    note  = sealed to the owner (HPKE, `crypto.hpke`) || copy under the sender's outgoing view key
    sealed: amount (8, big-endian) || blinding (32, little-endian) || text (64, UTF-8, filled up with zeros)
    copy:   amount || blinding, ChaCha20-Poly1305 under H("note-copy", outgoing view key || info), nonce zero

`info` names the very coin, so neither part opens beside another one. All notes have one length. What a note says may be
untrue: who opens it recomputes the commitment, and ignores a note that does not open it.
"""

from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.hpke import OVERHEAD, Opener, seal
from crypto.ristretto import ENCODING_SIZE, decode_scalar, encode_scalar

VIEW_KEY_SIZE: Final = 32
TEXT_SIZE: Final = 64
_AMOUNT_SIZE: Final = 8
_OPENING_SIZE: Final = _AMOUNT_SIZE + ENCODING_SIZE
_TAG_SIZE: Final = 16
_SEALED_SIZE: Final = OVERHEAD + _OPENING_SIZE + TEXT_SIZE
_COPY_SIZE: Final = _OPENING_SIZE + _TAG_SIZE
SIZE: Final = _SEALED_SIZE + _COPY_SIZE
_NONCE: Final = bytes(12)  # every copy has a key of its own


class Note(NamedTuple):
    """What the owner of a hidden coin is told."""

    opening: Opening
    text: str


def seal_note(receiver: bytes, outgoing: bytes, info: bytes, note: Note) -> bytes:
    """Return the note of a hidden coin: SIZE bytes.

    Args:
        receiver: the sealing key of the coin's owner.
        outgoing: the sender's outgoing view key.
        info: names the coin; `Opening` and this are never the same twice.
        note: what to tell; the text has at most TEXT_SIZE bytes and no zeros.

    Raises:
        Refused: BAD_KEY if nothing can be sealed to `receiver`; AMOUNT_OUT_OF_RANGE; TOO_LARGE for the text;
            BAD_ARGUMENT for a zero in it.
    """
    return seal_parts(receiver, outgoing, info, note.opening, padded_text(note.text, TEXT_SIZE))


def padded_text(text: str, size: int) -> bytes:
    """Return a text for a note, filled up with zeros. Raises Refused(TOO_LARGE | BAD_ARGUMENT)."""
    encoded = text.encode()
    if len(encoded) > size:
        raise Refused(Reason.TOO_LARGE, f"the text of a note has {len(encoded)} bytes, at most {size}")
    if b"\0" in encoded:
        raise Refused(Reason.BAD_ARGUMENT, "the text of a note has no zeros")
    return encoded.ljust(size, b"\0")


def text_of(padded: bytes) -> str:
    """Return the text of `padded_text`; nothing for bytes that are no text."""
    try:
        return padded.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return ""


def seal_parts(receiver: bytes, outgoing: bytes, info: bytes, opening: Opening, rest: bytes) -> bytes:
    """Return a note of SIZE bytes; as `seal_note`, with TEXT_SIZE bytes of any kind in place of the text.

    Raises:
        Refused: BAD_KEY, AMOUNT_OUT_OF_RANGE.
    """
    if not 0 <= opening.amount < 1 << 8 * _AMOUNT_SIZE:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "an amount has 64 bits")
    plain = opening.amount.to_bytes(_AMOUNT_SIZE, "big") + encode_scalar(opening.blinding)
    sealed = seal(receiver, info, plain + rest)
    return sealed + _copy_cipher(outgoing, info).encrypt(_NONCE, plain, None)


def open_note(opener: Opener, info: bytes, note: bytes) -> Note:
    """Return what a note tells the owner of the coin.

    Raises:
        Refused: CANNOT_OPEN if it was sealed to another key or for another coin, or says nothing sensible.
    """
    opening, rest = open_parts(opener, info, note)
    return Note(opening, text_of(rest))


def open_parts(opener: Opener, info: bytes, note: bytes) -> tuple[Opening, bytes]:
    """Return opening and rest of what `seal_parts` sealed. Raises Refused(CANNOT_OPEN)."""
    if len(note) != SIZE:
        raise Refused(Reason.CANNOT_OPEN, f"a note has {SIZE} bytes, not {len(note)}")
    plain = opener.open(info, note[:_SEALED_SIZE])
    if len(plain) != _OPENING_SIZE + TEXT_SIZE:
        raise Refused(Reason.CANNOT_OPEN, "the note holds no opening of a commitment")
    return _opening(plain[:_OPENING_SIZE]), plain[_OPENING_SIZE:]


def open_copy(outgoing: bytes, info: bytes, note: bytes) -> Opening:
    """Return what the coin holds, to the one who sent it.

    Raises:
        Refused: CANNOT_OPEN if somebody else sent it, or another coin, or it says nothing sensible.
    """
    if len(note) != SIZE:
        raise Refused(Reason.CANNOT_OPEN, f"a note has {SIZE} bytes, not {len(note)}")
    try:
        return _opening(_copy_cipher(outgoing, info).decrypt(_NONCE, note[_SEALED_SIZE:], None))
    except InvalidTag:
        raise Refused(Reason.CANNOT_OPEN, "the copy was made with another key or for another coin") from None


def _copy_cipher(outgoing: bytes, info: bytes) -> ChaCha20Poly1305:
    if len(outgoing) != VIEW_KEY_SIZE:
        raise Refused(Reason.BAD_KEY, f"a view key has {VIEW_KEY_SIZE} bytes, not {len(outgoing)}")
    return ChaCha20Poly1305(digest(Label.NOTE_COPY, outgoing + info))


def _opening(plain: bytes) -> Opening:
    try:
        blinding = decode_scalar(plain[_AMOUNT_SIZE:])
    except Refused:
        raise Refused(Reason.CANNOT_OPEN, "the note holds no opening of a commitment") from None
    return Opening(int.from_bytes(plain[:_AMOUNT_SIZE], "big"), blinding)
