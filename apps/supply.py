"""The supply invariant: of every asset there is exactly what was issued, wherever it is."""

from collections.abc import Mapping

from apps.registry import MODULES
from state.records import SUPPLY, decode_amount
from state.types import AssetId


def supply_differences(records: Mapping[bytes, bytes]) -> dict[AssetId, tuple[int, int]]:
    """Compare the supply of each asset with the sum of all places that it can be in.

    Args:
        records: the whole state, by raw key. Every record is read: for tests and for audits.

    Returns:
        Asset -> (its supply, what was found) where the two differ: empty when all is well.
    """
    found: dict[AssetId, int] = {}
    for module in MODULES:
        module.supply(records, found)
    issued = {
        AssetId(key[len(SUPPLY) :]): decode_amount(value) for key, value in records.items() if key.startswith(SUPPLY)
    }
    pairs = {asset: (issued.get(asset, 0), found.get(asset, 0)) for asset in issued.keys() | found.keys()}
    return {asset: pair for asset, pair in pairs.items() if pair[0] != pair[1]}
