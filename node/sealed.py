"""What a wallet remembers, sealed under a key of its own (XSalsa20 and Poly1305), to be kept in a document."""

from typing import TypeVar

import nacl.exceptions
from nacl.secret import SecretBox

from crypto.errors import Reason, Refused
from state.encoding import Codec, Record, encode

T = TypeVar("T")


def seal_record(box_key: bytes, record: Record) -> bytes:
    """Return a record sealed under a key of 32 bytes."""
    return bytes(SecretBox(box_key).encrypt(encode(record)))


def open_record(box_key: bytes, content: bytes, codec: Codec[T], what: str, remedy: str) -> T:
    """Return a sealed record.

    Args:
        box_key: 32 bytes.
        content: from `seal_record`.
        codec: decodes it.
        what: it is, for people.
        remedy: the command that makes a new one.

    Raises:
        Refused: BAD_WALLET if it is damaged, or sealed under another key.
    """
    try:
        return codec.decode(SecretBox(box_key).decrypt(content))
    except (nacl.exceptions.CryptoError, Refused):
        raise Refused(
            Reason.BAD_WALLET,
            f"{what} does not open: it is damaged or of another key; `{remedy}` makes a new one",
        ) from None
