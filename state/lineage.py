"""The index of contracts: which States followed each other, from the first on.

    column  key                     value
    v       origin nonce (8)        height (8) || outpoint (36) of the version of that nonce
    v       origin ff * 8           height (8) || txid (32) of the transaction that ended the contract
    k       outpoint of a version   origin
    j       height                  (origin nonce) each: the rows of column v that the block at that height wrote

The origin is the outpoint (36 bytes) of the oldest version that this node saw: nonce 0, unless the contract is older
than the node's index. A height of 0 says that a version was not seen when it was made: it is of the genesis, or of a
block that this node did not execute.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from state.columns import LINEAGE, LINEAGE_NOTES, ORIGIN, corrupt, height_key
from state.receipt import Succession
from state.store import View, Write
from state.transaction import OutPoint
from state.types import HASH_SIZE, Height, TxId

_OUTPOINT: Final = HASH_SIZE + 4
_PLACE: Final = _OUTPOINT + 8
_END: Final = b"\xff" * 8
_VERSION_ROW: Final = 8 + _OUTPOINT
_END_ROW: Final = 8 + HASH_SIZE

Get = Callable[[bytes], bytes | None]
"""Reads a row of the store."""


class Version(NamedTuple):
    """One State of a contract. `height` is 0 if the node did not see it made."""

    nonce: int
    height: Height
    outpoint: OutPoint


class Ending(NamedTuple):
    """The transaction that spent the last State of a contract and made no successor."""

    height: Height
    txid: TxId


class Lineage(NamedTuple):
    """Some versions of a contract by rising nonce, and how it ended if it did.

    `next` is the nonce at which to go on, None if there are no more.
    """

    versions: tuple[Version, ...]
    end: Ending | None
    next: int | None


def outpoint_bytes(outpoint: OutPoint) -> bytes:
    """Return how the store's keys name an output: txid (32) || index (4)."""
    return outpoint.txid + outpoint.index.to_bytes(4, "big")


def _outpoint(raw: bytes) -> OutPoint:
    return OutPoint(TxId(raw[:HASH_SIZE]), int.from_bytes(raw[HASH_SIZE:], "big"))


def _place(origin: bytes, nonce: int) -> bytes:
    return origin + nonce.to_bytes(8, "big")


def lineage_rows(height: Height, successions: Iterable[Succession], get: Get) -> list[Write]:
    """Return the rows that a block adds to the index, and those that it makes useless.

    Args:
        height: of the block.
        successions: what became of States in it, in order.
        get: reads the store as it is before the block.
    """
    rows: dict[bytes, bytes | None] = {}
    noted: list[bytes] = []

    def look(key: bytes) -> bytes | None:
        return rows[key] if key in rows else get(key)

    def write(place: bytes, value: bytes) -> None:
        rows[LINEAGE + place] = value
        noted.append(place)

    at = height.to_bytes(8, "big")
    for one in successions:
        if one.spent is None:
            origin = b"" if one.made is None else outpoint_bytes(one.made)
        else:
            spent = outpoint_bytes(one.spent)
            before = look(ORIGIN + spent)
            origin = spent if before is None else before
            if before is None:
                write(_place(origin, one.nonce - 1), bytes(8) + spent)
                rows[ORIGIN + spent] = origin
            elif look(LINEAGE + _place(origin, one.nonce - 1)) is None:
                rows[ORIGIN + spent] = None  # it was pruned, and was kept for this moment alone
        if one.made is None:
            write(origin + _END, at + one.txid)
        else:
            made = outpoint_bytes(one.made)
            write(_place(origin, one.nonce), at + made)
            rows[ORIGIN + made] = origin
    if noted:
        rows[height_key(LINEAGE_NOTES, height)] = b"".join(noted)
    return list(rows.items())


def dropped_rows(height: Height, get: Get, stays: Callable[[OutPoint], bool]) -> list[Write]:
    """Return what deletes the entries of one block, because it is taken back or pruned.

    Args:
        height: of the block.
        get: reads the store.
        stays: tells whether a version's way to its origin is still needed.

    Raises:
        Refused: CORRUPT_DATABASE.
    """
    note = height_key(LINEAGE_NOTES, height)
    noted = get(note)
    if noted is None:
        return []
    rows: list[Write] = [(note, None)]
    for at in range(0, len(noted), _PLACE):
        key = LINEAGE + noted[at : at + _PLACE]
        row = get(key)
        if row is None:
            continue
        rows.append((key, None))
        if len(row) == _VERSION_ROW and not stays(_outpoint(row[8:])):
            rows.append((ORIGIN + row[8:], None))
    return rows


def lineage_of(view: View, outpoint: OutPoint, first: int, limit: int) -> Lineage | None:
    """Return versions of the contract that a State belongs to, or None if the index does not know it.

    Args:
        view: of the store.
        outpoint: of any version.
        first: the lowest nonce wanted.
        limit: how many versions at most.

    Raises:
        Refused: CORRUPT_DATABASE.
    """
    origin = view.get(ORIGIN + outpoint_bytes(outpoint))
    if origin is None:
        return None
    versions: list[Version] = []
    following: int | None = None
    start, stop = LINEAGE + _place(origin, first), LINEAGE + origin + _END
    for key, row in view.scan(start, stop):
        nonce = int.from_bytes(key[-8:], "big")
        if len(row) != _VERSION_ROW or len(key) != 1 + _PLACE:
            raise corrupt("an entry of the index of contracts")
        if len(versions) == limit:
            following = nonce
            break
        versions.append(Version(nonce, Height(int.from_bytes(row[:8], "big")), _outpoint(row[8:])))
    last = view.get(stop)
    if last is not None and len(last) != _END_ROW:
        raise corrupt("an entry of the index of contracts")
    end = None if last is None else Ending(Height(int.from_bytes(last[:8], "big")), TxId(last[8:]))
    return Lineage(tuple(versions), end, following)
