"""Real processes of two releases, and a height at which they part; a chain that goes on from the state of another."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from apps.chain.messages import PlanUpgrade
from apps.token.messages import Deposit, NewCoin, Transfer
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api.methods import GetBalance, GetBlock, GetOutputs, GetStatus, QueryModule
from node.client import AsyncClient, Client
from node.home import Home
from node.keystore import CONSENSUS_KEY, Keystore, load_node_key
from node.wallet import message
from state.types import NATIVE, Address, Amount, Height
from testnet.create import WALLET_PASSWORD, create_network
from testnet.manifest import load_manifest
from testnet.purse import Purse

pytestmark = pytest.mark.network

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
REPOSITORY = Path(__file__).resolve().parent.parent.parent
OLD = ("node.cli.main", "--output", "json", "start", "--home")
NEW = ("tests.network.new_program",)
HEIGHT = 24
Running = subprocess.Popen[str]


@contextmanager
def programs(root: Path, *kinds: tuple[str, ...]) -> Iterator[list[Running]]:
    """Run one program for each node, and end what is left of them."""
    started: list[Running] = []
    try:
        for member, kind in zip(load_manifest(root).members, kinds, strict=True):
            with (root / member.name / "out.log").open("a") as log:
                started.append(subprocess.Popen(
                    [sys.executable, "-m", *kind, str(root / member.name)], env=ENVIRONMENT, cwd=REPOSITORY,
                    stderr=log, text=True,
                ))
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def status_of(url: str) -> tuple[int, int]:
    """Return height and protocol version, or zeros while the node does not answer."""
    try:
        with Client(url) as client:
            status = client.ask(GetStatus())
    except Refused:
        return 0, 0
    return int(status.height), status.protocol_version


async def until(done: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await trio.sleep(0.1)


def wallet(root: Path, name: str) -> SecretKey:
    return Keystore(root / "wallets" / "keys").open(name, WALLET_PASSWORD).key


def operator(root: Path, member: str) -> SecretKey:
    """A testnet's validators are their own operators."""
    return load_node_key(Home(root / member).keys / f"{CONSENSUS_KEY}.json", None)


async def test_the_old_program_stops_with_a_sentence_and_three_new_ones_go_on(tmp_path: Path) -> None:
    root = tmp_path / "net"
    create_network(root, 4, senders=0)
    members = load_manifest(root).members
    with programs(root, OLD, NEW, NEW, NEW) as running:
        old = running[0]
        await until(lambda: all(status_of(member.url)[1] for member in members))
        async with AsyncClient(members[1].url) as client:
            faucet = Purse("faucet", wallet(root, "faucet"), client)
            plan = message("chain/plan_upgrade", PlanUpgrade(2, Height(HEIGHT), "nexus-node 2.0"))
            for member in members[1:]:
                key = operator(root, member.name)
                await faucet.call(message("token/transfer", Transfer(NATIVE, Address(key.address), Amount(10**7))))
                await Purse(member.name, key, client).call(plan)
            asked = await client.ask(QueryModule(name="chain/upgrade"))
            assert asked.value["scheduled"] == {"version": "2", "height": str(HEIGHT), "name": "nexus-node 2.0"}
            pay = message("token/transfer", Transfer(NATIVE, faucet.address, Amount(1)))
            while (before := status_of(members[1].url))[1] == 1:  # what waits when the version changes is dropped
                await faucet.submit((await faucet.signed_call(pay)).raw, wait="accepted")
                await until(lambda known=before: status_of(members[1].url) != known)
            assert int((await client.ask(GetStatus())).height) == HEIGHT - 1
            await until(lambda: old.poll() is not None)
            assert old.returncode == 1
            last = json.loads((root / "node0" / "out.log").read_text().strip().splitlines()[-1])["error"]
            assert last["reason"] == Reason.UPGRADE_NEEDED.value
            for fact in (f"height {HEIGHT}", f"block {HEIGHT - 1}", "version 2", "'nexus-node 2.0'"):
                assert fact in last["detail"]
            assert "\n" not in last["detail"]
            for _ in range(3):
                assert (await faucet.call(pay)).reason == ""
            blocks = [await client.ask(GetBlock(height=str(height))) for height in (HEIGHT - 1, HEIGHT)]
            assert [block.header.version for block in blocks] == [1, 2]
    with programs(root, NEW, NEW, NEW, NEW):
        await until(lambda: status_of(members[0].url) >= (HEIGHT + 3, 2))
        async with AsyncClient(members[0].url) as client:
            await Purse("faucet", wallet(root, "faucet"), client).call(pay)


def nexus(*words: str) -> dict[str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "node.cli.main", "--output", "json", *words], env=ENVIRONMENT, capture_output=True,
        text=True, timeout=60, check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, str] = json.loads(ended.stdout)
    return answer


async def money(client: AsyncClient, owners: list[Address]) -> list[object]:
    """What there is, and what these accounts have of it: balances and outputs."""
    found: list[object] = [(await client.ask(QueryModule(name="token/supply"))).value["amount"]]
    for owner in owners:
        text = encode_address(owner)
        found.append(int((await client.ask(GetBalance(address=text))).amount))
        outputs = (await client.ask(GetOutputs(address=text, limit=100))).outputs
        found.append([(one.txid, one.index, one.raw) for one in outputs])
    return found


async def test_a_network_goes_on_from_an_exported_state(tmp_path: Path) -> None:
    root = tmp_path / "net"
    create_network(root, 2, senders=0)
    members = load_manifest(root).members
    keys = [wallet(root, name) for name in ("faucet", "alice", "bob")]
    owners = [Address(key.address) for key in keys]
    with programs(root, OLD, OLD):
        await until(lambda: all(status_of(member.url)[1] for member in members))
        async with AsyncClient(members[0].url) as client:
            faucet = Purse("faucet", keys[0], client)
            await faucet.call(message("token/transfer", Transfer(NATIVE, owners[1], Amount(12345))))
            await faucet.call(message("token/deposit", Deposit(NATIVE, (NewCoin(owners[2], Amount(777)),))))
            last = await faucet.signed_call(message("token/transfer", Transfer(NATIVE, owners[2], Amount(1))))
            height = (await faucet.do(last)).height
            unsent = await faucet.signed_call(message("token/transfer", Transfer(NATIVE, owners[2], Amount(5))))
            await until(lambda: all(status_of(member.url)[0] > int(height) for member in members))
            before = await money(client, owners)
    answers = []
    for member in members:
        file = str(tmp_path / f"{member.name}.json")
        answers.append(nexus(
            "--home", str(root / member.name), "genesis", "export", "--height", str(height), "--output-file", file,
        ))
    assert answers[0]["chain_id"] == answers[1]["chain_id"] != load_manifest(root).chain_id
    for member in members:
        home = Home(root / member.name)
        shutil.rmtree(home.data)
        home.data.mkdir()
        shutil.copy(tmp_path / f"{member.name}.json", home.genesis)
        home.genesis_hash.write_text(answers[0]["chain_id"] + "\n")
        home.sign_state.unlink()
        nexus("--home", str(home.root), "validator", "sign-state", "set", "--height", "0")
    with programs(root, OLD, OLD):
        await until(lambda: all(status_of(member.url)[1] for member in members))
        async with AsyncClient(members[0].url) as client:
            assert await money(client, owners) == before
            faucet = Purse("faucet", keys[0], client)
            for signed in (last, unsent):
                with pytest.raises(Refused) as caught:
                    await faucet.submit(signed.raw)
                assert caught.value.reason is Reason.WRONG_CHAIN
            await faucet.call(message("token/transfer", Transfer(NATIVE, owners[2], Amount(5))))
            assert (await money(client, owners))[5] == before[5] + 5  # type: ignore[operator]
            first = await client.ask(GetBlock(height="1"))
            assert (first.header.chain_id, first.header.previous) == (answers[0]["chain_id"],) * 2
