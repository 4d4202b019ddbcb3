"""From a fresh home: join a running network through one seed, sync, relay, answer, and become a validator."""

import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from apps.token.messages import Transfer
from crypto.address import decode_address
from crypto.errors import Refused
from node.api.methods import GetBalance, GetCommit, GetPeers, GetStatus
from node.client import AsyncClient, Client
from node.home import Home
from node.keystore import Keystore
from node.node import load_genesis
from node.wallet import message
from p2p.address import format_peer_address
from state.genesis import genesis_hash
from state.params import SecurityParams
from state.types import NATIVE, UNXS_PER_NXS, Address, Amount
from testnet.create import WALLET_PASSWORD, Rules, create_network
from testnet.manifest import load_manifest
from testnet.processes import free_ports
from testnet.purse import Purse
from tests.network.test_starting import ENVIRONMENT, running
from tests.p2p.crowd import Member, member

pytestmark = pytest.mark.network

PASSWORD = "a long enough password"
EPOCH = 8
CROWD = 20
ENOUGH = 8


@dataclass
class Joiner:
    """A home of its own, and its process."""

    home: Path
    api: int
    metrics: int

    @property
    def url(self) -> str:
        return f"http://[::1]:{self.api}"

    @property
    def environment(self) -> dict[str, str]:
        ports = {"NEXUS_API_PORT": str(self.api), "NEXUS_METRICS_PORT": str(self.metrics), "NEXUS_LISTEN_PORT": "0"}
        return {**ENVIRONMENT, **ports, "NEXUS_LOG_FORMAT": "json", "NEXUS_PASSWORD": PASSWORD}

    def nexus(self, *words: str, code: int = 0) -> Any:
        command = [sys.executable, "-m", "node.cli.main", *words, "--home", str(self.home), "--output", "json"]
        environment = {**ENVIRONMENT, "NEXUS_PASSWORD": PASSWORD, "NEXUS_NODE": self.url}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return json.loads((ended.stdout if code == 0 else ended.stderr).strip().splitlines()[-1])

    @contextmanager
    def runs(self) -> Iterator[Path]:
        """Start it, wait for its ready line; yield the path of its log."""
        log = self.home.parent / "joiner.log"
        command = [sys.executable, "-m", "node.cli.main", "start", "--home", str(self.home)]
        with log.open("w") as out, subprocess.Popen(command, env=self.environment, stderr=out) as process:
            try:
                deadline = time.monotonic() + 60
                while '"event": "ready"' not in log.read_text():
                    assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                    time.sleep(0.02)
                yield log
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=20) == 0
                assert "Traceback" not in log.read_text()
            finally:
                if process.poll() is None:
                    process.kill()


def joiner(folder: Path, genesis: Path, seed: str) -> Joiner:
    """Do what docs/join.md says."""
    api, metrics = free_ports(2, socket.SOCK_STREAM)
    made = Joiner(folder / "carol", api, metrics)
    made.nexus("init", "carol", "--genesis", str(genesis), "--seeds", seed, "--key-cost", "quick")
    return made


async def until(done: Callable[[], bool], seconds: float) -> None:
    with trio.fail_after(seconds):
        while not await trio.to_thread.run_sync(done):
            await trio.sleep(0.1)


def height(url: str) -> int:
    try:
        with Client(url) as client:
            return int(client.ask(GetStatus()).height)
    except Refused:
        return -1


async def test_a_fresh_home_joins_syncs_relays_and_becomes_a_validator(tmp_path: Path) -> None:
    root = tmp_path / "net"
    create_network(root, 1, senders=0, rules=Rules(security=SecurityParams(epoch_length=EPOCH)))
    (first,) = load_manifest(root).members
    faucet = Keystore(root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    with running(root):
        async with AsyncClient(first.url) as client:
            purse = Purse("faucet", faucet, client)
            await pay(purse, purse.address, 12)
        carol = joiner(tmp_path, root / "node0" / "genesis.json", f"{first.peer_id}@[::1]:{first.listen_port}")
        with carol.runs():
            await until(lambda: 0 < height(first.url) == height(carol.url), 30)  # in step
            (shown,) = carol.nexus("peers", "list")["connected"]
            assert shown["node_id"] == first.peer_id
            operator = carol.nexus("keys", "list")
            address = Address(decode_address(operator[0]["address"]))
            async with AsyncClient(carol.url) as client:  # it answers and relays: the faucet pays through it
                purse = Purse("faucet", faucet, client)
                await purse.do(await purse.signed_call(
                    message("token/transfer", Transfer(NATIVE, address, Amount(500 * UNXS_PER_NXS)))
                ))
                funds = await client.ask(GetBalance(address=operator[0]["address"]))
                assert int(funds.amount) == 500 * UNXS_PER_NXS
            carol.nexus("tx", "staking", "create-validator", "100nxs", "--moniker", "carol", "--from", "operator")
            async with AsyncClient(first.url) as client:
                purse = Purse("faucet", faucet, client)
                await pay(purse, purse.address, 2 * EPOCH)
            with Client(carol.url) as reader:
                at = int(reader.ask(GetStatus()).height) - 1
                votes = reader.ask(GetCommit(height=str(at))).signatures
            assert len(votes) == 2 and all(vote is not None for vote in votes)


async def pay(purse: Purse, to: Address, times: int) -> None:
    for _ in range(times):
        await purse.do(await purse.signed_call(message("token/transfer", Transfer(NATIVE, to, Amount(1)))))


@asynccontextmanager
async def crowd(root: Path) -> AsyncIterator[tuple[Member, list[Member]]]:
    """A seed and the peers that know it, in one process: networks with discovery and no chain."""
    chain = genesis_hash(load_genesis(Home(root / "node0")))
    async with member(100, chain, outbound=0, crawl=True) as seed, AsyncExitStack() as stack:
        yield seed, [await stack.enter_async_context(member(i, chain, seed.address)) for i in range(CROWD)]


async def test_one_seed_and_nothing_else_is_enough_to_find_eight_of_twenty(tmp_path: Path) -> None:
    root = tmp_path / "net"
    create_network(root, 1, senders=0)
    async with crowd(root) as (seed, peers):
        known = {peer.mesh.peer_id.hex() for peer in peers}
        with trio.fail_after(120):  # they have to be running, and known to the seed as the seed of a network is
            while len(seed.book) < CROWD or any(not entry.reached for entry in seed.book.entries()):
                await trio.sleep(0.1)
        made = await trio.to_thread.run_sync(
            joiner, tmp_path, root / "node0" / "genesis.json", format_peer_address(seed.address)
        )
        settings = tomllib.loads((made.home / "config.toml").read_text())
        assert settings["seeds"] == [format_peer_address(seed.address)] and settings["persistent_peers"] == []
        text = (made.home / "config.toml").read_text() + (made.home / "genesis.json").read_text()
        assert not any(peer in text for peer in known) and not (made.home / "data" / "peers").exists()
        runs = made.runs()
        await trio.to_thread.run_sync(runs.__enter__)
        begun = trio.current_time()
        try:
            found: set[str] = set()
            while len(found) < ENOUGH:
                assert trio.current_time() - begun < 30, sorted(found)
                async with AsyncClient(made.url) as client:
                    found = known & {peer.node_id for peer in (await client.ask(GetPeers())).peers}
                await trio.sleep(0.1)
        finally:
            await trio.to_thread.run_sync(runs.__exit__, None, None, None)
