"""Real processes: a fifth validator joins and leaves; another one is jailed for absence and comes back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.token.messages import Transfer
from crypto.address import encode_address
from crypto.errors import Refused
from node.api.methods import GetStatus, GetValidators, QueryModule
from node.client import AsyncClient, Client
from node.keystore import CONSENSUS_KEY, Keystore
from node.wallet import message
from state.params import ChainParams, SecurityParams, StakingParams
from state.types import NATIVE, Amount
from testnet.create import POWER, WALLET_PASSWORD, Rules, add_node, create_network
from testnet.network import LocalNetwork
from testnet.purse import Purse

pytestmark = pytest.mark.network

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
RULES = Rules(
    chain=ChainParams(evidence_window=1_000),
    security=SecurityParams(evidence_age=10_000, unbonding=4_000, trust_period=3_000, epoch_length=8),
    staking=StakingParams(
        unbonding_blocks=8, downtime_window=8, min_signed=5_000, jail_blocks=4, slash_downtime=100, inflation=100
    ),
)
PATIENCE = 150
"""Payments that are made until something has to have happened."""


class Stage:
    """A network, and a purse whose payments move its chain on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        create_network(root, 4, senders=0, rules=RULES)
        self.net = LocalNetwork(root)
        self.password = root / "password"
        self.password.write_text(WALLET_PASSWORD)

    def tx(self, *words: str, code: int = 0) -> Any:
        """Run `nexus tx ...` as the owner of a wallet would, against node 0."""
        ended = subprocess.run(
            [
                sys.executable, "-m", "node.cli.main", "--output", "json", "--home", str(self.root / "wallets"),
                "--node", self.net.members[0].url, "tx", *words, "--password-file", str(self.password),
            ],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stdout + ended.stderr
        return json.loads(ended.stdout if code == 0 else ended.stderr.strip().splitlines()[-1])

    async def until(self, client: AsyncClient, done: Callable[[], Awaitable[bool]]) -> None:
        """Pay until it holds."""
        key = Keystore(self.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
        faucet = Purse("faucet", key, client)
        pay = message("token/transfer", Transfer(NATIVE, faucet.address, Amount(1)))
        for _ in range(PATIENCE):
            if await done():
                return
            await faucet.call(pay)
        raise AssertionError("it did not happen")


def head(url: str) -> int:
    """Return a node's height; -1 while it does not answer."""
    try:
        with Client(url) as client:
            return int(client.ask(GetStatus()).height)
    except Refused:
        return -1


def connections(url: str) -> int:
    """Return how many peers a node has; 0 while it does not answer."""
    try:
        with Client(url) as client:
            return int(client.ask(GetStatus()).peers)
    except Refused:
        return 0


async def ask(client: AsyncClient, name: str, **parameters: str) -> Any:
    return (await client.ask(QueryModule(name=name, parameters=parameters))).value


async def voters(client: AsyncClient) -> dict[str, int]:
    """Return the power of each operator that votes on the next height."""
    height = int((await client.ask(GetStatus())).height) + 1
    found = await client.ask(GetValidators(height=str(height)))
    return {one.operator: int(one.power) for one in found.validators}


async def earnings(client: AsyncClient, owner: str) -> int:
    """What an account's stake has earned and not claimed. An operator earns by signatures that blocks include, late
    ones too; the commit that a node shows holds only those that it had when it decided."""
    return int((await ask(client, "staking/rewards", delegator=owner))["total"])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "net")
    try:
        made.net.start_all()
        yield made
    finally:
        made.net.stop_all()


async def test_a_validator_joins_and_leaves_and_another_is_jailed_and_comes_back(stage: Stage) -> None:
    fifth = add_node(stage.root)
    stage.net = LocalNetwork(stage.root)
    stage.net.start(fifth.name)
    key_file = stage.root / fifth.name / "keys" / f"{CONSENSUS_KEY}.json"
    async with AsyncClient(stage.net.members[0].url) as client:
        stage.net.wait_until(lambda: all(head(member.url) >= 0 for member in stage.net.members), "the nodes")
        operator = encode_address(Keystore(stage.root / "wallets" / "keys").entry("alice").address)

        stage.tx(
            "staking", "create-validator", f"{POWER}nxs", "--moniker", "fifth", "--commission-rate", "0.1",
            "--consensus-key", str(key_file), "--from", "alice",
        )  # fmt: skip
        again = stage.tx(
            "staking", "create-validator", "5nxs", "--moniker", "x", "--consensus-key", str(key_file), "--from", "bob",
            code=1,
        )  # fmt: skip
        assert again["error"]["reason"] == "key_in_use"
        stage.tx("staking", "delegate", "alice", "20nxs", "--from", "bob")

        async def votes() -> bool:
            return (await voters(client)).get(operator) == POWER + 20

        await stage.until(client, votes)
        assert len(await voters(client)) == 5

        async def earned() -> bool:
            return await earnings(client, operator) > 0

        await stage.until(client, earned)
        assert stage.tx("staking", "claim", "alice", "--from", "alice")["events"]

        victim = stage.net.members[3]
        absent = next(one for one in await ask(client, "staking/validators") if one["moniker"] == victim.name)
        stage.net.stop(victim.name, signal.SIGKILL)

        async def jailed() -> bool:
            return absent["operator"] not in await voters(client)

        await stage.until(client, jailed)
        info = await ask(client, "slashing/info", operator=absent["operator"])
        assert info["jailed"] and not info["tombstoned"] and int(info["score"]) < int(absent["score"])
        stage.net.start(victim.name)
        # Who lacks a connection to a voter hears its votes late, and would be absent again at once.
        stage.net.wait_until(lambda: connections(victim.url) == 4, "the connections")

        async def freed() -> bool:
            height = int((await client.ask(GetStatus())).height)
            return height + 1 >= int(info["jailed_until"])

        await stage.until(client, freed)
        assert stage.tx("slashing", "unjail", "--fee", "0nxs", "--from", victim.name)["fee"] == "0nxs"  # a duty is free

        unsigned = await earnings(client, absent["operator"])

        async def back() -> bool:
            return await earnings(client, absent["operator"]) > unsigned

        await stage.until(client, back)
        power = (await voters(client))[absent["operator"]]
        assert power == POWER - 1  # it lost a hundredth

        before = await ask(client, "token/balance", address=operator)
        stage.tx("staking", "unbond", "alice", "all", "--from", "alice")

        async def gone() -> bool:
            return operator not in await voters(client)

        await stage.until(client, gone)

        async def home() -> bool:
            return not await ask(client, "staking/unbonding", delegator=operator)

        await stage.until(client, home)
        after = await ask(client, "token/balance", address=operator)
        assert int(after["amount"]) > int(before["amount"]) + (POWER - 1) * 10**6
        assert (await voters(client)).keys() >= {absent["operator"]}
    heads = [head(member.url) for member in stage.net.members]
    assert max(heads) - min(heads) <= 3
