"""What the chain remembers of time, so that ages can be told in ms as well as in heights.

    key                  value
    chain/clock          time of the last executed block in ms
    chain/mark/ epoch    time of the last block of an epoch that is over, as long as evidence can be of it
    chain/oldest         oldest epoch of which evidence is accepted
"""

from typing import Final

from state.changes import Overlay, Reader
from state.ledger import read_number, write_number
from state.records import decode_amount, encode_amount

CLOCK: Final = b"chain/clock"
MARK: Final = b"chain/mark/"
OLDEST: Final = b"chain/oldest"


def clock(reader: Reader) -> int:
    """Return the time in ms of the last executed block; 0 before the first."""
    return read_number(reader, CLOCK)


def set_clock(state: Overlay, time: int) -> None:
    """Write the time of the block that is being executed."""
    write_number(state, CLOCK, time)


def time_mark(reader: Reader, epoch: int) -> int | None:
    """Return the time in ms of the last block of an epoch; None if it is not over, or too old for evidence."""
    value = reader.get(_mark_key(epoch))
    return None if value is None else decode_amount(value)


def add_time_mark(state: Overlay, epoch: int, time: int) -> None:
    """Write the time of the last block of an epoch."""
    state.put(_mark_key(epoch), encode_amount(time))


def oldest_epoch(reader: Reader) -> int:
    """Return the oldest epoch of which evidence is accepted."""
    return read_number(reader, OLDEST)


def forget_epoch(state: Overlay, epoch: int) -> None:
    """Drop the oldest epoch: from now on evidence is accepted of the next one at the earliest."""
    state.delete(_mark_key(epoch))
    write_number(state, OLDEST, epoch + 1)


def _mark_key(epoch: int) -> bytes:
    return MARK + epoch.to_bytes(8, "big")
