"""Snapshots of the state: a manifest that is checked against a state root, and chunks that each verify alone.

The manifest is the top of the state tree: every inner node that has more records than `limit`, in the order of a walk
from the root that enters a node before the next digit of its parent. What hangs below them, the *parts*, are pages
and inner nodes of at most `limit` records each, in rising order of hashed key. A chunk is a run of consecutive parts,
as few as hold `limit` records together; so it has less than twice as many. Everybody who knows the manifest derives the
same chunks from it, and everybody who has the state and the same `limit` makes the same manifest.

    chunk = for each record, in rising order of hashed key: length of the row (4, big-endian) || row
    row   = length of raw key (2, big-endian) || raw key || value

A part is known by its hash, which covers every key and value in their order, and by its record count: a chunk can
neither hide, add, change nor move a record. Pure functions over bytes and a `View`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import Reason, Refused
from state.columns import STATE, record_value, state_range
from state.encoding import Codec, Record
from state.pages import (
    DIGEST,
    DIGITS,
    EMPTY_DIGEST,
    EMPTY_NODE,
    ENTRY,
    FANOUT,
    NODE_SIZE,
    PAGE_RECORDS,
    child_of,
    leaf_digest,
    node_hash,
    page_hash,
    record_count,
    set_child,
    split,
    state_key,
)
from state.store import Snapshot, View
from state.types import Height, HeightField

MAX_LIMIT: Final = 1024
"""Records in a part at most."""
CHUNK_BYTES: Final = 128 << 10
"""What `limit` records shall take at most, by the size of the first SAMPLE: chunks of plain outputs have 64-256 KiB."""
SAMPLE: Final = 4096
MAX_NODES: Final = 32_768
"""Inner nodes in a manifest: enough for 30 million records and more."""
MAX_MANIFEST: Final = MAX_NODES * (NODE_SIZE + 3) + 64
"""Cap in bytes of an encoded manifest."""
MAX_CHUNK: Final = 16 << 20
"""Cap in bytes of a chunk: holds 63 records of any size that a transaction can write, which is the least `limit`."""
_LENGTH: Final = 4
_ABOVE_STATE: Final = bytes([STATE[0] + 1])

Row = tuple[bytes, bytes]
"""Hashed key, and the row of the record."""


class Manifest(Record, frozen=True):
    """The top of the state tree after block `height`: checked against the state root in header `height` + 1."""

    height: HeightField
    limit: Annotated[int, Meta(ge=PAGE_RECORDS, le=MAX_LIMIT)]
    nodes: Annotated[
        tuple[Annotated[bytes, Meta(min_length=NODE_SIZE, max_length=NODE_SIZE)], ...],
        Meta(min_length=1, max_length=MAX_NODES),
    ]


manifest_codec: Final = Codec(Manifest, max_size=MAX_MANIFEST)


@dataclass(frozen=True, slots=True)
class Part:
    """A subtree: its prefix in hexadecimal digits, its hash, and how many records it has, 1 or more."""

    prefix: str
    digest: bytes
    count: int


Chunk = tuple[Part, ...]
"""What one chunk holds."""


@dataclass(frozen=True, slots=True)
class FrozenState:
    """The state after one block, kept as it was while the chain goes on. Close it.

    Attributes:
        height: of the block.
        root: of the state.
        nodes: all inner nodes by prefix.
        view: the records.
    """

    height: Height
    root: bytes
    nodes: Mapping[str, bytes]
    view: View
    _snapshot: Snapshot

    def close(self) -> None:
        """Let go of the old versions of records."""
        self._snapshot.close()


class PatchedView:
    """A view with some rows replaced: the state as it was before the last block.

    Args:
        view: later.
        patches: row by key; None for a key that had none.
    """

    def __init__(self, view: View, patches: Mapping[bytes, bytes | None]) -> None:
        self._view = view
        self._patches = patches
        self._order = sorted(patches)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises Refused(CORRUPT_DATABASE)."""
        return self._patches[key] if key in self._patches else self._view.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < stop, in key order. Raises Refused(CORRUPT_DATABASE)."""
        patches = self._patches
        kept = (pair for pair in self._view.scan(start, stop) if pair[0] not in patches)
        put = (
            (key, row) for key in self._order if start <= key < stop and (row := patches[key]) is not None
        )
        return merge(kept, put)


# ---- making


def limit_for(view: View) -> int:
    """Return how many records a part may have: a power of two, by the size of the first rows of the state."""
    sizes = [len(row) + _LENGTH for _, row in islice(view.scan(STATE, _ABOVE_STATE), SAMPLE)]
    limit = MAX_LIMIT
    while limit > PAGE_RECORDS and limit * sum(sizes) > CHUNK_BYTES * len(sizes):
        limit //= 2
    return limit


def make_manifest(frozen: FrozenState) -> Manifest:
    """Return the manifest of a state. Raises Refused(TOO_LARGE) for more records than a manifest can speak of."""
    limit = limit_for(frozen.view)
    nodes: list[bytes] = []

    def visit(prefix: str) -> None:
        node = frozen.nodes[prefix]
        nodes.append(node)
        for digit in range(FANOUT):
            if child_of(node, digit)[1] > limit:
                visit(prefix + DIGITS[digit])

    visit("")
    if len(nodes) > MAX_NODES:
        raise Refused(Reason.TOO_LARGE, f"a snapshot of {record_count(nodes[0])} records takes {len(nodes)} nodes")
    return Manifest(frozen.height, limit, tuple(nodes))


def read_chunk(view: View, chunk: Chunk) -> bytes:
    """Return the bytes of a chunk. Raises Refused(CORRUPT_DATABASE, TOO_LARGE)."""
    rows = [row for part in chunk for _, row in view.scan(*state_range(part.prefix))]
    data = b"".join([piece for row in rows for piece in (len(row).to_bytes(_LENGTH, "big"), row)])
    if len(data) > MAX_CHUNK:
        raise Refused(Reason.TOO_LARGE, f"the records under {chunk[0].prefix} take {len(data)} bytes")
    return data


# ---- checking


def chunks_of(manifest: Manifest, root: bytes) -> tuple[Chunk, ...]:
    """Check a manifest and return its chunks.

    Args:
        manifest: from anybody.
        root: of the state after its height, from a verified header.

    Raises:
        Refused: BAD_PROOF.
    """
    waiting = iter(manifest.nodes)
    parts: list[Part] = []

    def visit(prefix: str, digest: bytes, expected: Callable[[int], bool]) -> None:
        node = next(waiting, None)
        if node is None:
            raise _wrong("nodes are missing")
        if node_hash(node) != digest:
            raise _wrong(f"the node {prefix or 'at the root'} has another hash than its parent says")
        if not expected(record_count(node)):
            raise _wrong(f"the node {prefix} has a wrong record count")
        for digit in range(FANOUT):
            child, count = child_of(node, digit)
            if count > manifest.limit:
                visit(prefix + DIGITS[digit], child, count.__eq__)
            elif count:
                parts.append(Part(prefix + DIGITS[digit], child, count))
            elif child != EMPTY_DIGEST:
                raise _wrong(f"the node {prefix} has a child without records")

    visit("", root, lambda _: True)
    if next(waiting, None) is not None:
        raise _wrong("there are nodes that are not needed")
    return tuple(_grouped(parts, manifest.limit))


def _grouped(parts: Sequence[Part], limit: int) -> Iterator[Chunk]:
    run: list[Part] = []
    records = 0
    for part in parts:
        run.append(part)
        records += part.count
        if records >= limit:
            yield tuple(run)
            run, records = [], 0
    if run:
        yield tuple(run)


def check_chunk(chunk: Chunk, data: bytes) -> list[Row]:
    """Check the bytes of a chunk and return its rows.

    Args:
        chunk: from `chunks_of`.
        data: from anybody.

    Raises:
        Refused: BAD_PROOF, TOO_LARGE.
    """
    if len(data) > MAX_CHUNK:
        raise Refused(Reason.TOO_LARGE, f"a chunk of {len(data)} bytes")
    rows = list(_rows(data))
    if len(rows) != sum(part.count for part in chunk):
        raise _wrong("the chunk has another number of records than the manifest says")
    begin, last = 0, b""
    for part in chunk:
        entries = bytearray()
        for key, row in rows[begin : begin + part.count]:
            if key <= last:
                raise _wrong("the records of the chunk are not in order")
            last = key
            entries += key + leaf_digest(record_value(STATE + key, row))
        if _subtree_hash(bytes(entries), len(part.prefix)) != part.digest:
            raise _wrong(f"the records under {part.prefix} are not those that the root stands for")
        begin += part.count
    return rows


def _rows(data: bytes) -> Iterator[Row]:
    at, end = 0, len(data)
    while at < end:
        begin = at + _LENGTH
        at = begin + int.from_bytes(data[at:begin], "big")
        row = data[begin:at]
        key_end = 2 + int.from_bytes(row[:2], "big")
        if at > end or len(row) < 2 or key_end > len(row):
            raise _wrong("the chunk is cut short")
        yield state_key(row[2:key_end]), row


def _subtree_hash(entries: bytes, depth: int) -> bytes:
    """Return the hash of the page or inner node at `depth` that has these sorted entries, at least one."""
    if len(entries) <= PAGE_RECORDS * ENTRY:
        return page_hash(entries)
    if depth >= 2 * DIGEST:
        raise _wrong("more records have one key than a page may hold")
    node = bytearray(EMPTY_NODE)
    for digit, part in enumerate(split(entries, depth)):
        if part:
            set_child(node, digit, _subtree_hash(part, depth + 1), len(part) // ENTRY)
    return node_hash(bytes(node))


def _wrong(why: str) -> Refused:
    return Refused(Reason.BAD_PROOF, why)
