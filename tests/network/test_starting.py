"""How a real node process starts, stops, and refuses to start: exit code 1 and one sentence, never a traceback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.api.methods import GetReceipt, GetStatus
from node.client import AsyncClient, Client
from node.keystore import Keystore
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.create import WALLET_PASSWORD, create_network
from testnet.manifest import load_manifest
from testnet.purse import Purse

pytestmark = pytest.mark.network

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}


def command(home: Path) -> list[str]:
    return [sys.executable, "-m", "node.cli.main", "--output", "json", "start", "--home", str(home)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A testnet of one validator, which makes blocks alone."""
    create_network(tmp_path / "net", 1, senders=0)
    return tmp_path / "net"


def url(root: Path) -> str:
    return load_manifest(root).members[0].url


@contextmanager
def running(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the node and wait until it answers; kill it at the end if it still runs."""
    with subprocess.Popen(command(root / "node0"), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(root, process)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for(root: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, process.communicate()[1]
        try:
            with Client(url(root)) as client:
                client.ask(GetStatus())
            return
        except Refused:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def refusal(root: Path) -> Reason:
    """Start the node, which must end by itself with exit code 1; return the reason that it gives last."""
    ended = subprocess.run(
        command(root / "node0"), env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    error = json.loads(ended.stderr.strip().splitlines()[-1])["error"]
    assert error["detail"] and "\n" not in error["detail"]
    return Reason(error["reason"])


async def pay(root: Path) -> str:
    """Make one payment; return its txid once the API calls it committed."""
    opened = Keystore(root / "wallets" / "keys").open("faucet", WALLET_PASSWORD)
    async with AsyncClient(url(root)) as client:
        purse = Purse("faucet", opened.key, client)
        signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
        await purse.do(signed)
    return signed.txid.hex()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_cleanly_and_it_goes_on_where_it_was(root: Path, number: signal.Signals) -> None:
    with running(root) as process:
        txid = await pay(root)
        code, errors = stop(process, number)
    assert code == 0
    assert "Traceback" not in errors
    with running(root) as process:
        with Client(url(root)) as client:
            assert client.ask(GetReceipt(txid=txid)).receipt.reason == ""
        assert stop(process)[0] == 0


async def test_kill_at_once_after_the_acknowledgement_loses_nothing(root: Path) -> None:
    with running(root) as process:
        txid = await pay(root)
        process.kill()
    with running(root), Client(url(root)) as client:
        assert client.ask(GetReceipt(txid=txid)).receipt.reason == ""


def test_a_second_process_on_the_same_home(root: Path) -> None:
    with running(root) as process:
        assert refusal(root) is Reason.HOME_IN_USE
        with Client(url(root)) as client:  # and the first one lives on
            client.ask(GetStatus())
        assert stop(process)[0] == 0


@pytest.mark.parametrize(("kind", "which"), [
    (socket.SOCK_STREAM, "api_port"), (socket.SOCK_STREAM, "metrics_port"), (socket.SOCK_DGRAM, "listen_port"),
])
def test_a_port_in_use(root: Path, kind: socket.SocketKind, which: str) -> None:
    with socket.socket(socket.AF_INET6, kind) as other:
        other.bind(("::1", getattr(load_manifest(root).members[0], which)))
        if kind is socket.SOCK_STREAM:
            other.listen()
        assert refusal(root) is Reason.PORT_IN_USE


@pytest.mark.parametrize(
    "text", ["moniker = ", "api_port = 70000\n", "no_such_key = 1\n", "\x00\xff", "listen_host = '127.0.0.1'"]
)
def test_a_corrupted_config(root: Path, text: str) -> None:
    (root / "node0" / "config.toml").write_text(text)
    assert refusal(root) is Reason.BAD_CONFIG


def test_no_home(tmp_path: Path) -> None:
    assert refusal(tmp_path) is Reason.HOME_MISSING


def test_a_genesis_that_differs(root: Path) -> None:
    genesis = root / "node0" / "genesis.json"
    genesis.write_text(genesis.read_text().replace('"testnet"', '"othernet"'))
    assert refusal(root) is Reason.GENESIS_MISMATCH


def test_a_damaged_genesis(root: Path) -> None:
    genesis = root / "node0" / "genesis.json"
    genesis.write_text(genesis.read_text()[:-40])
    assert refusal(root) is Reason.BAD_GENESIS


async def test_a_database_of_another_chain(root: Path, tmp_path: Path) -> None:
    with running(root) as process:
        await pay(root)
        stop(process)
    create_network(tmp_path / "other", 1, senders=0)
    shutil.rmtree(tmp_path / "other" / "node0" / "data")
    shutil.copytree(root / "node0" / "data", tmp_path / "other" / "node0" / "data")
    assert refusal(tmp_path / "other") is Reason.GENESIS_MISMATCH


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
async def test_a_flipped_bit_in_the_database(root: Path, share: float) -> None:
    with running(root) as process:
        await pay(root)
        stop(process)
    files = [path for path in (root / "node0" / "data" / "chain").iterdir() if path.suffix in (".ldb", ".log")]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[int(len(content) * share)] ^= 4
    largest.write_bytes(content)
    assert refusal(root) is Reason.CORRUPT_DATABASE
