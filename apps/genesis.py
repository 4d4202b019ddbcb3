"""The state before the first block, and the document that begins a chain from another one's state."""

from collections.abc import Iterable, Mapping
from typing import Final

from apps.module import Module
from apps.registry import MODULES
from apps.supply import supply_differences
from crypto.errors import Reason, Refused
from state.changes import Changes, Overlay
from state.genesis import CarriedRecord, Genesis, check_genesis, genesis_hash
from state.records import asset_text
from state.types import Height


class _Nothing:
    """The state before there is any."""

    def get(self, key: bytes) -> bytes | None:
        return None


def init_genesis(genesis: Genesis) -> Changes:
    """Check a genesis document and return the records that it puts into the empty state.

    Module by module writes what the document says of it; then come the records that are carried over, which were
    checked one by one before: a module may look at them.

    Raises:
        Refused: BAD_GENESIS.
    """
    check_genesis(genesis)
    chain_id = genesis_hash(genesis)
    state = Overlay(_Nothing())
    if genesis.carried:
        _check_carried(genesis.carried)
    for module in MODULES:
        module.genesis(state, genesis, chain_id)
    if genesis.carried:
        for record in genesis.carried:
            state.put(record.key, record.value)
        _check_supply({key: value for key, value in state.changes() if value is not None})
    return state.changes()


def carried_records(records: Iterable[tuple[bytes, bytes]], height: Height) -> tuple[CarriedRecord, ...]:
    """Return what a chain that begins after block `height` of this one takes over.

    Args:
        records: the whole state after that block, in any order.
        height: to count heights from.

    Raises:
        Refused: CORRUPT_DATABASE if a record is not what its module writes.
    """
    try:
        found = dict(_exported(records, height))
    except Refused as refused:
        raise Refused(Reason.CORRUPT_DATABASE, f"a record of the state cannot be exported: {refused}") from None
    return tuple(CarriedRecord(key, found[key]) for key in sorted(found))


_PREFIXES: Final = tuple(((f"{module.name}/".encode(), *module.prefixes), module) for module in MODULES)


def _owner(key: bytes) -> Module | None:
    """Return the module that a raw key belongs to."""
    for prefixes, module in _PREFIXES:
        if key.startswith(prefixes):
            return module
    return None


def _exported(records: Iterable[tuple[bytes, bytes]], height: Height) -> Iterable[tuple[bytes, bytes]]:
    parts: dict[str, list[tuple[bytes, bytes]]] = {}
    for key, value in records:
        module = _owner(key)
        if module is not None:
            parts.setdefault(module.name, []).append((key, value))
    for module in MODULES:
        yield from module.export(sorted(parts.get(module.name, ())), height)


def _check_carried(carried: tuple[CarriedRecord, ...]) -> None:
    """An export at height 0 gives each record back unchanged: else it is none that a chain may begin with."""
    given = [(record.key, record.value) for record in carried]
    try:
        exported = dict(_exported(given, Height(0)))
    except Refused as refused:
        raise Refused(Reason.BAD_GENESIS, f"carried: {refused}") from None
    for place, (key, value) in enumerate(given):
        if exported.pop(key, None) != value:
            raise Refused(Reason.BAD_GENESIS, f"carried[{place}]: no module carries over such a record")
    if exported:
        raise Refused(Reason.BAD_GENESIS, f"carried: the record {min(exported).hex()} is missing")


def _check_supply(records: Mapping[bytes, bytes]) -> None:
    for asset, (issued, found) in sorted(supply_differences(records).items()):
        raise Refused(
            Reason.BAD_GENESIS, f"carried: the supply of {asset_text(asset)} is {issued}, the records hold {found}"
        )
