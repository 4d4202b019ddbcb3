"""The token module's part of the genesis document: first balances, coins and assets."""

from typing import Any

from crypto.errors import Reason, Refused
from state import ledger
from state.changes import Overlay
from state.transaction import Coin
from state.types import NATIVE, AssetId, TxId


def write_genesis(state: Overlay, genesis: Any) -> None:
    """Write assets, balances and outputs, and the supply that they add up to.

    Raises:
        Refused: BAD_GENESIS if an asset is held that the document does not issue, or a supply is too large.
    """
    for asset in genesis.assets:
        ledger.add_asset(state, asset.id, asset.description)
    supplies: dict[AssetId, int] = {}
    for balance in genesis.balances:
        ledger.credit(state, balance.owner, balance.asset, balance.amount)
        supplies[balance.asset] = supplies.get(balance.asset, 0) + balance.amount
    for index, output in enumerate(genesis.outputs):
        ledger.add_output(state, TxId(genesis.chain_id), index, output)
        if isinstance(output, Coin):
            supplies[output.asset] = supplies.get(output.asset, 0) + output.amount
    for asset_id, supply in supplies.items():
        if asset_id != NATIVE and ledger.asset(state, asset_id) is None:
            raise Refused(Reason.BAD_GENESIS, f"nobody issues the asset {asset_id.hex()}")
        ledger.set_supply(state, asset_id, supply)
