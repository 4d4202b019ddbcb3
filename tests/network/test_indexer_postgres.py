"""The indexer as a process on a real PostgreSQL: killed, cut off from database and node, and compared."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crypto.errors import Refused
from node.api.methods import GetStatus
from node.chain import open_chain
from node.client import Client
from node.home import Home
from node.indexer.settings import database_url
from node.node import load_genesis
from state.leveldb import LevelDB
from testnet.create import WALLET_PASSWORD, create_network
from testnet.network import LocalNetwork
from testnet.scrape import Scraper
from tests.network.postgres import Cluster, cluster, programs
from tests.node.tables import Tables, unspent_of

pytestmark = pytest.mark.network

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
PATIENCE = 90.0


@pytest.fixture
def postgres() -> Iterator[Cluster]:
    found = programs()
    if found is None:
        pytest.skip("there is no PostgreSQL 15 or newer here: make postgres, or put its initdb in PATH")
    with cluster(found) as running:
        yield running


@pytest.fixture
def net(tmp_path: Path) -> Iterator[LocalNetwork]:
    create_network(tmp_path / "net", 1, senders=4)
    made = LocalNetwork(tmp_path / "net")
    try:
        made.start_all()
        made.wait_until(lambda: height_of(made) >= 0, "an answer")
        yield made
    finally:
        made.stop_all()


def height_of(net: LocalNetwork) -> int:
    try:
        with Client(net.members[0].url) as client:
            return int(client.ask(GetStatus()).height)
    except Refused:
        return -1


def nexus(*words: str) -> list[str]:
    return [sys.executable, "-m", "node.cli.main", *words]


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Process:
    """`nexus indexer`, told by the environment alone."""

    def __init__(self, net: LocalNetwork, url: str, folder: Path) -> None:
        self.height_file = folder / "height"
        self.log = folder / "indexer.log"
        self._environment = ENVIRONMENT | {
            "DATABASE_URL": url, "NYKS_BLOCK_SUBSCRIBER_URL": net.members[0].url,
            "BLOCK_HEIGHT_FILE": str(self.height_file),
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                nexus("indexer", "--snapshot-every", "5"), env=self._environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip

    def stop(self, number: signal.Signals) -> int:
        assert self.process.poll() is None, self.log.read_text()
        self.process.send_signal(number)
        return self.process.wait(20)

    @property
    def height(self) -> int:
        return int(self.height_file.read_text()) if self.height_file.exists() else -1

    def wait_for(self, height: int) -> None:
        wait_until(lambda: self.height >= height or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()


def pay_hidden(net: LocalNetwork) -> None:
    """Turn a coin of the genesis into hidden ones."""
    password = net.root / "password"
    password.write_text(WALLET_PASSWORD)
    subprocess.run(
        nexus(
            "--home", str(net.root / "wallets"), "--node", net.members[0].url, "wallet", "send", "alice", "50nxs",
            "--from-clear", "--from", "alice", "--password-file", str(password),
        ), env=ENVIRONMENT, check=True, timeout=100, capture_output=True,
    )  # fmt: skip


def metrics_of(net: LocalNetwork) -> tuple[int, ...]:
    with Scraper() as scraper:
        names = ("utxo_coin_count", "utxo_memo_count", "utxo_state_count")
        return tuple(int(next(scraper.values(net.members[0], name))[1]) for name in names)


def test_its_tables_are_the_state_whatever_was_killed(net: LocalNetwork, postgres: Cluster, tmp_path: Path) -> None:
    url = database_url(postgres.url)
    indexer = Process(net, postgres.url, tmp_path)
    seen: list[Tables] = []
    load = subprocess.Popen(
        nexus("testnet", "load", "--home", str(net.root), "--rate", "30", "--duration", "16", "--senders", "4"),
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(4):
            indexer.wait_for(max(indexer.height, 0) + 1)
            assert indexer.stop(signal.SIGKILL) == -signal.SIGKILL
            seen.append(Tables(url))
            assert seen[-1].height in (indexer.height, indexer.height + 1)  # the file follows, it never leads
            indexer.start()
        postgres.stop("immediate")
        stood = indexer.height
        time.sleep(1)
        postgres.start()
        indexer.wait_for(stood + 1)
        assert load.wait(PATIENCE) == 0
    finally:
        load.kill()
        load.wait()
    net.stop("node0", signal.SIGKILL)
    net.start_all()
    wait_until(lambda: height_of(net) >= 0)
    pay_hidden(net)
    indexer.wait_for(height_of(net))
    metrics = metrics_of(net)
    assert indexer.stop(signal.SIGTERM) == 0, indexer.log.read_text()
    seen.append(Tables(url))
    net.stop_all()
    compare(net, seen)
    last = seen[-1]
    assert metrics == (last.progress["coins"] + last.progress["hidden"], 0, 0)
    assert last.progress["hidden"] == 2 and last.progress["coins"] > 0
    assert [row["height"] for row in last.snapshot] == list(range(0, last.height, 5))
    assert any(row["spent_height"] for row in last.utxo)


def compare(net: LocalNetwork, seen: list[Tables]) -> None:
    """Hold what the tables had at each moment against the state after that block."""
    home = Home(net.root / "node0")
    store = LevelDB.open(home.chain)
    try:
        chain = open_chain(store, load_genesis(home))
        for tables in seen:
            tables.assert_equal(unspent_of(chain.store, tables.height))
    finally:
        store.close()
