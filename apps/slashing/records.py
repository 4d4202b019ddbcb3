"""Records of the slashing module.

    key                             value
    slashing/uptime/ operator       Uptime; absent for a validator that has not missed a commit of late
    slashing/jailings               Jailings: the power that was jailed for downtime in an epoch
"""

from typing import Annotated, Final

from msgspec import Meta

from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.types import Address, Height, HeightField, Unsigned

UPTIME: Final = b"slashing/uptime/"
JAILINGS: Final = b"slashing/jailings"
MAX_WINDOW_BYTES: Final = 12_500


class Uptime(Record, frozen=True):
    """Commits that a validator missed.

    Attributes:
        height: of the last commit without it.
        missed: a bit for each height of the window up to that one, big-endian: the lowest bit is `height` itself, and 1
            says that the commit for it is without the validator. A height on which it had no vote counts as signed.
        epoch: of that last commit's block.
        in_epoch: commits without it in the blocks of that epoch.
    """

    height: HeightField
    missed: Annotated[bytes, Meta(max_length=MAX_WINDOW_BYTES)]
    epoch: Unsigned
    in_epoch: Unsigned


class Jailings(Record, frozen=True):
    """The power that was jailed for downtime in this epoch."""

    epoch: Unsigned
    power: Unsigned


_uptime_codec: Final = Codec(Uptime)
_jailings_codec: Final = Codec(Jailings)


def uptime(reader: Reader, operator: bytes) -> Uptime | None:
    """Return what a validator missed, or None if it missed nothing of late."""
    value = reader.get(UPTIME + operator)
    return None if value is None else _uptime_codec.decode(value)


def set_uptime(state: Overlay, operator: Address, new: Uptime | None) -> None:
    """Write what a validator missed."""
    if new is None:
        state.delete(UPTIME + operator)
    else:
        state.put(UPTIME + operator, encode(new))


def missed_at(known: Uptime, height: int, window: int) -> int:
    """Return how many of the last `window` commits up to `height` are without the validator."""
    bits = int.from_bytes(known.missed, "big") << min(window, max(0, height - known.height))
    return (bits & ((1 << window) - 1)).bit_count()


def with_miss(known: Uptime | None, height: int, window: int, epoch: int) -> Uptime:
    """Return the record after a commit for `height`, in a block of `epoch`, that lacks the validator."""
    bits, before = 0, 0
    if known is not None:
        # a height that lies further back than the window has nothing left to say
        bits = int.from_bytes(known.missed, "big") << min(window, max(0, height - known.height))
        before = known.in_epoch if known.epoch == epoch else 0
    bits = (bits | 1) & ((1 << window) - 1)
    return Uptime(Height(height), bits.to_bytes((bits.bit_length() + 7) // 8, "big"), epoch, before + 1)


def jailed_power(reader: Reader, epoch: int) -> int:
    """Return the power that was jailed for downtime in an epoch, so far."""
    value = reader.get(JAILINGS)
    found = None if value is None else _jailings_codec.decode(value)
    return found.power if found is not None and found.epoch == epoch else 0


def set_jailed_power(state: Overlay, epoch: int, power: int) -> None:
    """Write the power that was jailed for downtime in an epoch."""
    state.put(JAILINGS, encode(Jailings(epoch, power)))
