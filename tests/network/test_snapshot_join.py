"""A fifth node joins four real validators by a snapshot: it knows a seed, the genesis file and a trusted block."""

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetHeader, GetStatus
from node.client import AsyncClient, Client
from node.keystore import Keystore
from testnet.create import WALLET_PASSWORD, create_network
from testnet.network import LocalNetwork
from testnet.purse import Purse
from tests.network.test_join import Joiner, height, joiner, pay, until

pytestmark = pytest.mark.network
KILLS = 4
LONGEST = 1.6
"""Seconds after the first word about joining: it meets peers for a second, and then everything takes moments."""


def start(who: Joiner, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "node.cli.main", "start", "--home", str(who.home), *words]
    with (who.home.parent / "joiner.log").open("a") as out:
        return subprocess.Popen(command, env=who.environment, stderr=out)


def events(who: Joiner) -> list[str]:
    lines = (who.home.parent / "joiner.log").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]


def has_begun(who: Joiner) -> bool:
    """Whether the API answers: from its first moment on, it says that the node joins, or it has joined."""
    try:
        with Client(who.url) as asked:
            status = asked.ask(GetStatus())
            if status.joining is None:
                return True
            with pytest.raises(Refused) as caught:
                asked.ask(GetBlock(height="1"))
            return caught.value.reason in (Reason.JOINING, Reason.NOT_AVAILABLE)
    except Refused:
        return False


async def test_a_fifth_node_joins_by_a_snapshot(tmp_path: Path) -> None:
    root = tmp_path / "net"
    create_network(root, 4, senders=0)
    for number in range(4):
        config = root / f"node{number}" / "config.toml"
        config.write_text(config.read_text().replace("snapshot_every = 5000", "snapshot_every = 5"))
    genesis = shutil.copy(root / "node0" / "genesis.json", tmp_path / "genesis.json")
    faucet = Keystore(root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    network = LocalNetwork(root)
    network.start_all()
    try:
        first = network.members[0]
        await until(lambda: all(height(member.url) >= 0 for member in network.members), 60)
        async with AsyncClient(first.url) as client:
            purse = Purse("faucet", faucet, client)
            await pay(purse, purse.address, 12)
        await until(lambda: all(height(member.url) >= 12 for member in network.members), 30)
        with Client(first.url) as asked:
            trusted = asked.ask(GetHeader(height="3"))
        carol = joiner(tmp_path, Path(genesis), f"{first.peer_id}@[::1]:{first.listen_port}")
        trust = ("--trust-height", "3", "--trust-hash")

        refused = start(carol, *trust, "ab" * 32)  # what it was told is wrong: one sentence, and nothing changes
        assert refused.wait(timeout=60) == 1
        error = (carol.home.parent / "joiner.log").read_text()
        assert Reason.BAD_HEADER in error and "Traceback" not in error

        keys = {path: path.read_bytes() for path in sorted((carol.home / "keys").rglob("*")) if path.is_file()}
        dice = random.Random(seed := os.environ.get("NEXUS_TEST_SEED") or secrets.token_hex(4))
        print("kills with NEXUS_TEST_SEED =", seed)  # shown if the test fails  # noqa: T201
        for _ in range(KILLS):  # again and again, wherever it is; what was fetched and what it holds stays
            killed = start(carol, *trust, trusted.block_id)
            await until(lambda: has_begun(carol), 60)
            await trio.sleep(dice.uniform(0.0, LONGEST))
            killed.kill()
            killed.wait()
            (carol.home.parent / "joiner.log").unlink()
        assert {path: path.read_bytes() for path in keys} == keys

        process = start(carol, *trust, trusted.block_id)
        try:
            await until(lambda: 0 < height(first.url) <= height(carol.url), 60)
            with Client(carol.url) as asked:
                assert asked.ask(GetStatus()).joining is None
            with Client(carol.url) as asked, Client(first.url) as other:
                mine = asked.ask(GetStatus())
                theirs = other.ask(GetHeader(height=str(int(mine.height))))
                assert mine.block_id == theirs.block_id
                with pytest.raises(Refused) as caught:
                    asked.ask(GetBlock(height="1"))
                assert caught.value.reason is Reason.NOT_AVAILABLE
            async with AsyncClient(carol.url) as client:  # it relays, and follows
                purse = Purse("faucet", faucet, client)
                await pay(purse, purse.address, 2)
            await until(lambda: int(mine.height) < height(first.url) == height(carol.url), 30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            if process.poll() is None:
                process.kill()
        shown = carol.nexus("snapshots", "create")  # it makes snapshots itself, too
        assert carol.nexus("snapshots", "list")[-1] == shown
    finally:
        network.stop_all()
