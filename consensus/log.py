"""The consensus log's records and how they lie in the file; the file itself is node/consensus_log.py.

A record is `length (4) || crc32 of length and payload (4) || payload`, integers big-endian. Own votes and proposals
are synced before they leave the node, everything else rides along. After a crash the last record may be torn: what
is incomplete or wrong at the very end was never acted upon, and is cut. A wrong record with a good one after it is
damage, and the node refuses to start: the lost record may be a vote that it would then sign a second time.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final

from consensus.types import Block, Commit, Proposal, SignedOffer, ValidatorSet, Vote
from crypto.errors import Reason, Refused
from state.encoding import Codec, Record, encode
from state.types import ChainIdField, HeightField

_HEAD: Final = 8
MAX_ENTRY: Final = 80 << 20
"""Cap in bytes of one payload: the largest block and its proposal."""
_PAYLOAD_START: Final = re.compile(rb"\x92[\x01\x02\x04\x06]|\x93[\x03\x07]|\x94\x05")
"""How an entry begins: an array of two to four, and its tag. Where one could start, without trying every byte."""


class VoteEntry(Record, frozen=True, tag=1):
    """A vote that we signed, or that came from a peer and counted."""

    vote: Vote


class ProposalEntry(Record, frozen=True, tag=2):
    """A proposal that we signed, or that came from a peer and was taken."""

    proposal: Proposal


class BlockEntry(Record, frozen=True, tag=3):
    """A block with a polka in the proposal's round, and all its bodies: the valid value (PersistBlock)."""

    proposal: Proposal
    transactions: tuple[bytes, ...]


class HeightEntry(Record, frozen=True, tag=4):
    """Consensus on `height` begins: nothing before this record is needed any more."""

    height: HeightField


class ValidatorsEntry(Record, frozen=True, tag=5):
    """From `height` on this set votes on this chain. Only in the archive of votes, whose readers have no chain."""

    height: HeightField
    chain_id: ChainIdField
    validators: ValidatorSet


class OfferEntry(Record, frozen=True, tag=6):
    """What a proposal signed. Only in the archive of votes."""

    offer: SignedOffer


class FinalEntry(Record, frozen=True, tag=7):
    """A block that was undone: it is final all the same, and is executed again at the next start."""

    block: Block
    commit: Commit


LogEntry = VoteEntry | ProposalEntry | BlockEntry | HeightEntry | ValidatorsEntry | OfferEntry | FinalEntry
entry_codec: Final[Codec[LogEntry]] = Codec(LogEntry, max_size=MAX_ENTRY)  # type: ignore[arg-type]


def message_entry(message: Proposal | Vote) -> VoteEntry | ProposalEntry:
    """Return the entry of a message."""
    return VoteEntry(message) if isinstance(message, Vote) else ProposalEntry(message)


def encode_entry(entry: LogEntry) -> bytes:
    """Return the record's bytes, to be appended to the file."""
    payload = encode(entry)
    length = len(payload).to_bytes(4, "big")
    return length + _crc(length, payload) + payload


def decode_entries(raw: bytes) -> tuple[tuple[LogEntry, ...], int]:
    """Return the entries of a whole file, and the length of its good part: cut the file there.

    Raises:
        Refused: CORRUPT_LOG if a record before the last one is damaged, or one is whole but no known entry.
    """
    entries: list[LogEntry] = []
    offset = 0
    while offset < len(raw):
        end = _record_end(raw, offset)
        if end is None:
            _check_torn(raw, offset)
            break
        try:
            entries.append(entry_codec.decode(raw[offset + _HEAD : end]))
        except Refused as error:
            raise Refused(Reason.CORRUPT_LOG, f"the record at byte {offset} is not readable: {error}") from None
        offset = end
    return tuple(entries), offset


def entries_of(entries: Sequence[LogEntry], height: int) -> tuple[LogEntry, ...]:
    """Return the entries that belong to one height."""
    return tuple(entry for entry in entries if height_of(entry) == height)


def height_of(entry: LogEntry) -> int:
    """Return the height that an entry belongs to."""
    if isinstance(entry, HeightEntry | ValidatorsEntry):
        return entry.height
    if isinstance(entry, FinalEntry):
        return entry.block.header.height
    if isinstance(entry, OfferEntry):
        return entry.offer.height
    return entry.vote.height if isinstance(entry, VoteEntry) else entry.proposal.height


def _crc(length: bytes, payload: bytes) -> bytes:
    return zlib.crc32(payload, zlib.crc32(length)).to_bytes(4, "big")


def _record_end(raw: bytes, offset: int) -> int | None:
    """Return where the record at `offset` ends, or None if there is no whole and right one."""
    length = raw[offset : offset + 4]
    end = offset + _HEAD + int.from_bytes(length, "big")
    if len(length) < 4 or end - offset - _HEAD > MAX_ENTRY or end > len(raw):
        return None
    payload = raw[offset + _HEAD : end]
    return end if _crc(length, payload) == raw[offset + 4 : offset + _HEAD] else None


def _check_torn(raw: bytes, offset: int) -> None:
    """Make sure that what begins at `offset` is a torn tail: no good record follows anywhere."""
    for match in _PAYLOAD_START.finditer(raw, offset + _HEAD + 1):
        if _record_end(raw, match.start() - _HEAD) is not None:
            raise Refused(Reason.CORRUPT_LOG, f"damage at byte {offset}, and good records after it")
