"""Records of the chain about itself: everything that the validity of a block depends on besides accounts and outputs.

    key                              value
    chain/params                     ChainParams
    chain/anchor/ block id           height of that block; only the last A blocks have one
    chain/recent/ height             block id at that height; the same A blocks, to forget them in time
    chain/beacon                     beacon of the last executed block, raw
    chain/sets                       ValidatorSets: who votes from which height on
    chain/set/ hash                  ValidatorSet
    chain/priorities                 proposer priorities of the next height, in set order
    chain/fees                       fees that wait for the next block's commit
    chain/evidence/ offence          height at which it was recorded
"""

from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from consensus.types import DuplicateVote, Evidence, ValidatorSet, validator_set_codec
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.ledger import read_number, write_number
from state.params import ChainParams
from state.types import Amount, Hash32, Height, HeightField

PARAMS: Final = b"chain/params"
ANCHOR: Final = b"chain/anchor/"
RECENT: Final = b"chain/recent/"
BEACON: Final = b"chain/beacon"
SETS: Final = b"chain/sets"
SET: Final = b"chain/set/"
PRIORITIES: Final = b"chain/priorities"
FEES: Final = b"chain/fees"
EVIDENCE: Final = b"chain/evidence/"

MAX_SET_CHANGES: Final = 100_000


class SetChange(Record, frozen=True):
    """From height `start` on, the validator set with this hash votes."""

    start: HeightField
    hash: Hash32


class ValidatorSets(Record, frozen=True):
    """Changes of the validator set, in rising order of height, as far back as evidence is accepted."""

    changes: Annotated[tuple[SetChange, ...], Meta(min_length=1, max_length=MAX_SET_CHANGES)]


_params_codec: Final = Codec(ChainParams)
_sets_codec: Final = Codec(ValidatorSets, max_size=8 << 20)
_priorities_decoder: Final = msgspec.msgpack.Decoder(tuple[int, ...])


def _required(reader: Reader, key: bytes) -> bytes:
    value = reader.get(key)
    if value is None:
        raise Refused(Reason.CORRUPT_DATABASE, f"the record {key.decode(errors='backslashreplace')} is missing")
    return value


# ---- parameters


def params(reader: Reader) -> ChainParams:
    """Return the chain's parameters. Raises Refused(CORRUPT_DATABASE) in a state without genesis."""
    return _params_codec.decode(_required(reader, PARAMS))


def set_params(state: Overlay, new: ChainParams) -> None:
    """Write the chain's parameters."""
    state.put(PARAMS, encode(new))


# ---- recent blocks


def anchor_height(reader: Reader, block_id: bytes) -> Height | None:
    """Return the height of a recent block, or None if it is no recent block."""
    value = reader.get(ANCHOR + block_id)
    return None if value is None else Height(int.from_bytes(value, "big"))


def add_recent_block(state: Overlay, height: int, block_id: bytes, window: int) -> None:
    """Remember a block as an anchor, and forget the one that leaves the window of that many blocks."""
    state.put(ANCHOR + block_id, _height_bytes(height))
    state.put(RECENT + _height_bytes(height), block_id)
    if height >= window:
        old = RECENT + _height_bytes(height - window)
        left = state.get(old)
        if left is not None:
            state.delete(old)
            state.delete(ANCHOR + left)


def _height_bytes(height: int) -> bytes:
    return height.to_bytes(8, "big")


# ---- beacon


def beacon(reader: Reader) -> bytes:
    """Return the beacon of the last executed block; 32 zero bytes at genesis."""
    return _required(reader, BEACON)


def next_beacon(previous: bytes, block_id: bytes) -> bytes:
    """Return the beacon of the block after `block_id`: H("beacon", its beacon || its id).

    A placeholder until the verifiable delay function: a proposer can try several blocks and so choose among beacons.
    """
    return digest(Label.BEACON, previous + block_id)


def set_beacon(state: Overlay, value: bytes) -> None:
    """Write the beacon of the block that is being executed."""
    state.put(BEACON, value)


# ---- validators


@lru_cache(maxsize=16)
def _decode_set(raw: bytes) -> ValidatorSet:
    """Decode a set; the same few sets are asked for at every block, and keep their hash and index once computed."""
    return validator_set_codec.decode(raw)


def validators_at(reader: Reader, height: int) -> ValidatorSet:
    """Return the set that votes on a height, from the evidence window up to two heights after the last block.

    Raises:
        Refused: NOT_AVAILABLE for a height before the window.
    """
    changes = _sets_codec.decode(_required(reader, SETS)).changes
    for change in reversed(changes):
        if change.start <= height:
            return _decode_set(_required(reader, SET + change.hash))
    raise Refused(Reason.NOT_AVAILABLE, f"the validator set of height {height} is no longer kept")


def set_validators(state: Overlay, start: int, validators: ValidatorSet) -> None:
    """Let a set vote from height `start` on. A change decided at height H starts at H + 2."""
    raw = state.get(SETS)
    known = () if raw is None else _sets_codec.decode(raw).changes
    kept = tuple(change for change in known if change.start < start)
    _write_sets(state, known, (*kept, SetChange(Height(start), validators.hash)))
    state.put(SET + validators.hash, encode(validators))


def forget_old_sets(state: Overlay, oldest: int) -> None:
    """Drop the sets that voted only on heights below `oldest`."""
    changes = _sets_codec.decode(_required(state, SETS)).changes
    first = max((index for index, change in enumerate(changes) if change.start <= oldest), default=0)
    if not first:
        return
    _write_sets(state, changes, changes[first:])


def _write_sets(state: Overlay, old: tuple[SetChange, ...], new: tuple[SetChange, ...]) -> None:
    for gone in {change.hash for change in old} - {change.hash for change in new}:
        state.delete(SET + gone)
    state.put(SETS, encode(ValidatorSets(new)))


def priorities(reader: Reader) -> tuple[int, ...]:
    """Return the proposer priorities that the height after the last executed block starts with."""
    return _priorities_decoder.decode(_required(reader, PRIORITIES))


def set_priorities(state: Overlay, new: tuple[int, ...]) -> None:
    """Write the proposer priorities of the next height."""
    state.put(PRIORITIES, encode(new))


# ---- fees


def fee_pool(reader: Reader) -> Amount:
    """Return the fees in unxs that are collected and not yet paid out."""
    return read_number(reader, FEES)


def set_fee_pool(state: Overlay, amount: int) -> None:
    """Write the fees that are collected and not yet paid out."""
    write_number(state, FEES, amount)


# ---- evidence


def offence_id(evidence: Evidence) -> bytes:
    """Return what names the offence: who, where and in what, never the signature bytes, which differ at will."""
    if isinstance(evidence, DuplicateVote):
        vote = evidence.first
        offence = (1, evidence.validator, vote.height, vote.round, int(vote.kind))
    else:
        offence = (2, evidence.validator, evidence.height, evidence.round, 0)
    return digest(Label.EVIDENCE, encode(offence))


def is_recorded(reader: Reader, evidence: Evidence) -> bool:
    """Tell whether this offence is on chain already."""
    return reader.get(EVIDENCE + offence_id(evidence)) is not None


def record_evidence(state: Overlay, evidence: Evidence, height: Height) -> None:
    """Write that an offence was seen in the block of this height."""
    state.put(EVIDENCE + offence_id(evidence), _height_bytes(height))
