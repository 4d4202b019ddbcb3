"""The indexer's database: one transaction for each block, together with the height that it brings.

So a crash at any moment loses nothing and doubles nothing: after it the database stands at some height, whole. A block
that was written though the word of it got lost is recognised and left alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Connection,
    RowMapping,
    and_,
    bindparam,
    create_engine,
    delete,
    event,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from crypto.errors import Reason, Refused
from node.indexer.apply import Holding, IndexedBlock, Totals, added, differences, utxo_row
from node.indexer.schema import ADDRESS, METADATA, PROGRESS, SCHEMA_VERSION, SNAPSHOT, UTXO
from state.transaction import OutPoint

CHUNK: Final = 400
"""Rows that one statement names: SQLite and PostgreSQL both bound the parameters of a statement."""
_POSTGRESQL: Final[Mapping[str, Any]] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 30_000, "application_name": "nexus indexer", "client_encoding": "utf8",
}  # fmt: skip
"""A server that is gone without a word is given up within half a minute. Text is text whatever its own encoding is."""
_KINDS: Final = ("coins", "hidden", "memos", "states")


@dataclass(frozen=True, slots=True)
class Position:
    """The last block that the database holds: its height, and its id in hex."""

    height: int
    block_id: str


class Database:
    """The tables and their only writer. Every method waits for the database; call them on a thread.

    Args:
        url: for SQLAlchemy, driver included.
        snapshot_every: blocks from one row of the table `snapshot` to the next.

    Raises:
        Refused: USAGE if it is no URL.
    """

    def __init__(self, url: str, snapshot_every: int) -> None:
        self._every = snapshot_every
        try:
            parsed = make_url(url)
            postgresql = parsed.get_backend_name() == "postgresql"
            self._engine: Engine = create_engine(
                parsed, pool_size=1, max_overflow=0, pool_pre_ping=True,
                connect_args=dict(_POSTGRESQL) if postgresql else {"timeout": 10},
            )
        except ArgumentError:
            raise Refused(Reason.USAGE, "DATABASE_URL is no URL of a database") from None
        self.name = parsed.render_as_string(hide_password=True)
        if not postgresql:
            event.listen(self._engine, "connect", _prepare_sqlite)

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def position(self, chain_id: str, chain_name: str) -> Position | None:
        """Return where the database stands; None if it is empty.

        Args:
            chain_id: of the chain that the node follows, in hex.
            chain_name: what people call that chain.

        Raises:
            Refused: WRONG_CHAIN, WRONG_VERSION; UNREACHABLE if the database does not answer now.
        """
        with self._transaction() as connection:
            METADATA.create_all(connection)
            row = connection.execute(select(PROGRESS)).mappings().first()
        if row is None:
            return None
        if row["schema_version"] != SCHEMA_VERSION:
            raise Refused(
                Reason.WRONG_VERSION, f"the tables of {self.name} have layout {row['schema_version']}, this program "
                f"knows {SCHEMA_VERSION}: give it an empty database",
            )
        if row["chain_id"] != chain_id:
            raise Refused(
                Reason.WRONG_CHAIN, f"{self.name} holds the chain {row['chain_name']} ({row['chain_id'][:12]}), the "
                f"node follows {chain_name} ({chain_id[:12]}): give each chain a database of its own",
            )
        return Position(row["height"], row["block_id"])

    def begin(self, genesis: IndexedBlock, chain_name: str) -> Position:
        """Fill an empty database with what exists before the first block.

        Raises:
            Refused: CONFLICT if another indexer did; UNREACHABLE.
        """
        with self._transaction() as connection:
            connection.execute(insert(PROGRESS), {
                "one": 1, "schema_version": SCHEMA_VERSION, "chain_id": genesis.block_id, "chain_name": chain_name,
                "height": 0, "block_id": genesis.block_id, "time": genesis.time, **dict.fromkeys(_KINDS, 0),
            })  # fmt: skip
            self._write(connection, genesis)
        return Position(0, genesis.block_id)

    def apply(self, block: IndexedBlock) -> Position:
        """Write a block unless it is written already; return where the database then stands.

        Raises:
            Refused: CONFLICT if another indexer writes this database, FORKED if the block does not follow the last
                one, CORRUPT_DATABASE if the tables lack what the block spends; UNREACHABLE.
        """
        with self._transaction() as connection:
            before = connection.execute(select(PROGRESS).with_for_update()).mappings().one()
            moved = connection.execute(
                update(PROGRESS)
                .where(and_(PROGRESS.c.height == block.height - 1, PROGRESS.c.block_id == block.previous))
                .values(height=block.height, block_id=block.block_id, time=block.time)
            )
            if moved.rowcount == 1:
                self._remember(connection, before, block)
                self._write(connection, block)
            elif (before["height"], before["block_id"]) != (block.height, block.block_id):
                raise _out_of_order(self.name, before, block)
        return Position(block.height, block.block_id)

    def _remember(self, connection: Connection, before: RowMapping, block: IndexedBlock) -> None:
        """Add the row of the height before, whose state root only this block tells."""
        if before["height"] % self._every == 0:
            kept = {name: before[name] for name in ("height", "block_id", "time", *_KINDS)}
            connection.execute(insert(SNAPSHOT), kept | {"state_root": block.state_root})

    def _write(self, connection: Connection, block: IndexedBlock) -> None:
        if not block.made and not block.spent:
            return
        rows = [utxo_row(made, block.height) for made in block.made]
        for chunk in _chunks(rows):
            connection.execute(insert(UTXO), list(chunk))
        spent = _find(connection, [one.outpoint for one in block.spent])
        if len(spent) != len(block.spent):
            raise Refused(
                Reason.CORRUPT_DATABASE, f"block {block.height} spends {len(block.spent)} outputs of which "
                f"{self.name} has {len(spent)}: begin again with an empty database",
            )
        if block.spent:
            connection.execute(
                update(UTXO)
                .where(and_(UTXO.c.txid == bindparam("by_txid"), UTXO.c.output_index == bindparam("by_index")))
                .values(spent_height=block.height, spent_by=bindparam("by")),
                [{"by_txid": one.outpoint.txid.hex(), "by_index": one.outpoint.index, "by": one.by.hex()}
                 for one in block.spent],
            )  # fmt: skip
        change = differences(rows, [dict(row) for row in spent])
        _replace(connection, change)
        sums = sum(change.values(), Totals())
        connection.execute(
            update(PROGRESS).values({name: PROGRESS.c[name] + getattr(sums, name) for name in _KINDS})
        )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise _named(self.name, error) from None


def _find(connection: Connection, outpoints: Sequence[OutPoint]) -> list[RowMapping]:
    """Return the unspent rows among these outpoints."""
    found: list[RowMapping] = []
    for chunk in _chunks(outpoints):
        names = [(one.txid.hex(), one.index) for one in chunk]
        question = select(UTXO).where(tuple_(UTXO.c.txid, UTXO.c.output_index).in_(names))
        found += connection.execute(question.where(UTXO.c.spent_height.is_(None))).mappings().all()
    return found


def _replace(connection: Connection, change: Mapping[Holding, Totals]) -> None:
    """Bring the table `address` up to date."""
    key = tuple_(ADDRESS.c.owner, ADDRESS.c.asset)
    for holdings in _chunks(list(change)):
        names = [tuple(holding) for holding in holdings]
        found = connection.execute(select(ADDRESS).where(key.in_(names))).mappings().all()
        before = {Holding(row["owner"], row["asset"]): _totals(row) for row in found}
        after = added(before, {holding: change[holding] for holding in holdings})
        connection.execute(delete(ADDRESS).where(key.in_(names)))
        if after:
            connection.execute(
                insert(ADDRESS), [{**holding._asdict(), **totals._asdict()} for holding, totals in after.items()]
            )


def _totals(row: RowMapping) -> Totals:
    return Totals(*(row[name] for name in Totals._fields))


def _chunks(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let others read while we write."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _out_of_order(name: str, before: RowMapping, block: IndexedBlock) -> Refused:
    if before["height"] == block.height - 1:
        return Refused(
            Reason.FORKED, f"block {block.height} of the node does not follow block {before['height']} in {name}: "
            "one of the two has another history",
        )
    return Refused(
        Reason.CONFLICT, f"{name} went on to height {before['height']} while block {block.height - 1} was its last "
        "here: another indexer writes it",
    )


def _named(name: str, error: DBAPIError) -> Refused:
    """Return a failure of the database: UNREACHABLE if trying again may help."""
    said = " ".join(str(error.orig).split())
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return Refused(Reason.UNREACHABLE, f"{name} does not answer: {said}")
    if isinstance(error, IntegrityError):
        return Refused(Reason.CONFLICT, f"{name} has such a row already: another indexer writes it ({said})")
    return Refused(Reason.CORRUPT_DATABASE, f"{name} is not a database that the indexer made: {said}")
