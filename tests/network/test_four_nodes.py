"""Four real validators through the commands of `nexus testnet`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.api.methods import GetBlock, GetStatus
from node.client import Client
from testnet.network import LocalNetwork

pytestmark = pytest.mark.network


class Testnet:
    """`nexus testnet ...` on one folder."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *words: str, code: int = 0) -> str:
        nexus = [sys.executable, "-m", "node.cli.main", "--output", "json"]
        command = [*nexus, "testnet", *words, "--home", str(self.root)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
        ended = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=200, check=False)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    def status(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.run("status"))
        return rows

    def reason(self, *words: str, code: int = 1) -> str:
        error = json.loads(self.run(*words, code=code).strip().splitlines()[-1])["error"]
        return str(error["reason"])


@pytest.fixture(scope="module")
def testnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testnet]:
    net = Testnet(tmp_path_factory.mktemp("four") / "net")
    try:
        net.run("up", "-n", "4", "--detach")
        yield net
    finally:
        net.run("down")


def heads(net: Testnet) -> list[tuple[int, str]]:
    """Return (height, block id) of every node."""
    found = []
    for member in LocalNetwork(net.root).members:
        with Client(member.url) as client:
            status = client.ask(GetStatus())
            found.append((int(status.height), status.block_id))
    return found


def test_up_again_changes_nothing(testnet: Testnet) -> None:
    before = [row["pid"] for row in testnet.status()]
    testnet.run("up", "--detach")
    rows = testnet.status()
    assert [row["pid"] for row in rows] == before
    assert [row["state"] for row in rows] == ["running"] * 4
    assert [row["peers"] for row in rows] == [3] * 4


def test_a_load_is_final_on_all_nodes(testnet: Testnet) -> None:
    report = json.loads(testnet.run("load", "--rate", "40", "--duration", "4", "--senders", "8"))
    assert (report["offered"], report["committed"], report["refused"]) == (160, 160, {})
    assert 0 < report["p50"] <= report["p99"] <= report["slowest"]
    assert all(node["cpu_seconds"] > 0 and node["memory"] > 0 for node in report["nodes"])


def rested_head(net: Testnet) -> tuple[int, str]:
    """Wait until all nodes stand at one block and stay there for a second; return it."""
    deadline = time.monotonic() + 30
    while True:
        found = set(heads(net))
        time.sleep(1)
        if len(found) == 1 and set(heads(net)) == found:
            return found.pop()
        assert time.monotonic() < deadline


def test_the_nodes_agree_and_rest_when_there_is_nothing_to_do(testnet: Testnet) -> None:
    rest = rested_head(testnet)
    time.sleep(3)
    assert set(heads(testnet)) == {rest}
    with Client(LocalNetwork(testnet.root).members[0].url) as client:
        last, before = (client.ask(GetBlock(height=str(rest[0] - back))).transactions for back in (0, 1))
    assert before and not last, "the last transactions are followed by one empty block, which proves them"


def test_kill_and_restart(testnet: Testnet) -> None:
    testnet.run("kill", "2", "-9")
    assert [row["state"] for row in testnet.status()] == ["running", "running", "stopped", "running"]
    assert testnet.reason("load", "--rate", "20", "--duration", "1", "--senders", "4") == "unreachable"
    testnet.run("restart", "node2")
    assert [row["state"] for row in testnet.status()] == ["running"] * 4
    report = json.loads(testnet.run("load", "--rate", "20", "--duration", "2", "--senders", "4"))
    assert report["committed"] == 40


def test_it_goes_on_where_it_stopped(testnet: Testnet) -> None:
    before = max(heads(testnet))
    testnet.run("down")
    assert [row["state"] for row in testnet.status()] == ["stopped"] * 4
    testnet.run("up", "--detach")
    assert all(head >= before for head in heads(testnet))


def test_a_node_that_dies_at_the_start_is_named(testnet: Testnet) -> None:
    config = testnet.root / "node3" / "config.toml"
    whole = config.read_text()
    testnet.run("down")
    config.write_text("api_port = 'nonsense'\n")
    assert testnet.reason("up", "--detach") == "node_died"
    assert [row["state"] for row in testnet.status()] == ["stopped"] * 4
    config.write_text(whole)
    testnet.run("up", "--detach")
    assert [row["state"] for row in testnet.status()] == ["running"] * 4


def test_wrong_words(testnet: Testnet, tmp_path: Path) -> None:
    assert testnet.reason("kill", "9", code=2) == "usage"
    assert Testnet(tmp_path / "none").reason("status") == "home_missing"
