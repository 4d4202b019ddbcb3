"""`nexus light start` as a real process beside real nodes: it serves, survives a kill, and names what is wrong."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import Reason, Refused
from node.api.methods import GetHeader, GetPeers, GetReceipt, GetStatus
from node.api.server import bind_socket
from node.client import Client
from testnet.manifest import load_manifest
from tests.network.test_starting import ENVIRONMENT, pay, root, running, stop, url

pytestmark = pytest.mark.network
__all__ = ["root"]


def words(home: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "node.cli.main", *more, "--home", str(home)]


def free_port() -> int:
    with bind_socket("::1", 0) as bound:
        return int(bound.getsockname()[1])


@contextmanager
def following(home: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a light client and wait until it answers; kill it at the end if it still runs."""
    port = free_port()
    command = words(home, "light", "start", "--port", str(port), "--every", "0.3", *more)
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                assert process.poll() is None, process.communicate()[1]
                try:
                    with Client(f"http://[::1]:{port}") as client:
                        client.ask(GetStatus())
                    break
                except Refused as refused:
                    assert refused.reason is Reason.UNREACHABLE and time.monotonic() < deadline
                    time.sleep(0.05)
            yield process, f"http://[::1]:{port}"
        finally:
            if process.poll() is None:
                process.kill()


def light(home: Path, *more: str) -> tuple[int, Any]:
    return nexus(home, "light", *more)


def nexus(home: Path, *more: str) -> tuple[int, Any]:
    command = [*words(home, *more), "--output", "json"]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (0, 1), ended.stderr
    text = ended.stdout if ended.returncode == 0 else ended.stderr.strip().splitlines()[-1]
    return ended.returncode, json.loads(text)


def refused_in_one_sentence(home: Path, address: str) -> None:
    """Begin with what does not hold: one sentence, and nothing is written before the root of trust holds."""
    cases = {
        Reason.WRONG_CHAIN: ("--chain-id", "ab" * 32),
        Reason.BAD_HEADER: ("--trust-height", "1", "--trust-hash", "ab" * 32),
        Reason.NOT_AVAILABLE: ("--trust-height", "999999", "--trust-hash", "ab" * 32),
    }
    for reason, trust in cases.items():
        code, error = light(home, "start", "--node", address, *trust)
        assert code == 1 and error["error"]["reason"] == reason and "\n" not in error["error"]["detail"]
    assert not (home / "light").exists()
    assert light(home, "status")[1]["error"]["reason"] == Reason.HOME_MISSING


async def test_it_follows_serves_and_goes_on_after_a_kill(root: Path, tmp_path: Path) -> None:
    home, chain_id = tmp_path / "light", load_manifest(root).chain_id
    with running(root) as node:
        txid = await pay(root)
        refused_in_one_sentence(home, url(root))
        trust = ("--chain-id", chain_id, "--node", url(root))
        with following(home, *trust) as (process, local), Client(local) as client:
            with Client(url(root)) as told:
                assert client.ask(GetHeader(height="1")) == told.ask(GetHeader(height="1"))
            receipt = client.ask(GetReceipt(txid=txid)).receipt
            assert receipt.txid == txid and receipt.reason == ""
            with pytest.raises(Refused) as caught:
                client.ask(GetPeers())
            assert caught.value.reason is Reason.NOT_VERIFIABLE
            process.kill()
        code, kept = light(home, "status")
        assert code == 0 and int(kept["height"]) >= receipt.height and kept["warning"] == ""
        # from here on its own folder is the root of trust
        with following(home, "--node", url(root)) as (process, local), Client(local) as client:
            assert int(client.ask(GetStatus()).height) >= int(kept["height"]) - 1
            assert client.ask(GetReceipt(txid=txid)).receipt == receipt
            assert stop(process)[0] == 0
        file, checkpoint = str(tmp_path / "checkpoint"), ("checkpoint", "export", "--node", url(root))
        assert nexus(home, *checkpoint, file, "--height", "1")[0] == 0
        assert nexus(home, "checkpoint", "verify", file)[1]["follows_from"] == "block 1"
        assert nexus(tmp_path, "checkpoint", "verify", file)[1]["follows_from"] is None
        code, answer = light(home, "query", "receipt", txid, "--node", url(root))
        assert code == 0 and answer["receipt"]["txid"] == txid
        stop(node)
    code, error = light(home, "query", "receipt", txid, "--node", url(root))
    assert code == 1 and error["error"]["reason"] == Reason.UNREACHABLE
