"""The indexer on SQLite beside a real node: every kind of output, restarts, and what it refuses."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from sqlalchemy import create_engine, delete, event, update

from apps.token.messages import Deposit, NewCoin, Withdraw
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api import methods
from node.api.methods import GetBlock, GetOutputs, GetReceipt
from node.client import AsyncClient
from node.hidden.paying import Payment, Purse, clear_coin, draft_hidden
from node.hidden.viewing import view_keys, viewing_seed
from node.indexer import follow as following
from node.indexer.apply import IndexedBlock, Made, Spent
from node.indexer.database import Database, Position
from node.indexer.follow import follow
from node.indexer.schema import PROGRESS, UTXO
from node.indexer.settings import Settings, database_url, node_url
from node.indexer.source import BlockSource
from node.wallet import Account, OwnCoin, Signed, call, message, sign_draft, transfer
from state.genesis import GenesisOutput
from state.transaction import NO_SCRIPT, NOTHING, Coin, Memo, OutPoint, Output, State
from state.types import MAX_INT, NATIVE, Address, Amount, Height, TxId
from tests.node.lab import Lab
from tests.node.served import Served, served_node
from tests.node.tables import Tables, unspent_of

NXS = 1_000_000
BOB = Address(b"\x07" * 32)
BOB_TEXT = encode_address(BOB)


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'index.db'}"


class Person:
    """The lab's first wallet, with its nonce."""

    def __init__(self, served: Served) -> None:
        self.served, self.lab, self.nonce = served, served.lab, 0
        self.key = self.lab.wallet_keys[0]
        self.address = Address(self.key.address)

    @property
    def account(self) -> Account:
        return replace(self.lab.account(0), registered=self.nonce > 0)

    async def send(self, signed: Signed) -> int:
        """Return the height of the block that has it."""
        await self.served.client.submit_one(signed.raw, wait="committed")
        receipt = (await self.served.client.ask(GetReceipt(txid=signed.txid.hex()))).receipt
        return int(receipt.height)

    async def call(self, name: str, value: Any) -> tuple[TxId, int]:
        signed = call(self.lab.point(self.served.node), self.account, self.key, self.nonce, [message(name, value)])
        height = await self.send(signed)
        self.nonce += 1
        return signed.txid, height

    async def deposit(self, *amounts: int) -> list[OwnCoin]:
        coins = tuple(NewCoin(self.address, Amount(amount)) for amount in amounts)
        txid, _ = await self.call("token/deposit", Deposit(NATIVE, coins))
        return [OwnCoin(OutPoint(txid, place), Coin(NATIVE, *coin_of(one))) for place, one in enumerate(coins)]

    async def make(self, coin: OwnCoin, *outputs: Output) -> tuple[TxId, int]:
        signed = transfer(self.lab.point(self.served.node), self.account, self.key, [coin], outputs)
        return signed.txid, await self.send(signed)

    async def hide(self, coin: OwnCoin) -> tuple[TxId, int]:
        keys = view_keys(viewing_seed(self.key))
        purse = Purse(self.account, keys, [clear_coin(coin.outpoint, coin.coin)])
        payment = Payment(self.address, NATIVE, Amount(NXS), keys.receiving)
        draft = draft_hidden(self.lab.point(self.served.node), purse, [payment], secrets.token_bytes)
        signed = sign_draft(draft, {self.address: self.key})
        return signed.txid, await self.send(signed)


def coin_of(new: NewCoin) -> tuple[Address, Amount]:
    return new.owner, new.amount


def memo() -> Memo:
    return Memo(NO_SCRIPT, BOB, NATIVE, NOTHING, b"hello", Height(0), Height(MAX_INT))


def state() -> State:
    return State(0, b"\x05" * 32, BOB, NATIVE, NOTHING, (b"a",), Height(0), Height(MAX_INT))


async def busy(served: Served) -> tuple[Person, int]:
    """Make and spend outputs of every kind; return the height at which all is done."""
    person = Person(served)
    first, second, third, _ = await person.deposit(30 * NXS, 20 * NXS, 10 * NXS, 5 * NXS)
    await person.make(first, memo(), state(), Coin(NATIVE, BOB, Amount(3)))
    await person.hide(second)
    _, height = await person.call("token/withdraw", Withdraw((third.outpoint,)))
    return person, height


async def index(served: Served, folder: Path, until: int, **more: Any) -> Tables:
    """Run the indexer to a height and return the tables."""
    with trio.fail_after(60):
        await follow(Settings(sqlite(folder), served.url, until=until, **more))
    return Tables(sqlite(folder))


async def test_every_kind_of_output_is_kept_as_the_state_has_it(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        _, height = await busy(served)
        tables = await index(served, tmp_path, height, height_file=tmp_path / "height", snapshot_every=1)
        tables.assert_equal(unspent_of(served.node.core.chain.store, height))
        kinds = sorted((row["kind"], row["spent_height"] is None) for row in tables.utxo)
        assert kinds.count(("coin", False)) == 3  # two by transfers, one withdrawn
        assert {kind for kind, unspent in kinds if unspent} == {"coin", "hidden", "memo", "state"}
        assert (tmp_path / "height").read_text() == f"{height}\n"
        assert [row["height"] for row in tables.snapshot] == list(range(height))
        for row in tables.snapshot[1:]:
            block = await served.client.ask(GetBlock(height=str(row["height"])))
            above = await served.client.ask(GetBlock(height=str(row["height"] + 1)))
            assert (row["block_id"], row["time"]) == (block.header.block_id, int(block.header.time))
            assert row["state_root"] == above.header.state_root
        counts = served.node.core.chain.store.output_counts
        last = tables.progress
        # the node's metric of coins holds the hidden ones
        assert (counts.coins, counts.memos, counts.states) == (last["coins"] + last["hidden"], 1, 1)


async def test_outputs_can_be_asked_for_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served_node(tmp_path) as served:
        await busy(served)

        async def listed(limit: int, kind: Any) -> list[str]:
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                page = await served.client.ask(GetOutputs(address=BOB_TEXT, kind=kind, limit=limit, after=after))
                assert len(page.outputs) <= limit
                found += [one.kind for one in page.outputs]
                after = page.next
            return found

        for bound in (1000, 2):  # however few are looked at for one answer
            monkeypatch.setattr(methods, "MAX_LISTED", bound)
            for limit in (1, 2, 100):
                assert sorted(await listed(limit, "any")) == ["coin", "memo", "state"]
                for kind in ("coin", "memo", "state"):
                    assert await listed(limit, kind) == [kind]
                assert await listed(limit, "hiddencoin") == []


async def test_it_goes_on_where_it_stood_and_outlives_the_node(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with served_node(tmp_path, lab) as served:
        person, height = await busy(served)
        half = await index(served, tmp_path, height // 2)
        half.assert_equal(unspent_of(served.node.core.chain.store, height // 2))
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.5):
        await follow(Settings(sqlite(tmp_path), served.url, until=height))  # nobody is there: it waits
    async with served_node(tmp_path, lab) as again:
        person.served = again
        (coin,) = await person.deposit(7 * NXS)
        txid, height = await person.make(coin, Coin(NATIVE, BOB, Amount(NXS)))
        tables = await index(again, tmp_path, height)
        tables.assert_equal(unspent_of(again.node.core.chain.store, height))
        (row,) = [row for row in tables.utxo if row["txid"] == coin.outpoint.txid.hex()]
        assert (row["spent_height"], row["spent_by"]) == (height, txid.hex())


async def test_outputs_of_the_genesis_are_there_from_the_start(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    owners = (BOB, Address(lab.wallet_keys[0].address))
    outputs = tuple(GenesisOutput(owner, "nxs", Amount(amount)) for owner, amount in zip(owners, (5, 9), strict=True))
    lab.genesis = msgspec.structs.replace(lab.genesis, outputs=outputs)
    async with served_node(tmp_path, lab) as served:
        tables = await index(served, tmp_path, 0)
        assert tables.height == 0
        tables.assert_equal(unspent_of(served.node.core.chain.store, 0))
        assert sorted(row["amount"] for row in tables.utxo) == [5, 9]


async def test_what_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with served_node(tmp_path) as served:
        async with served_node(tmp_path / "other") as other:
            await Person(served).deposit(NXS)
            await index(served, tmp_path, 1)
            assert await refusal(sqlite(tmp_path), other.url) is Reason.WRONG_CHAIN
        change(sqlite(tmp_path), update(PROGRESS).values(block_id="00" * 32))
        assert await refusal(sqlite(tmp_path), served.url) is Reason.FORKED
        change(sqlite(tmp_path), update(PROGRESS).values(schema_version=99))
        assert await refusal(sqlite(tmp_path), served.url) is Reason.WRONG_VERSION
        (tmp_path / "text").write_text("no database " * 100)
        assert await refusal(f"sqlite:///{tmp_path / 'text'}", served.url) is Reason.CORRUPT_DATABASE
        settings = Settings(sqlite(tmp_path / "other"), served.url, height_file=tmp_path / "missing" / "height")
        with pytest.raises(Refused) as refused, trio.fail_after(20):
            await follow(settings)
        assert refused.value.reason is Reason.BAD_CONFIG


async def test_tables_that_lack_what_a_block_spends_are_refused(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        person = Person(served)
        (coin,) = await person.deposit(9 * NXS)
        _, height = await person.make(coin, Coin(NATIVE, BOB, Amount(NXS)))
        await index(served, tmp_path, height - 1)
        change(sqlite(tmp_path), delete(UTXO))
        assert await refusal(sqlite(tmp_path), served.url) is Reason.CORRUPT_DATABASE
        assert Tables(sqlite(tmp_path)).height == height - 1


async def test_a_node_without_the_blocks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served_node(tmp_path) as served:
        person = Person(served)
        await person.deposit(NXS)
        store = served.node.core.chain.store

        def gone(height: Height) -> Any:
            raise Refused(Reason.NOT_AVAILABLE, f"block {height} is pruned")

        monkeypatch.setattr(store, "block_row", gone)
        assert await refusal(sqlite(tmp_path), served.url) is Reason.NOT_AVAILABLE


async def refusal(database: str, node: str) -> Reason:
    with pytest.raises(Refused) as refused, trio.fail_after(20):
        await follow(Settings(database, node, until=MAX_INT))
    return refused.value.reason


def change(url: str, statement: Any) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


# ---- the database alone


def block(height: int, made: tuple[Made, ...] = (), spent: tuple[Spent, ...] = ()) -> IndexedBlock:
    return IndexedBlock(height, name(height), name(height - 1), name(height + 100), 1000 * height, made, spent)


def name(height: int) -> str:
    return f"{max(height, 0):064x}"


def opened(folder: Path) -> Database:
    return Database(sqlite(folder), 2)


def coin(number: int, amount: int = 5) -> Made:
    return Made(OutPoint(TxId(number.to_bytes(32, "big")), number), Coin(NATIVE, BOB, Amount(amount)))


def test_a_block_is_written_once(tmp_path: Path) -> None:
    database = opened(tmp_path)
    assert database.position(name(0), "x") is None
    database.begin(block(0, (coin(1),)), "x")
    for _ in range(3):  # the word that it was written may have been lost
        assert database.apply(block(1, (coin(2),))) == Position(1, name(1))
    gone = Spent(coin(2).outpoint, TxId(b"\x09" * 32))
    database.apply(block(2, (coin(3, 7),), (gone,)))
    tables = Tables(sqlite(tmp_path))
    assert [(row["balance"], row["coins"]) for row in tables.address] == [(12, 2)]
    assert [(row["height"], row["coins"], row["state_root"]) for row in tables.snapshot] == [(0, 1, name(101))]
    database.apply(block(3, (), (Spent(coin(1).outpoint, gone.by), Spent(coin(3).outpoint, gone.by))))
    tables = Tables(sqlite(tmp_path))
    assert (tables.address, tables.unspent, tables.height) == ([], {}, 3)
    assert [row["spent_height"] for row in sorted(tables.utxo, key=lambda row: row["output_index"])] == [3, 2, 3]
    assert [row["height"] for row in tables.snapshot] == [0, 2]


def test_an_output_may_be_made_and_spent_in_one_block(tmp_path: Path) -> None:
    database = opened(tmp_path)
    assert database.position(name(0), "x") is None
    database.begin(block(0), "x")
    many = tuple(coin(number) for number in range(1, 1001))  # more than one statement takes
    database.apply(block(1, many, (Spent(coin(900).outpoint, TxId(b"\x09" * 32)),)))
    tables = Tables(sqlite(tmp_path))
    assert (len(tables.unspent), tables.progress["coins"]) == (999, 999)
    assert [(row["balance"], row["coins"]) for row in tables.address] == [(4995, 999)]


def test_a_second_indexer_is_noticed(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    assert one.position(name(0), "x") is None
    one.begin(block(0), "x")
    assert two.position(name(0), "x") == Position(0, name(0))
    one.apply(block(1))
    one.apply(block(2))
    with pytest.raises(Refused) as refused:
        two.apply(block(1))
    assert refused.value.reason is Reason.CONFLICT
    with pytest.raises(Refused) as refused:
        two.begin(block(0), "x")
    assert refused.value.reason is Reason.CONFLICT


@pytest.mark.parametrize("statement", range(10))
def test_a_fault_at_any_statement_changes_nothing(tmp_path: Path, statement: int) -> None:
    database = opened(tmp_path)
    assert database.position(name(0), "x") is None
    database.begin(block(0, (coin(1), coin(2))), "x")
    before = vars(Tables(sqlite(tmp_path)))
    counted = 0

    def fail(*_: Any) -> None:
        nonlocal counted
        counted += 1
        if counted == statement + 1:
            raise KeyboardInterrupt

    event.listen(database._engine, "before_cursor_execute", fail)
    step = block(1, (coin(3, 7),), (Spent(coin(1).outpoint, TxId(b"\x09" * 32)),))
    with pytest.raises(KeyboardInterrupt):
        database.apply(step)
    assert vars(Tables(sqlite(tmp_path))) == before
    event.remove(database._engine, "before_cursor_execute", fail)
    database.apply(step)
    assert [(row["balance"], row["coins"]) for row in Tables(sqlite(tmp_path)).address] == [(12, 2)]


async def test_a_database_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSES", (0.01,))
    refused = 0
    real = Database.apply

    def lost(self: Database, block: IndexedBlock) -> Position:
        """Write every block, and lose the word of it twice."""
        nonlocal refused
        position = real(self, block)
        if block.height == 1 and refused < 2:
            refused += 1
            raise Refused(Reason.UNREACHABLE, "the connection was lost")
        return position

    monkeypatch.setattr(Database, "apply", lost)
    async with served_node(tmp_path) as served:
        await Person(served).deposit(NXS)
        tables = await index(served, tmp_path, 1)
        assert (refused, len(tables.unspent)) == (2, 1)


# ---- settings


def test_urls(tmp_path: Path) -> None:
    assert database_url("postgresql://u:p@h:1/n") == "postgresql+psycopg://u:p@h:1/n"
    assert database_url("postgres://h/n") == "postgresql+psycopg://h/n"
    assert database_url(sqlite(tmp_path)) == sqlite(tmp_path)
    for wrong in ("", "index.db", "mysql://h/n", "sqlite://", "sqlite:///:memory:", f"sqlite:///{tmp_path}/no/x.db"):
        with pytest.raises(Refused) as refused:
            database_url(wrong)
        assert refused.value.reason is Reason.USAGE
    assert node_url("http://[::1]:8000/") == node_url("ws://[::1]:8000/ws") == "http://[::1]:8000"
    assert node_url("wss://node.example/ws") == "https://node.example"
    with pytest.raises(Refused):
        node_url("tcp://[::1]:8000")


async def test_a_silent_stream_is_asked_about(tmp_path: Path) -> None:
    """Nothing comes through a connection that is lost without a word: the node is asked, and dialled again."""
    async with served_node(tmp_path) as served, AsyncClient(served.url) as client:
        await Person(served).deposit(NXS)
        source = BlockSource(client, quiet=0.05)
        with pytest.raises(Refused) as refused:
            await source._next(Silent(), 1)  # type: ignore[arg-type]
        assert refused.value.reason is Reason.TIMED_OUT


class Silent:
    """A stream that nothing comes through."""

    async def __anext__(self) -> None:
        await trio.sleep_forever()
