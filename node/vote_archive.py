"""The votes of past heights, for accountability: the log of the height in progress is cut at every block, these stay.

Two files take turns: when one holds enough heights or bytes, the other is emptied and goes on. So the votes of at
least ARCHIVED_HEIGHTS heights are there (fewer only if SEGMENT_BYTES hold less), in the records of `consensus.log`.
Each file begins with the validator set, and says when it changes: a reader needs no chain. Nothing here is synced, and
nothing in a node's behaviour depends on it. `nexus debug accountability` reads it.
"""

from typing import Final

from consensus.log import (
    LogEntry,
    OfferEntry,
    ValidatorsEntry,
    VoteEntry,
    decode_entries,
    encode_entry,
    height_of,
)
from consensus.sightings import offer_of
from consensus.types import DuplicateProposal, DuplicateVote, Evidence, Proposal, SignedOffer, Tip, Vote
from crypto.errors import Refused
from node.consensus_log import LogFile
from node.logs import logger
from state.types import Height

ARCHIVED_HEIGHTS: Final = 1000
"""Heights in one file."""
SEGMENT_BYTES: Final = 32 << 20
"""Bytes after which a file is full before that."""

_log = logger("consensus")


class VoteArchive:
    """Two files that take turns.

    Args:
        files: neither is read by anybody else.
        heights: how many one file holds.
    """

    def __init__(self, files: tuple[LogFile, LogFile], heights: int = ARCHIVED_HEIGHTS) -> None:
        self._files = list(files)
        """The one that is written first."""
        self._heights = heights
        self._first = 0
        self._size = 0
        self._set_hash = b""

    def open(self) -> None:
        """Find out where the last life stopped; cut what it did not finish, drop what is not readable."""
        firsts = []
        for file in self._files:
            raw = file.read()
            entries, good = read_entries(raw)
            if good < len(raw):
                _log.warning("the archive of votes is cut", bytes=len(raw) - good)
                file.cut(good)
            firsts.append((height_of(entries[0]) if entries else 0, good))
        if firsts[1][0] > firsts[0][0]:
            self._files.reverse()
            firsts.reverse()
        self._first, self._size = firsts[0]

    def begin(self, tip: Tip) -> None:
        """Votes of the height after a tip follow."""
        height = tip.height + 1
        if not self._size or height >= self._first + self._heights or self._size >= SEGMENT_BYTES:
            self._files.reverse()
            self._files[0].cut(0)
            self._first, self._size, self._set_hash = height, 0, b""
        if tip.validators.hash != self._set_hash:
            self._set_hash = tip.validators.hash
            self._append(ValidatorsEntry(Height(height), tip.chain_id, tip.validators))

    def add(self, message: Vote | Proposal) -> None:
        """Keep what somebody signed."""
        self._append(VoteEntry(message) if isinstance(message, Vote) else OfferEntry(offer_of(message)))

    def accuse(self, evidence: Evidence) -> None:
        """Keep both halves of a proof of double signing: one of them may have come when its height was over."""
        if isinstance(evidence, DuplicateVote):
            self.add(evidence.first)
            self.add(evidence.second)
        elif isinstance(evidence, DuplicateProposal):
            for pol_round, block_id, signature in (evidence.first, evidence.second):
                offer = SignedOffer(evidence.height, evidence.round, pol_round, block_id, signature)
                self._append(OfferEntry(offer))

    def _append(self, entry: LogEntry) -> None:
        record = encode_entry(entry)
        self._files[0].append(record)
        self._size += len(record)


def read_entries(raw: bytes) -> tuple[tuple[LogEntry, ...], int]:
    """Return what is readable of a file, and the length of that part; a damaged file counts as empty."""
    try:
        return decode_entries(raw)
    except Refused:
        return (), 0
