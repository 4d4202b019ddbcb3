"""The supply invariant: of every asset there is exactly what was issued, wherever it is."""

from collections.abc import Mapping

from apps.registry import MODULES
from crypto.errors import Reason, Refused
from state.changes import Changes
from state.records import SUPPLY, asset_text, decode_amount
from state.types import AssetId


def supply_differences(records: Mapping[bytes, bytes]) -> dict[AssetId, tuple[int, int]]:
    """Compare the supply of each asset with the sum of all places that it can be in.

    Args:
        records: the whole state, by raw key. Every record is read: for tests and for audits.

    Returns:
        Asset -> (its supply, what was found) where the two differ: empty when all is well.
    """
    issued, found = _issued(records), _found(records)
    pairs = {asset: (issued.get(asset, 0), found.get(asset, 0)) for asset in issued.keys() | found.keys()}
    return {asset: pair for asset, pair in pairs.items() if pair[0] != pair[1]}


def check_changes(changes: Changes) -> None:
    """Check the same of what one block changes: every place is a sum over records, so the changed ones suffice.

    Raises:
        Refused: INTERNAL if the block makes or destroys what was not issued or burned: a fault of this program, for
            which the block must not be.
    """
    before = {key: old for key, (old, _) in changes.entries.items() if old is not None}
    after = {key: new for key, (_, new) in changes.entries.items() if new is not None}
    gained = _less(_found(after), _found(before))
    issued = _less(_issued(after), _issued(before))
    for asset in gained.keys() | issued.keys():
        if gained.get(asset, 0) != issued.get(asset, 0):
            raise Refused(
                Reason.INTERNAL,
                f"the block issues {issued.get(asset, 0)} {asset_text(asset)} and makes {gained.get(asset, 0)}",
            )


def _issued(records: Mapping[bytes, bytes]) -> dict[AssetId, int]:
    return {
        AssetId(key[len(SUPPLY) :]): decode_amount(value) for key, value in records.items() if key.startswith(SUPPLY)
    }


def _found(records: Mapping[bytes, bytes]) -> dict[AssetId, int]:
    found: dict[AssetId, int] = {}
    for module in MODULES:
        module.supply(records, found)
    return found


def _less(left: Mapping[AssetId, int], right: Mapping[AssetId, int]) -> dict[AssetId, int]:
    return {asset: left.get(asset, 0) - right.get(asset, 0) for asset in left.keys() | right.keys()}
