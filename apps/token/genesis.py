"""The token module's part of the genesis document: first assets, balances and coins."""

from state import ledger
from state.changes import Overlay
from state.genesis import Genesis
from state.records import Asset
from state.transaction import Coin
from state.types import AssetId, ChainId, TxId


def write_genesis(state: Overlay, genesis: Genesis, chain_id: ChainId) -> None:
    """Write what a valid document gives out, and the supply that it adds up to.

    The first coins have the chain id in place of a txid, and their place in the document's list as index.
    """
    for asset in genesis.assets:
        ledger.add_asset(
            state,
            asset.asset,
            Asset(asset.issuer, asset.symbol, asset.decimals, asset.mintable, asset.burnable, asset.freezable),
        )
    symbols = genesis.symbols
    supplies: dict[AssetId, int] = dict.fromkeys(symbols.values(), 0)
    for balance in genesis.balances:
        ledger.credit(state, balance.owner, symbols[balance.symbol], balance.amount)
        supplies[symbols[balance.symbol]] += balance.amount
    for index, output in enumerate(genesis.outputs):
        coin = Coin(symbols[output.symbol], output.owner, output.amount)
        ledger.add_output(state, TxId(chain_id), index, coin)
        supplies[coin.asset] += coin.amount
    for asset_id, supply in supplies.items():
        ledger.set_supply(state, asset_id, supply)
