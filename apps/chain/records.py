"""Records of the chain about itself: everything that the validity of a block depends on besides accounts and outputs.

    key                              value
    chain/params                     ChainParams
    chain/security                   SecurityParams
    chain/load                       Load: how busy the last blocks were, and how hard transactions' hashcash is for it
    chain/anchor/ block id           height and difficulty after that block (8 + 1 bytes); only the last A have one
    chain/recent/ height             block id at that height; the same A blocks, to forget them in time
    chain/beacon                     beacon of the next block, raw: it changes after the last block of an epoch
    chain/sets                       Numbers of the kept changes of the validator set
    chain/change/ number             SetChange: who votes from which height on
    chain/set/ hash                  KeptSet: that ValidatorSet, without the keys, which are most of its bytes
    chain/key/ address               public key of a validator of some kept set, raw
    chain/uses/ address              number of kept sets that name it
    chain/starts/ hash               number of kept changes that name that set
    chain/priorities                 proposer priorities of the next height, in set order
    chain/fees                       fees that wait for the next block's commit
    chain/evidence/ offence          height at which it was recorded
    chain/offences                   Numbers of the recorded offences
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
CHANGE: Final = b"chain/change/"
SET: Final = b"chain/set/"
STARTS: Final = b"chain/starts/"
KEY: Final = b"chain/key/"
USES: Final = b"chain/uses/"
PRIORITIES: Final = b"chain/priorities"
FEES: Final = b"chain/fees"
EVIDENCE: Final = b"chain/evidence/"
OFFENCES: Final = b"chain/offences"
OFFENCE: Final = b"chain/offence/"


class SetChange(Record, frozen=True):
    """From height `start` on, the validator set with this hash votes."""

    start: HeightField
    hash: Hash32


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


class Numbers(Record, frozen=True):
    """What is on record has the numbers `first` .. `end` - 1."""

    first: Unsigned
    end: Unsigned


_params_codec: Final = Codec(ChainParams)
_numbers_codec: Final = Codec(Numbers)
_load_codec: Final = Codec(Load)
_security_codec: Final = Codec(SecurityParams)
_change_codec: Final = Codec(SetChange)
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


def _change_key(number: int) -> bytes:
    return CHANGE + number.to_bytes(8, "big")


def _changes(reader: Reader) -> Numbers:
    return _numbers_codec.decode(required(reader, SETS))


def _change(reader: Reader, number: int) -> SetChange:
    return _change_codec.decode(required(reader, _change_key(number)))


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
    numbers = _changes(reader)
    number = _number_at(reader, numbers, height)
    if number < numbers.first:
        raise Refused(Reason.NOT_AVAILABLE, f"the validator set of height {height} is no longer kept")
    return _load_set(reader, _change(reader, number).hash)


def _number_at(reader: Reader, numbers: Numbers, height: int) -> int:
    """Return the number of the last change that starts at or below a height; the one before the first if none does.

    Mostly one of the last three is asked for; any other costs a binary search.
    """
    low, high = numbers.first - 1, numbers.end - 1
    for number in range(high, max(low, high - 3), -1):
        if _change(reader, number).start <= height:
            return number
        high = number - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _change(reader, middle).start <= height:
            low = middle
        else:
            high = middle - 1
    return low


def set_validators(state: Overlay, start: int, validators: ValidatorSet) -> None:
    """Let a set vote from height `start` on. A change decided at height H starts at H + 2."""
    numbers = Numbers(0, 0) if state.get(SETS) is None else _changes(state)
    starts = read_number(state, STARTS + validators.hash)
    if not starts:
        _keep_set(state, validators)
    write_number(state, STARTS + validators.hash, starts + 1)
    end = numbers.end
    while end > numbers.first and _change(state, end - 1).start >= start:
        end -= 1
        _drop_change(state, end)
    state.put(_change_key(end), encode(SetChange(Height(start), validators.hash)))
    state.put(SETS, encode(Numbers(numbers.first, end + 1)))


def forget_old_sets(state: Overlay, oldest: int) -> None:
    """Drop the sets that voted only on heights below `oldest`."""
    numbers = _changes(state)
    first = numbers.first
    while first + 1 < numbers.end and _change(state, first + 1).start <= oldest:
        _drop_change(state, first)
        first += 1
    if first != numbers.first:
        state.put(SETS, encode(Numbers(first, numbers.end)))


def _drop_change(state: Overlay, number: int) -> None:
    """Delete a change, and its set if no other one names it."""
    set_hash = _change(state, number).hash
    state.delete(_change_key(number))
    starts = read_number(state, STARTS + set_hash) - 1
    write_number(state, STARTS + set_hash, starts)
    if not starts:
        _drop_set(state, set_hash)


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
    state.put(OFFENCES, encode(Numbers(known.first, known.end + 1)))


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
        state.put(OFFENCES, encode(Numbers(first, known.end)))


def _offences(reader: Reader) -> Numbers:
    value = reader.get(OFFENCES)
    return Numbers(0, 0) if value is None else _numbers_codec.decode(value)
