"""What of the staking module a chain that is started from this one's state begins with: all stake and what it earned.

The new chain counts its epochs from 0, so epochs of stake that is on its way get numbers that no epoch has
(`apps.staking.leaving.CARRIED`): such stake waits for a whole unbonding period from the new start, and no fault on the
new chain is its. Jail and the bar on the next change of key go on.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from apps.carrying import CarriedKind, as_amount, as_bytes, as_record, carrying
from apps.module import rebased
from apps.staking.leaving import (
    CARRIED_SHIFT,
    COHORTS,
    ENTRIES,
    ENTRY,
    LEAVING,
    MAX_ENTRIES,
    MOVING,
    NUMBER_SIZE,
    QUEUE,
    TARGETS,
    Entry,
    Moving,
    Queue,
)
from apps.staking.pool import Pool, Position
from apps.staking.records import (
    CANDIDATES,
    COMMISSION,
    DELEGATION,
    DELEGATIONS,
    KEY,
    MAX_CANDIDATES,
    MAX_DELEGATIONS,
    OPERATOR,
    POOL,
    Operator,
    bonded,
    find_operator,
    operator_of_key,
    power_of,
)
from crypto.errors import Reason, Refused
from state.changes import Reader
from state.encoding import Codec, encode
from state.genesis import GenesisValidator
from state.types import HASH_SIZE, Height

_EPOCHS = (LEAVING, MOVING, TARGETS)
"""Kinds of records whose keys end with an epoch."""
_entry_codec: Codec[Entry] = Codec(Entry)


def _rebase_operator(operator: Operator, height: int) -> Operator:
    """Count from the new start; 1 stands for a stay in jail that is over, since 0 would be freedom."""
    until = max(1, rebased(operator.jailed_until, height)) if operator.jailed else 0
    return replace(
        operator, jailed_until=Height(until), rotated_height=rebased(operator.rotated_height, height),
        raised=operator.raised if not height else 0,
    )


_plain = carrying(
    CarriedKind(OPERATOR, (HASH_SIZE,), as_record(Codec(Operator), _rebase_operator)),
    CarriedKind(KEY, (HASH_SIZE,), as_bytes(HASH_SIZE, HASH_SIZE)),
    CarriedKind(CANDIDATES, (0,), as_bytes(HASH_SIZE, MAX_CANDIDATES * HASH_SIZE, HASH_SIZE)),
    CarriedKind(POOL, (HASH_SIZE,), as_record(Codec(Pool))),
    CarriedKind(DELEGATION, (2 * HASH_SIZE,), as_record(Codec(Position))),
    CarriedKind(DELEGATIONS, (HASH_SIZE,), as_bytes(HASH_SIZE, (MAX_DELEGATIONS + MAX_ENTRIES) * HASH_SIZE, HASH_SIZE)),
    CarriedKind(COMMISSION, (HASH_SIZE,), as_amount),
    CarriedKind(LEAVING, (HASH_SIZE + NUMBER_SIZE,), as_record(Codec(Pool))),
    CarriedKind(MOVING, (2 * HASH_SIZE + NUMBER_SIZE,), as_record(Codec(Moving))),
    CarriedKind(COHORTS, (HASH_SIZE,), as_bytes(NUMBER_SIZE, 1 << 20, NUMBER_SIZE)),
    CarriedKind(TARGETS, (HASH_SIZE + NUMBER_SIZE,), as_bytes(HASH_SIZE, 1 << 20, HASH_SIZE)),
    CarriedKind(QUEUE, (0,), as_record(Codec(Queue))),
    CarriedKind(ENTRY, (NUMBER_SIZE,), as_record(Codec(Entry))),
    CarriedKind(ENTRIES, (HASH_SIZE,), as_bytes(NUMBER_SIZE, MAX_ENTRIES * NUMBER_SIZE, NUMBER_SIZE)),
)


def export(records: Iterable[tuple[bytes, bytes]], height: Height) -> Iterator[tuple[bytes, bytes]]:
    """Return the records of stake, epochs renumbered; at height 0 unchanged (`apps.module.Export`)."""
    found = dict(_plain(records, height))
    if not height:
        yield from found.items()
        return
    epochs = [_number(key[-NUMBER_SIZE:]) for key in found if key.startswith(_EPOCHS)]
    generation = 1 + max((epoch >> CARRIED_SHIFT for epoch in epochs), default=0)
    for key, value in found.items():
        if key.startswith(_EPOCHS):
            yield key[:-NUMBER_SIZE] + _renumbered(key[-NUMBER_SIZE:], generation), value
        elif key.startswith(COHORTS):
            parts = [value[start : start + NUMBER_SIZE] for start in range(0, len(value), NUMBER_SIZE)]
            yield key, b"".join(_renumbered(part, generation) for part in parts)
        elif key.startswith(ENTRY):
            entry = _entry_codec.decode(value)
            epoch = _number(_renumbered(entry.epoch.to_bytes(NUMBER_SIZE, "big"), generation))
            yield key, encode(replace(entry, epoch=epoch))
        else:
            yield key, value


def check_validators(carried: Reader, validators: Sequence[GenesisValidator]) -> None:
    """Check that a document's validators are those of the stake that it carries, each with the power of its stake.

    Operators with stake may be missing: a chain can begin without those whose nodes will not come.

    Args:
        carried: the carried records.
        validators: of the same document.

    Raises:
        Refused: BAD_GENESIS, naming the first wrong field.
    """
    for place, one in enumerate(validators):
        found = find_operator(carried, one.operator)
        if found is None:
            raise _bad(place, "operator", "the carried records have no such operator")
        if found.tombstoned:
            raise _bad(place, "operator", "it is tombstoned in the carried records")
        if found.jailed:
            raise _bad(place, "operator", "it is in jail in the carried records")
        if found.public_key != one.public_key:
            raise _bad(place, "public_key", "the operator has another consensus key in the carried records")
        if operator_of_key(carried, found.address) != one.operator:
            raise _bad(place, "public_key", "the carried records do not bind this key to its operator")
        power = power_of(bonded(carried, one.operator))
        if power != one.power:
            raise _bad(place, "power", f"the stake in the carried records has a power of {power}")


def _bad(place: int, field: str, why: str) -> Refused:
    return Refused(Reason.BAD_GENESIS, f"validators[{place}].{field}: {why}")


def _renumbered(raw: bytes, generation: int) -> bytes:
    """Return an epoch's number for the new chain; one that was carried before has its own already."""
    epoch = _number(raw)
    carried = epoch if epoch >> CARRIED_SHIFT else epoch | generation << CARRIED_SHIFT
    return carried.to_bytes(NUMBER_SIZE, "big")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")
