"""Strict canonical encoding: MessagePack through msgspec structs, one byte string for each value.

MessagePack lets one value be written in several ways (a small int in eight bytes, a short string with a long
header). A decoder here accepts only bytes that encode back to themselves, so a hash over received bytes is a
hash over the value. Signed data holds no maps, floats, extension types or optional fields.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec

from crypto.errors import Reason, Refused

T = TypeVar("T")

MAX_FRAME: Final = 1 << 20
"""Cap in bytes of one frame on the wire, and the default cap of one decoded value."""


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Base of every struct that is hashed, signed, stored or sent: an array of its fields in order."""


_encoder = msgspec.msgpack.Encoder()


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a struct, or of a list or tuple of such."""
    return _encoder.encode(value)


class Codec(Generic[T]):
    """Decoder of one type, with a size cap checked first.

    Args:
        kind: a Record subclass, or a tuple type of such.
        max_size: cap in bytes, checked before a byte is read.
    """

    def __init__(self, kind: type[T], max_size: int = MAX_FRAME) -> None:
        self.kind = kind
        self.name = getattr(kind, "__name__", str(kind))
        self.max_size = max_size
        self._decoder = msgspec.msgpack.Decoder(kind)

    def decode(self, raw: bytes) -> T:
        """Return the value of `raw`.

        Raises:
            Refused: TOO_LARGE, MALFORMED, or NOT_CANONICAL.
        """
        if len(raw) > self.max_size:
            raise Refused(Reason.TOO_LARGE, f"{self.name}: {len(raw)} bytes, at most {self.max_size}")
        try:
            value = self._decoder.decode(raw)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
            raise Refused(Reason.MALFORMED, f"{self.name}: {error}") from None
        if _encoder.encode(value) != raw:
            raise Refused(Reason.NOT_CANONICAL, f"{self.name}: the bytes are not the shortest form of their value")
        return value
