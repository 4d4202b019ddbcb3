"""Proofs about one record, checked against a state root alone: pure, for light clients.

One form serves both answers. For a record that exists the page holds its entry and `value` carries its bytes; for one
that does not, the page at its place does not hold it and `value` is empty.
"""

from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import Reason, Refused
from state.encoding import Codec, Record
from state.pages import (
    DIGEST,
    EMPTY_DIGEST,
    ENTRY,
    MAX_DEPTH,
    NODE_SIZE,
    PAGE_RECORDS,
    child_of,
    leaf_digest,
    leaf_in,
    node_hash,
    page_hash,
    record_count,
    state_key,
)

MAX_VALUE: Final = 1 << 20
"""Cap in bytes of a record's value in a proof."""


class StateProof(Record, frozen=True):
    """The way from a record to the state root.

    `value` holds the record's value, or nothing for a record that does not exist; `page` the entries of its page;
    `nodes` the inner nodes from the root down to the page's parent.
    """

    value: Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_VALUE)], ...], Meta(max_length=1)]
    page: Annotated[bytes, Meta(max_length=PAGE_RECORDS * ENTRY)]
    nodes: Annotated[
        tuple[Annotated[bytes, Meta(min_length=NODE_SIZE, max_length=NODE_SIZE)], ...],
        Meta(min_length=1, max_length=MAX_DEPTH),
    ]


proof_codec: Final = Codec(StateProof, max_size=MAX_VALUE + (64 << 10))


def _wrong(why: str) -> Refused:
    return Refused(Reason.BAD_PROOF, why)


def _check_page(page: bytes, path: str, depth: int) -> None:
    """Refuse a page whose entries are not in rising order or lie outside its prefix."""
    if len(page) % ENTRY:
        raise _wrong("the page is no whole number of entries")
    previous = b""
    for at in range(0, len(page), ENTRY):
        key = page[at : at + DIGEST]
        if key <= previous or key.hex()[:depth] != path[:depth]:
            raise _wrong("an entry of the page is out of place")
        previous = key


def verify_state_proof(root: bytes, raw_key: bytes, proof: StateProof) -> bytes | None:
    """Check a proof and return the record's value, or None if it proves that the record does not exist.

    Args:
        root: 32-byte state root from a trusted header (header h + 1 holds the root after block h).
        raw_key: the record's raw key.
        proof: from `proof_codec.decode`, or made in this process.

    Raises:
        Refused: BAD_PROOF.
    """
    key = state_key(raw_key)
    path = key.hex()
    expected, count = root, -1
    for depth, node in enumerate(proof.nodes):
        if len(node) != NODE_SIZE or node_hash(node) != expected:
            raise _wrong(f"the inner node at depth {depth} has another hash than its parent says")
        held = record_count(node)
        if depth and (held != count or held <= PAGE_RECORDS):
            raise _wrong(f"the inner node at depth {depth} has a wrong record count")
        expected, count = child_of(node, int(path[depth], 16))
    page, depth = proof.page, len(proof.nodes)
    if count > PAGE_RECORDS or len(page) != count * ENTRY:
        raise _wrong("the page has a wrong record count")
    if (page_hash(page) if page else EMPTY_DIGEST) != expected:
        raise _wrong("the page has another hash than its parent says")
    _check_page(page, path, depth)
    leaf = leaf_in(page, key)
    if not proof.value:
        if leaf is not None:
            raise _wrong("the record exists, but its value is missing")
        return None
    value = proof.value[0]
    if leaf is None or leaf != leaf_digest(value):
        raise _wrong("the value is not the one in the page")
    return value
