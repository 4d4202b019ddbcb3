"""The form of the state tree: pages, inner nodes, and how they are hashed. Pure functions over bytes.

The place of a record is its hashed key, H("state-key", raw key), read as 64 hexadecimal digits. A prefix of one or
more digits is a *page* if it holds at most 32 records, else an *inner node*; the empty prefix, the root, is always an
inner node. So the shape, and with it the root, depends on the content alone and not on the order of changes.

    entry      = hashed key (32) || H("state-leaf", value) (32)
    page       = entries in rising order of hashed key;      hash = H("state-page", entries)
    inner node = 16 child hashes (32 each) || 16 record counts (4 each, big-endian);  hash = H("state-node", node)

A child without records has 32 zero bytes as its hash and the count 0.
"""

from struct import Struct
from typing import Final

from crypto.hashing import Label, hasher

PAGE_RECORDS: Final = 32
"""A prefix with more records than this is an inner node."""
DIGEST: Final = 32
ENTRY: Final = 2 * DIGEST
"""Bytes of one entry in a page."""
FANOUT: Final = 16
COUNTS_AT: Final = FANOUT * DIGEST
"""Where the counts begin in an inner node."""
NODE_SIZE: Final = COUNTS_AT + 4 * FANOUT
MAX_DEPTH: Final = 2 * DIGEST
"""Digits of a hashed key: no prefix is longer."""
EMPTY_DIGEST: Final = bytes(DIGEST)
EMPTY_NODE: Final = bytes(NODE_SIZE)
DIGITS: Final = "0123456789abcdef"
DIGIT_OF: Final = {digit: value for value, digit in enumerate(DIGITS)}

state_key: Final = hasher(Label.STATE_KEY)
"""Raw record key -> its place in the tree."""
leaf_digest: Final = hasher(Label.STATE_LEAF)
page_hash: Final = hasher(Label.STATE_PAGE)
node_hash: Final = hasher(Label.STATE_NODE)
_unpack_counts: Final = Struct(">16I").unpack_from
_pack_count: Final = Struct(">I").pack_into


def record_count(node: bytes | bytearray) -> int:
    """Return how many records an inner node holds."""
    return sum(_unpack_counts(node, COUNTS_AT))


def child_of(node: bytes | bytearray, digit: int) -> tuple[bytes, int]:
    """Return (hash, record count) of one child."""
    hash_at, count_at = digit * DIGEST, COUNTS_AT + 4 * digit
    return bytes(node[hash_at : hash_at + DIGEST]), int.from_bytes(node[count_at : count_at + 4], "big")


def set_child(node: bytearray, digit: int, digest: bytes, count: int) -> None:
    """Put (hash, record count) of one child in place."""
    hash_at = digit * DIGEST
    node[hash_at : hash_at + DIGEST] = digest
    _pack_count(node, COUNTS_AT + 4 * digit, count)


def position(page: bytes, key: bytes) -> int:
    """Return the byte offset of the first entry whose hashed key is not below `key`."""
    low, high = 0, len(page) // ENTRY
    while low < high:
        middle = (low + high) >> 1
        at = middle * ENTRY
        if page[at : at + DIGEST] < key:
            low = middle + 1
        else:
            high = middle
    return low * ENTRY


def leaf_in(page: bytes, key: bytes) -> bytes | None:
    """Return the leaf digest of a hashed key in a sorted page, or None."""
    at = position(page, key)
    return page[at + DIGEST : at + ENTRY] if page[at : at + DIGEST] == key else None


def split(entries: bytes, depth: int) -> list[bytes]:
    """Cut sorted entries that share `depth` digits into 16 parts by their next digit."""
    shift = 4 if depth % 2 == 0 else 0
    byte_at = depth // 2
    parts = []
    begin, total = 0, len(entries) // ENTRY
    for digit in range(FANOUT):
        low, high = begin, total
        while low < high:
            middle = (low + high) >> 1
            if entries[middle * ENTRY + byte_at] >> shift & 15 <= digit:
                low = middle + 1
            else:
                high = middle
        parts.append(entries[begin * ENTRY : low * ENTRY])
        begin = low
    return parts
