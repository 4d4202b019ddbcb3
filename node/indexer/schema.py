"""The tables of the indexer's database, for PostgreSQL and SQLite alike.

Hashes are 64 small hexadecimal digits, addresses `nx1...`, assets `unxs` or the id in hex, amounts in the asset's
smallest unit, times in ms since 1970: everything is written as the node's API writes it.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

from crypto.address import ADDRESS_LENGTH

SCHEMA_VERSION: Final = 1
"""Of these tables. A database with another number is refused."""
_HASH: Final = 64
_KIND: Final = 8

METADATA: Final = MetaData()

UTXO: Final = Table(
    "utxo",
    METADATA,
    Column("txid", String(_HASH), primary_key=True, comment="who made it; the chain id for an output of genesis"),
    Column("output_index", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(_KIND), nullable=False, comment="coin, hidden, memo or state"),
    Column("owner", String(ADDRESS_LENGTH), nullable=False),
    Column("asset", String(_HASH), nullable=False),
    Column("amount", BigInteger, comment="of a coin in clear"),
    Column("commitment", String(_HASH), comment="to a hidden amount; null if it holds none"),
    Column("script", String(_HASH), comment="script address of a memo or state; null if its owner alone spends it"),
    Column("nonce", BigInteger, comment="of a state"),
    Column("raw", LargeBinary, nullable=False, comment="canonical encoding of the output"),
    Column("made_height", BigInteger, nullable=False),
    Column("spent_height", BigInteger, comment="null while it is unspent"),
    Column("spent_by", String(_HASH), comment="txid of the transaction that spent it"),
)
Index("utxo_owner", UTXO.c.owner, UTXO.c.kind, UTXO.c.spent_height)
Index("utxo_script", UTXO.c.script, postgresql_where=UTXO.c.script.is_not(None))
Index("utxo_made", UTXO.c.made_height)
Index("utxo_spent", UTXO.c.spent_height)

ADDRESS: Final = Table(
    "address",
    METADATA,
    Column("owner", String(ADDRESS_LENGTH), primary_key=True),
    Column("asset", String(_HASH), primary_key=True),
    Column("balance", BigInteger, nullable=False, comment="sum of the unspent coins in clear"),
    Column("coins", BigInteger, nullable=False),
    Column("hidden", BigInteger, nullable=False),
    Column("memos", BigInteger, nullable=False),
    Column("states", BigInteger, nullable=False),
)

SNAPSHOT: Final = Table(
    "snapshot",
    METADATA,
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    Column("block_id", String(_HASH), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("state_root", String(_HASH), nullable=False, comment="after the block at this height"),
    Column("coins", BigInteger, nullable=False),
    Column("hidden", BigInteger, nullable=False),
    Column("memos", BigInteger, nullable=False),
    Column("states", BigInteger, nullable=False),
)

PROGRESS: Final = Table(
    "progress",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False, comment="always 1: the table has one row"),
    Column("schema_version", Integer, nullable=False),
    Column("chain_id", String(_HASH), nullable=False),
    Column("chain_name", String(64), nullable=False),
    Column("height", BigInteger, nullable=False, comment="last block that the other tables hold"),
    Column("block_id", String(_HASH), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("coins", BigInteger, nullable=False, comment="unspent outputs by kind, after that block"),
    Column("hidden", BigInteger, nullable=False),
    Column("memos", BigInteger, nullable=False),
    Column("states", BigInteger, nullable=False),
)
