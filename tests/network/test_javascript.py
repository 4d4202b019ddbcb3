"""A JavaScript peer of today's libp2p packages, on Node, against a real node: what the issue asks of interoperation.

The packages come from tests/interop/js/package-lock.json, exact versions with their digests: `make interop` installs
them into a folder that is not committed.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import psutil
import pytest
import trio

from consensus.types import Header
from crypto.address import encode_address
from node.api.methods import GetBalance, GetHeader
from node.client import Client
from node.keystore import Keystore
from state.encoding import encode
from state.tree import StateTree
from state.types import Address, BlockId, ChainId, Height
from testnet.create import WALLET_PASSWORD
from tests.consensus.parts import hash32
from tests.network.test_starting import ENVIRONMENT, command, pay, root, url
from tests.state.model import Records

pytestmark = pytest.mark.network
__all__ = ["root"]

PROGRAM = Path(__file__).resolve().parent.parent / "interop" / "js"
PATIENCE = 60


@pytest.fixture(scope="module")
def node_js() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no Node here: install Node 20 or newer, with npm, then make interop")
    if not (PROGRAM / "node_modules" / ".package-lock.json").exists():
        pytest.skip("the JavaScript packages are not installed: make interop")
    return found


class Lines:
    """The JSON lines of a process's stderr, read on a thread so that the pipe never fills."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: Queue[str] = Queue()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line)

    def wait_for(self, event: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        seen = []
        while time.monotonic() < deadline:
            try:
                seen.append(self._lines.get(timeout=0.2))
            except Empty:
                assert self._process.poll() is None, "".join(seen)
                continue
            if seen[-1].startswith("{") and (found := json.loads(seen[-1])).get("event") == event:
                return dict(found)
        raise AssertionError(f"no {event!r} in: {''.join(seen)}")


@contextmanager
def listening(root: Path) -> Iterator[tuple[subprocess.Popen[str], Lines, str]]:
    """Run a validator with an open listener; yield it, its log, and what a peer dials."""
    words = [*command(root / "node0"), "--open-listen", "[::1]:0"]
    environment = ENVIRONMENT | {"NEXUS_LOG_FORMAT": "json"}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = Lines(process)
            yield process, lines, lines.wait_for("open to stock libp2p")["address"]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)


def faucet(root: Path) -> str:
    return encode_address(Keystore(root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).address)


async def listened(root: Path, words: list[str]) -> dict[str, Any]:
    """Run the JavaScript peer while payments make blocks; return what it printed."""
    done = trio.Event()

    async def keep_paying() -> None:
        while not done.is_set():
            await pay(root)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_paying)
        ended = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)
        done.set()
    assert ended.returncode == 0, ended.stderr.decode()
    return dict(json.loads(ended.stdout))


async def test_it_pings_identifies_follows_blocks_and_checks_a_balance(root: Path, node_js: str) -> None:
    address = faucet(root)
    with listening(root) as (_, _, place):
        words = [node_js, str(PROGRAM / "listen.mjs"), place, address, "3"]
        with trio.fail_after(PATIENCE):
            found = await listened(root, words)
        assert found["agent"].startswith("py-libp2p/")
        assert set(found["protocols"]) == {
            "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.1.0", "/nexus/proof/1",
        }
        assert found["roundTrip"] >= 0
        heights = [block["height"] for block in found["blocks"]]
        assert len(set(heights)) == 3 and heights == sorted(heights)
        with Client(url(root)) as client:
            for block in found["blocks"]:
                assert client.ask(GetHeader(height=str(block["height"]))).block_id == block["id"]
            ours = client.ask(GetBalance(address=address, height=str(found["height"])))
        assert int(found["balance"]) == ours.amount > 0


def make_header() -> Header:
    return Header(
        1, ChainId(hash32("chain")), Height(77), 1_700_000_000_000, Address(hash32("proposer")),
        BlockId(hash32("previous")), *(hash32(str(place)) for place in range(8)),
    )


async def test_its_checks_refuse_every_flipped_byte_of_proof_and_header(node_js: str) -> None:
    records = {b"record %d" % number: b"value %d" % number for number in range(500)}
    tree, key = StateTree.load(Records(records), Height(0)), b"record 77"
    above = make_header()
    asked = {
        "root": tree.root, "key": key, "proof": encode(tree.prove(key, Height(0), records[key])),
        "value": records[key], "header": encode(above), "id": above.block_id,
    }
    text = json.dumps({name: value.hex() for name, value in asked.items()}).encode()
    with trio.fail_after(PATIENCE):
        ended = await trio.run_process(
            [node_js, str(PROGRAM / "tamper.mjs")], stdin=text, capture_stdout=True, capture_stderr=True, check=False
        )
    assert ended.returncode == 0, ended.stderr.decode()
    assert json.loads(ended.stdout)["refused"] == len(asked["proof"]) + len(asked["header"])


def test_the_listener_comes_back_when_it_is_killed_and_goes_with_its_node(root: Path, node_js: str) -> None:
    with listening(root) as (process, lines, place):
        first = child_of(process.pid)
        os.kill(first, signal.SIGKILL)
        lines.wait_for("the listener for stock libp2p ended")
        again = lines.wait_for("open to stock libp2p")["address"]
        assert again.rpartition("/")[2] == place.rpartition("/")[2], "its key stays"
        second = child_of(process.pid)
        process.kill()
        process.wait(timeout=20)
        deadline = time.monotonic() + PATIENCE
        while psutil.pid_exists(second) and psutil.Process(second).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def child_of(pid: int) -> int:
    """Return the process that listens for a node."""
    (child,) = (child for child in psutil.Process(pid).children() if "interop" in child.cmdline())
    return child.pid
