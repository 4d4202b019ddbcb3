"""What a chain that is started from another one's state begins with: tables of records that are carried over.

A module says for each kind of record how its keys look and what becomes of a value; what is in no table stays behind.
The same tables judge a genesis document: its carried records are those that an export at height 0 gives back unchanged.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from apps.module import Export
from crypto.errors import Reason, Refused
from state.encoding import Codec, encode
from state.types import MAX_AMOUNT, Height

_number: Final[Codec[int]] = Codec(int)

Carry = Callable[[bytes, int], bytes]
"""Given a record's value and the height that the new chain begins after, returns the value there. Raises Refused."""


@dataclass(frozen=True, slots=True)
class CarriedKind:
    """One kind of record.

    Attributes:
        prefix: that its raw keys begin with.
        sizes: how many bytes may follow the prefix.
        carry: what becomes of the value.
    """

    prefix: bytes
    sizes: tuple[int, ...]
    carry: Carry


def carrying(*kinds: CarriedKind) -> Export:
    """Return the export of a module that carries these kinds of records over, and nothing else."""

    def export(records: Iterable[tuple[bytes, bytes]], height: Height) -> Iterable[tuple[bytes, bytes]]:
        for key, value in records:
            for kind in kinds:
                if key.startswith(kind.prefix) and len(key) - len(kind.prefix) in kind.sizes:
                    yield key, kind.carry(value, height)

    return export


def as_amount(value: bytes, _height: int) -> bytes:
    """Carry a number from 1 to MAX_AMOUNT. Raises Refused(MALFORMED | NOT_CANONICAL | AMOUNT_OUT_OF_RANGE)."""
    if not 0 < _number.decode(value) <= MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a record holds 1 to {MAX_AMOUNT}")
    return value


def as_record(codec: Codec[Any], rebase: Callable[[Any, int], Any] | None = None) -> Carry:
    """Carry a struct.

    Args:
        codec: of the value.
        rebase: given the struct and the height that the new chain begins after, returns it with its heights counted
            from there (`apps.module.rebased`); None if it has no heights.
    """

    def carry(value: bytes, height: int) -> bytes:
        found = codec.decode(value)
        return value if rebase is None else encode(rebase(found, height))

    return carry


def as_bytes(least: int, most: int, each: int = 1) -> Carry:
    """Carry bytes as they are: between `least` and `most` of them, a multiple of `each`."""

    def carry(value: bytes, _height: int) -> bytes:
        if not least <= len(value) <= most or len(value) % each:
            raise Refused(Reason.MALFORMED, f"{len(value)} bytes, expected {least} to {most}")
        return value

    return carry
