"""The indexer's tables held against the state of a node: all unspent outputs equal, none missing, none too many."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import create_engine, select

from crypto.address import encode_address
from node.indexer.apply import KINDS
from node.indexer.schema import ADDRESS, PROGRESS, SNAPSHOT, UTXO
from state.chainstore import ChainStore
from state.encoding import encode
from state.records import UTXO as UTXO_KEYS
from state.records import asset_text, decode_output, outpoint_of
from state.transaction import Coin, HiddenCoin, Output
from state.types import Height

Place = tuple[str, int]


def unspent_of(store: ChainStore, height: int) -> dict[Place, Output]:
    """Return every output that the state holds after a block."""
    found: dict[Place, Output] = {}
    for key, value in store.records_at(Height(height)):
        if key.startswith(UTXO_KEYS):
            outpoint = outpoint_of(key)
            found[outpoint.txid.hex(), outpoint.index] = decode_output(value)
    return found


class Tables:
    """What a database holds, read by other means than the indexer's."""

    def __init__(self, url: str) -> None:
        engine = create_engine(url)
        with engine.connect() as connection:
            self.utxo, self.address, self.snapshot, (self.progress,) = (
                [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in (UTXO, ADDRESS, SNAPSHOT, PROGRESS)
            )
        engine.dispose()

    @property
    def height(self) -> int:
        return int(self.progress["height"])

    @property
    def unspent(self) -> dict[Place, dict[str, Any]]:
        return {(row["txid"], row["output_index"]): row for row in self.utxo if row["spent_height"] is None}

    def assert_equal(self, expected: Mapping[Place, Output]) -> None:
        """Compare with the outputs of the state after the block that the database stands at."""
        assert {place: row["raw"] for place, row in self.unspent.items()} == {
            place: encode(output) for place, output in expected.items()
        }
        for place, output in expected.items():
            row = self.unspent[place]
            assert (row["kind"], row["owner"]) == (KINDS[type(output)], encode_address(output.owner))
            assert (row["asset"], row["spent_by"]) == (asset_text(output.asset), None)
            assert row["amount"] == (output.amount if isinstance(output, Coin) else None)
            if isinstance(output, HiddenCoin):
                assert row["commitment"] == output.commitment.hex()
        counts: dict[tuple[str, str], Counter[str]] = {}
        for output in expected.values():
            held = counts.setdefault((encode_address(output.owner), asset_text(output.asset)), Counter())
            held[KINDS[type(output)]] += 1
            held["balance"] += output.amount if isinstance(output, Coin) else 0
        assert {(row["owner"], row["asset"]): _numbers(row) for row in self.address} == {
            holding: (held["balance"], held["coin"], held["hidden"], held["memo"], held["state"])
            for holding, held in counts.items()
        }
        kinds = Counter(KINDS[type(output)] for output in expected.values())
        assert tuple(self.progress[name] for name in ("coins", "hidden", "memos", "states")) == tuple(
            kinds[name] for name in ("coin", "hidden", "memo", "state")
        )
        assert all(row["made_height"] <= (row["spent_height"] or self.height) <= self.height for row in self.utxo)


def _numbers(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("balance", "coins", "hidden", "memos", "states"))
