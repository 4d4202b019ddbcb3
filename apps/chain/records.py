"""Records of the chain about itself: everything that the validity of a block depends on besides accounts and outputs.

    key                              value
    chain/params                     ChainParams
    chain/security                   SecurityParams
    chain/load                       Load: how busy the last blocks were, and how hard transactions' hashcash is for it
    chain/anchor/ block id           height and difficulty after that block (8 + 1 bytes); only the last A have one
    chain/recent/ height             block id at that height; the same A blocks, to forget them in time
    chain/beacon                     beacon of the next block, raw: it changes after the last block of an epoch
    chain/sets                       ValidatorSets: who votes from which height on
    chain/set/ hash                  KeptSet: that ValidatorSet, without the keys, which are most of its bytes
    chain/key/ address               public key of a validator of some kept set, raw
    chain/uses/ address              number of kept sets that name it
    chain/priorities                 proposer priorities of the next height, in set order
    chain/fees                       fees that wait for the next block's commit
    chain/evidence/ offence          height at which it was recorded
    chain/offences                   Offences: numbers of the first and the next recorded offence
    chain/offence/ number            the offence's name, raw: to forget it in time
    chain/clock, mark, oldest        see `apps.chain.clock`
"""

from functools import lru_cache
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from consensus.types import (
    MAX_VALIDATORS,
    DuplicateProposal,
    DuplicateVote,
    Evidence,
    LightClientAttack,
    PowerField,
    Validator,
    ValidatorSet,
)
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.ledger import read_number, write_number
from state.params import ChainParams, SecurityParams
from state.types import AddressField, Amount, Hash32, Height, HeightField, Unsigned

PARAMS: Final = b"chain/params"
SECURITY: Final = b"chain/security"
LOAD: Final = b"chain/load"
ANCHOR: Final = b"chain/anchor/"
RECENT: Final = b"chain/recent/"
BEACON: Final = b"chain/beacon"
SETS: Final = b"chain/sets"
SET: Final = b"chain/set/"
KEY: Final = b"chain/key/"
USES: Final = b"chain/uses/"
PRIORITIES: Final = b"chain/priorities"
FEES: Final = b"chain/fees"
EVIDENCE: Final = b"chain/evidence/"
OFFENCES: Final = b"chain/offences"
OFFENCE: Final = b"chain/offence/"

MAX_SET_CHANGES: Final = 100_000


class SetChange(Record, frozen=True):
    """From height `start` on, the validator set with this hash votes."""

    start: HeightField
    hash: Hash32


class ValidatorSets(Record, frozen=True):
    """Changes of the validator set, in rising order of height, as far back as evidence is accepted."""

    changes: Annotated[tuple[SetChange, ...], Meta(min_length=1, max_length=MAX_SET_CHANGES)]


class KeptValidator(Record, frozen=True):
    """A validator of a kept set; its public key is in a record of its own, once for all sets."""

    address: AddressField
    power: PowerField
    operator: AddressField


class KeptSet(Record, frozen=True):
    """A validator set as it is stored, in the set's order."""

    validators: Annotated[tuple[KeptValidator, ...], Meta(min_length=1, max_length=MAX_VALIDATORS)]


class Load(Record, frozen=True):
    """How busy the chain is: gas wanted of a block, averaged, and the hashcash that it asks of transactions for it.

    `since` is the height at whose end the difficulty last changed.
    """

    average: Unsigned
    difficulty: Annotated[int, Meta(ge=0, le=64)]
    since: HeightField


class Anchor(NamedTuple):
    """A recent block: its height, and the hashcash that a transaction needs that names it, in leading zero bits."""

    height: Height
    difficulty: int


class Offences(Record, frozen=True):
    """Offences `first` .. `end` - 1 are on record."""

    first: Unsigned
    end: Unsigned


_params_codec: Final = Codec(ChainParams)
_offences_codec: Final = Codec(Offences)
_load_codec: Final = Codec(Load)
_security_codec: Final = Codec(SecurityParams)
_sets_codec: Final = Codec(ValidatorSets, max_size=8 << 20)
_kept_codec: Final = Codec(KeptSet)
_priorities_decoder: Final = msgspec.msgpack.Decoder(tuple[int, ...])


def required(reader: Reader, key: bytes) -> bytes:
    """Return a record that every state has. Raises Refused(CORRUPT_DATABASE) if it is missing."""
    value = reader.get(key)
    if value is None:
        raise Refused(Reason.CORRUPT_DATABASE, f"the record {key.decode(errors='backslashreplace')} is missing")
    return value


# ---- parameters


def params(reader: Reader) -> ChainParams:
    """Return the chain's parameters. Raises Refused(CORRUPT_DATABASE) in a state without genesis."""
    return _params_codec.decode(required(reader, PARAMS))


def set_params(state: Overlay, new: ChainParams) -> None:
    """Write the chain's parameters."""
    state.put(PARAMS, encode(new))


def security(reader: Reader) -> SecurityParams:
    """Return what ties stake to misbehaviour. Raises Refused(CORRUPT_DATABASE) in a state without genesis."""
    return _security_codec.decode(required(reader, SECURITY))


def set_security(state: Overlay, new: SecurityParams) -> None:
    """Write what ties stake to misbehaviour."""
    state.put(SECURITY, encode(new))


def epoch_of(height: int, epoch_length: int) -> int:
    """Return the epoch of a block: the first is 0 and has the blocks 1 .. epoch_length."""
    return (height - 1) // epoch_length


# ---- recent blocks


def anchor(reader: Reader, block_id: bytes) -> Anchor | None:
    """Return what is known of a recent block, or None if it is no recent block."""
    value = reader.get(ANCHOR + block_id)
    return None if value is None else Anchor(Height(int.from_bytes(value[:8], "big")), value[8])


def add_recent_block(state: Overlay, height: int, block_id: bytes, window: int) -> None:
    """Remember a block as an anchor, and forget the one that leaves the window of that many blocks."""
    state.put(ANCHOR + block_id, _height_bytes(height) + bytes([load(state).difficulty]))
    state.put(RECENT + _height_bytes(height), block_id)
    if height >= window:
        old = RECENT + _height_bytes(height - window)
        left = state.get(old)
        if left is not None:
            state.delete(old)
            state.delete(ANCHOR + left)


def load(reader: Reader) -> Load:
    """Return how busy the chain is. Its difficulty is for transactions that name the last executed block."""
    return _load_codec.decode(required(reader, LOAD))


def set_load(state: Overlay, new: Load) -> None:
    """Write how busy the chain is."""
    state.put(LOAD, encode(new))


def _height_bytes(height: int) -> bytes:
    return height.to_bytes(8, "big")


# ---- beacon


def beacon(reader: Reader) -> bytes:
    """Return the beacon of the next block: that of its epoch (`apps/proofs` settles it)."""
    return required(reader, BEACON)


def set_beacon(state: Overlay, value: bytes) -> None:
    """Write the beacon of the next block."""
    state.put(BEACON, value)


# ---- validators


@lru_cache(maxsize=4)
def _decode_changes(raw: bytes) -> tuple[SetChange, ...]:
    """Decode the list of changes, which is asked for several times a block and changes once an epoch."""
    return _sets_codec.decode(raw).changes


@lru_cache(maxsize=16)
def _remembered(_set_hash: bytes) -> list[ValidatorSet]:
    """Return the place of a set in memory, empty at first. Its hash says all of it, whatever state it was read from.

    The same few sets are asked for several times a block, and keep their hash and index once computed.
    """
    return []


def _load_set(reader: Reader, set_hash: bytes) -> ValidatorSet:
    """Put a kept set together. Raises Refused(CORRUPT_DATABASE) if a part is missing or the whole has another hash."""
    known = _remembered(set_hash)
    if not known:
        found = ValidatorSet(tuple(
            Validator(one.address, required(reader, KEY + one.address), one.power, one.operator)
            for one in _kept(reader, set_hash)
        ))
        if found.hash != set_hash:
            raise Refused(Reason.CORRUPT_DATABASE, f"the validator set {set_hash.hex()} is not what its hash says")
        known.append(found)
    return known[0]


def _kept(reader: Reader, set_hash: bytes) -> tuple[KeptValidator, ...]:
    return _kept_codec.decode(required(reader, SET + set_hash)).validators


def validators_at(reader: Reader, height: int) -> ValidatorSet:
    """Return the set that votes on a height, from the evidence window up to two heights after the last block.

    Raises:
        Refused: NOT_AVAILABLE for a height before the window.
    """
    changes = _decode_changes(required(reader, SETS))
    for change in reversed(changes):
        if change.start <= height:
            return _load_set(reader, change.hash)
    raise Refused(Reason.NOT_AVAILABLE, f"the validator set of height {height} is no longer kept")


def set_validators(state: Overlay, start: int, validators: ValidatorSet) -> None:
    """Let a set vote from height `start` on. A change decided at height H starts at H + 2."""
    raw = state.get(SETS)
    known = () if raw is None else _decode_changes(raw)
    kept = tuple(change for change in known if change.start < start)
    if all(change.hash != validators.hash for change in known):
        _keep_set(state, validators)
    _write_changes(state, known, (*kept, SetChange(Height(start), validators.hash)))


def forget_old_sets(state: Overlay, oldest: int) -> None:
    """Drop the sets that voted only on heights below `oldest`."""
    changes = _decode_changes(required(state, SETS))
    first = max((index for index, change in enumerate(changes) if change.start <= oldest), default=0)
    if not first:
        return
    _write_changes(state, changes, changes[first:])


def _write_changes(state: Overlay, old: tuple[SetChange, ...], new: tuple[SetChange, ...]) -> None:
    for gone in sorted({change.hash for change in old} - {change.hash for change in new}):
        _drop_set(state, gone)
    state.put(SETS, encode(ValidatorSets(new)))


def _keep_set(state: Overlay, validators: ValidatorSet) -> None:
    """Write a set, and those of its keys that no other kept set has."""
    kept = []
    for one in validators.validators:
        kept.append(KeptValidator(one.address, one.power, one.operator))
        uses = read_number(state, USES + one.address)
        if not uses:
            state.put(KEY + one.address, one.public_key)
        write_number(state, USES + one.address, uses + 1)
    state.put(SET + validators.hash, encode(KeptSet(tuple(kept))))


def _drop_set(state: Overlay, set_hash: bytes) -> None:
    """Delete a set, and those of its keys that no other kept set has."""
    for one in _kept(state, set_hash):
        uses = read_number(state, USES + one.address) - 1
        if not uses:
            state.delete(KEY + one.address)
        write_number(state, USES + one.address, uses)
    state.delete(SET + set_hash)


def priorities(reader: Reader) -> tuple[int, ...]:
    """Return the proposer priorities that the height after the last executed block starts with."""
    return _priorities_decoder.decode(required(reader, PRIORITIES))


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
    match evidence:
        case DuplicateVote(validator, vote):
            offence = (1, validator, vote.height, vote.round, int(vote.kind))
        case DuplicateProposal(validator, height, round):
            offence = (2, validator, height, round, 0)
        case LightClientAttack():
            offence = (3, evidence.validator, evidence.conflicting.height, evidence.round, 0)
    return digest(Label.EVIDENCE, encode(offence))


def is_recorded(reader: Reader, evidence: Evidence) -> bool:
    """Tell whether this offence is on chain already."""
    return reader.get(EVIDENCE + offence_id(evidence)) is not None


def record_evidence(state: Overlay, evidence: Evidence, height: Height) -> None:
    """Write that an offence was seen in the block of this height."""
    name = offence_id(evidence)
    state.put(EVIDENCE + name, _height_bytes(height))
    known = _offences(state)
    state.put(OFFENCE + _height_bytes(known.end), name)
    state.put(OFFENCES, encode(Offences(known.first, known.end + 1)))


def forget_old_evidence(state: Overlay, oldest: int) -> None:
    """Drop the offences that were recorded below height `oldest`."""
    known = _offences(state)
    first = known.first
    while first < known.end:
        name = required(state, OFFENCE + _height_bytes(first))
        if int.from_bytes(required(state, EVIDENCE + name), "big") >= oldest:
            break
        state.delete(EVIDENCE + name)
        state.delete(OFFENCE + _height_bytes(first))
        first += 1
    if first != known.first:
        state.put(OFFENCES, encode(Offences(first, known.end)))


def _offences(reader: Reader) -> Offences:
    value = reader.get(OFFENCES)
    return Offences(0, 0) if value is None else _offences_codec.decode(value)
