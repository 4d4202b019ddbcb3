"""The addresses that a node knows: signed records in buckets, so that no single source can fill the book.

Two tables, after Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network" (2015), section 7:

- NEW: records that somebody told. The bucket follows from a secret, the prefix of the source and the prefix of the
  address, so that all that one source tells falls into SOURCE_BUCKETS of the NEW_BUCKETS: it fills its share at most.
- TRIED: records of nodes that we have reached ourselves. The bucket follows from the secret and the address's prefix,
  so that one prefix has TRIED_SHARE of the TRIED_BUCKETS.

A prefix is a /64; addresses of the loopback count singly if `loopback_exempt` (see `p2p.config.Limits`). Who was
reached does not make room for who was only heard of.
"""

import ipaddress
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import Refused
from crypto.hashing import Label, digest
from p2p.bans import Ban
from p2p.network import PeerAddress, PeerId
from p2p.prefix import prefix_group
from p2p.records import MAX_RECORD, SignedRecord, check_record
from state.encoding import Codec, Record, encode
from state.types import ChainId, Unsigned

NEW_BUCKETS: Final = 64
SOURCE_BUCKETS: Final = 16
"""NEW buckets that one source's prefix reaches: a quarter."""
TRIED_BUCKETS: Final = 16
TRIED_SHARE: Final = 2
"""TRIED buckets that one prefix reaches."""
BUCKET_SIZE: Final = 32
MAX_ENTRIES: Final = (NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_SIZE
MAX_FAILURES: Final = 6
"""Failed dials in a row after which a record that was never reached is dropped."""
RETRY_LEAST: Final = 2.0
RETRY_MOST: Final = 600.0
"""Seconds: wait after a failed dial, doubled each time between these."""
MAX_BOOK: Final = MAX_ENTRIES * (MAX_RECORD + 128) + (1 << 20)
SECRET_SIZE: Final = 32


class Table(StrEnum):
    """What is known of an address."""

    NEW = "new"
    TRIED = "tried"


class StoredEntry(Record, frozen=True):
    """One record in the file. `source` is the prefix of who told it; `reached` is in ms since 1970, 0 for never."""

    signed: SignedRecord
    source: Annotated[str, Meta(max_length=64)]
    reached: Unsigned


class StoredBook(Record, frozen=True, tag=1):
    """The file: the book's secret, its entries, and who is shut out."""

    secret: Annotated[bytes, Meta(min_length=SECRET_SIZE, max_length=SECRET_SIZE)]
    entries: Annotated[tuple[StoredEntry, ...], Meta(max_length=MAX_ENTRIES)]
    bans: Annotated[tuple[Ban, ...], Meta(max_length=8192)]


book_codec: Final = Codec(StoredBook, MAX_BOOK)


@dataclass(slots=True)
class Entry:
    """A record and our own experience with it. Times in ms since 1970; `tries` counts failed dials in a row."""

    peer_id: PeerId
    signed: SignedRecord
    source: str
    reached: int = 0
    tries: int = 0
    next_try: int = 0

    @property
    def address(self) -> PeerAddress:
        """Where to dial next: each failure moves on to the next address of the record."""
        addresses = self.signed.record.addresses
        return addresses[self.tries % len(addresses)]


class AddressBook:
    """The book of one node.

    Args:
        chain_id: records of another chain are refused.
        own: our own node id, which is never kept.
        secret: 32 random bytes that nobody else knows: where a record falls cannot be aimed.
        loopback_exempt: count loopback addresses singly.
        rng: draws who is told and dialled.
    """

    def __init__(
        self, chain_id: ChainId, own: PeerId, secret: bytes, loopback_exempt: bool, rng: random.Random
    ) -> None:
        self._chain_id = chain_id
        self._own = own
        self._secret = secret
        self._exempt = loopback_exempt
        self._random = rng
        self._entries: dict[PeerId, Entry] = {}
        self._tables: dict[tuple[Table, int], list[PeerId]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, peer_id: PeerId) -> Entry | None:
        """Return what is known of a peer."""
        return self._entries.get(peer_id)

    def entries(self) -> tuple[Entry, ...]:
        """Return all, those reached lately first."""
        return tuple(sorted(self._entries.values(), key=lambda entry: -entry.reached))

    def add(self, signed: SignedRecord, source: str, now: int) -> bool:
        """Take a record that somebody told; return whether the book changed.

        Args:
            signed: decoded, not verified.
            source: who told it, as `p2p.prefix.prefix_group` counts it.
            now: ms since 1970.

        Raises:
            Refused: as `check_record`: no honest node passes on such a record.
        """
        record = signed.record
        peer_id = record.peer_id
        known = self._entries.get(peer_id)
        if peer_id == self._own or not record.places:
            return False
        if known is not None and known.signed.record.epoch >= record.epoch:
            return False
        check_record(signed, self._chain_id, now)
        if known is None:
            return self._put(Entry(peer_id, signed, source), now)
        # its owner made a new one: our experience stays, unless it moved
        moved = known.signed.record.places != record.places
        self._remove(known)
        return self._put(Entry(peer_id, signed, known.source, 0 if moved else known.reached), now)

    def reached(self, peer_id: PeerId, now: int) -> None:
        """We have connected with it ourselves."""
        entry = self._entries.get(peer_id)
        if entry is None:
            return
        self._remove(entry)
        entry.reached, entry.tries, entry.next_try = now, 0, 0
        self._put(entry, now)

    def failed(self, peer_id: PeerId, now: int) -> None:
        """A dial failed: wait before the next, and drop what was never reached after MAX_FAILURES."""
        entry = self._entries.get(peer_id)
        if entry is None:
            return
        entry.tries += 1
        entry.next_try = now + round(1000 * min(RETRY_LEAST * 2.0**entry.tries, RETRY_MOST))
        if entry.tries >= MAX_FAILURES and not entry.reached:
            self._remove(entry)

    def forget(self, peer_id: PeerId) -> None:
        """Drop a peer."""
        entry = self._entries.get(peer_id)
        if entry is not None:
            self._remove(entry)

    def pick(self, now: int, allowed: Callable[[Entry], bool], without: Collection[PeerId] = ()) -> Entry | None:
        """Draw whom to dial next: a table by a fair coin, then evenly among those whose time has come.

        The coin is why an attacker who fills NEW is dialled no more than half of the time.
        """
        ready = [
            entry for entry in self._entries.values()
            if entry.next_try <= now and entry.peer_id not in without and allowed(entry)
        ]
        tried = [entry for entry in ready if entry.reached]
        new = [entry for entry in ready if not entry.reached]
        first, second = (tried, new) if self._random.random() < 0.5 else (new, tried)
        pool = first or second
        return self._random.choice(pool) if pool else None

    def sample(self, most: int, without: Collection[PeerId]) -> tuple[SignedRecord, ...]:
        """Draw records to pass on, of nodes that we reached ourselves: hearsay is not repeated."""
        pool = [
            entry.signed for entry in self._entries.values()
            if entry.reached and not entry.tries and entry.peer_id not in without
        ]
        return tuple(self._random.sample(pool, min(most, len(pool))))

    # ---- the file

    def stored(self, bans: Iterable[Ban]) -> bytes:
        """Return the file."""
        entries = tuple(StoredEntry(entry.signed, entry.source, entry.reached) for entry in self._entries.values())
        return encode(StoredBook(self._secret, entries, tuple(bans)))

    def restore(self, stored: StoredBook, now: int) -> int:
        """Take over what an earlier run wrote; return how many entries still hold. Signatures are checked again."""
        for item in stored.entries:
            try:
                check_record(item.signed, self._chain_id, now)
            except Refused:
                continue
            peer_id = item.signed.record.peer_id
            if peer_id != self._own and peer_id not in self._entries and item.signed.record.places:
                self._put(Entry(peer_id, item.signed, item.source, item.reached), now)
        return len(self._entries)

    # ---- buckets

    def _put(self, entry: Entry, now: int) -> bool:
        table, number = self._place(entry)
        bucket = self._tables.setdefault((table, number), [])
        if len(bucket) >= BUCKET_SIZE:
            worst = min((self._entries[peer_id] for peer_id in bucket), key=lambda old: (-old.tries, old.reached))
            if table is Table.NEW and not worst.tries and worst.signed.record.epoch > now - 24 * 3600 * 1000:
                return False  # nothing bad is known of anybody here: first come, first served
            self._remove(worst)
        bucket.append(entry.peer_id)
        self._entries[entry.peer_id] = entry
        return True

    def _remove(self, entry: Entry) -> None:
        self._tables[self._place(entry)].remove(entry.peer_id)
        del self._entries[entry.peer_id]

    def _place(self, entry: Entry) -> tuple[Table, int]:
        place = entry.signed.record.places[0]
        group = prefix_group(str(ipaddress.IPv6Address(place.host)), self._exempt, place.port)
        if entry.reached:
            share = self._number(group, entry.peer_id.hex()) % TRIED_SHARE
            return Table.TRIED, self._number("tried", group, str(share)) % TRIED_BUCKETS
        share = self._number(entry.source, group) % SOURCE_BUCKETS
        return Table.NEW, self._number("new", entry.source, str(share)) % NEW_BUCKETS

    def _number(self, *parts: str) -> int:
        return int.from_bytes(digest(Label.ADDRESS_BOOK, encode((self._secret, *parts)))[:8], "big")
