"""What every drill stands on: a network, people who pay, the command line, and the questions asked afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetReceipt, GetStatus
from node.client import AsyncClient
from node.home import Home
from node.keystore import Keystore
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.create import WALLET_PASSWORD, create_network
from testnet.manifest import Member
from testnet.network import LocalNetwork, clean_environment
from testnet.purse import Purse
from testnet.soak import compare_archives
from testnet.stage import Stage
from testnet.view import look

PAYMENTS: Final = 3
"""In one round of payments."""
PATIENCE: Final = 90.0
"""Seconds for whatever has to happen."""
STANDSTILL: Final = 6.0
"""Seconds that a chain is watched that must not move."""


class Ground:
    """One network in one folder.

    Args:
        stage: is told what happens.
        network: the nodes.

    Attributes:
        committed: payments that a node called committed, with their heights.
    """

    def __init__(self, stage: Stage, network: LocalNetwork) -> None:
        self.stage = stage
        self.network = network
        self.committed: dict[str, int] = {}

    @property
    def root(self) -> Path:
        """The network's folder."""
        return self.network.root

    @property
    def members(self) -> tuple[Member, ...]:
        """All nodes."""
        return self.network.members

    def home(self, member: Member) -> Home:
        """Return the home of a node."""
        return Home(self.network.home(member))

    async def pay(self, through: Member) -> None:
        """Have alice pay bob some times and wait for the blocks. Raises Refused."""
        async with AsyncClient(through.url) as client:
            alice, bob = (self.purse(name, client) for name in ("alice", "bob"))
            for _ in range(PAYMENTS):
                gift = message("token/transfer", Transfer(NATIVE, bob.address, Amount(1_000_000)))
                receipt = await alice.call(gift)
                self.committed[receipt.txid] = int(receipt.height)

    async def offer(self, through: Member) -> str:
        """Have a payment accepted, and do not wait for its block."""
        async with AsyncClient(through.url) as client:
            alice, bob = (self.purse(name, client) for name in ("alice", "bob"))
            signed = await alice.signed_call(message("token/transfer", Transfer(NATIVE, bob.address, Amount(7))))
            return (await alice.submit(signed.raw, wait="accepted")).txid

    def purse(self, name: str, client: AsyncClient) -> Purse:
        """Return a wallet of the testnet on a node."""
        key = Keystore(self.root / "wallets" / "keys").open(name, WALLET_PASSWORD).key
        return Purse(name, key, client)

    async def balances(self, through: Member) -> dict[str, int]:
        """Return what people have."""
        async with AsyncClient(through.url) as client:
            return {name: await self.purse(name, client).balance() for name in ("alice", "bob", "faucet")}

    async def height(self, member: Member) -> int:
        """Return a node's height. Raises Refused if it does not answer."""
        async with AsyncClient(member.url) as client:
            return int((await client.ask(GetStatus())).height)

    async def lacking(self, member: Member) -> list[str]:
        """Return the committed payments that a node, once it has come so far, does not have in the named block."""
        await self.reach(max(self.committed.values()), member)
        missing = []
        async with AsyncClient(member.url) as client:
            for txid, height in self.committed.items():
                try:
                    found = int((await client.ask(GetReceipt(txid=txid))).receipt.height)
                except Refused as refused:
                    if refused.reason is not Reason.NOT_AVAILABLE:
                        raise
                    found = 0
                if found != height:
                    missing.append(txid)
        return missing

    async def same_block(self, height: int) -> bool:
        """Return whether every node that runs has the same block at a height."""
        ids = set()
        for member in self.members:
            if self.network.is_running(member):
                async with AsyncClient(member.url) as client:
                    ids.add((await client.ask(GetBlock(height=str(height)))).header.block_id)
        return len(ids) == 1

    async def start(self, *members: Member, options: tuple[str, ...] = ()) -> None:
        """Start nodes and wait until they are in step with the others."""
        for member in members:
            await in_thread(self.network.start, member.name, *options)
        names = {member.name for member in members}

        def ready() -> bool:
            return all(row.state == "running" and row.peers for row in look(self.network) if row.name in names)

        await in_thread(self.network.wait_until, ready, " and ".join(sorted(names)), PATIENCE)

    async def kill(self, *members: Member) -> None:
        """Kill nodes as a power cut does."""
        for member in members:
            await in_thread(self.network.stop, member.name, signal.SIGKILL)

    async def reach(self, height: int, *members: Member) -> None:
        """Wait until nodes have a block. Raises Refused(TIMED_OUT)."""

        def there() -> bool:
            rows = {row.name: row for row in look(self.network)}
            return all((rows[member.name].height or 0) >= height for member in members)

        await in_thread(self.network.wait_until, there, f"block {height}", PATIENCE)

    async def check_votes(self) -> None:
        """Stop all, and check that no validator signed two things where it may sign one."""
        await in_thread(self.network.stop_all)
        votes, contradictions = await in_thread(compare_archives, self.network)
        self.stage.check(not contradictions and votes > 0, "nobody signed anything twice", f"{votes} votes compared")


@asynccontextmanager
async def new_ground(stage: Stage, root: Path, size: int) -> AsyncGenerator[Ground, None]:
    """Make and start a network of validators; stop it at the end, whatever happens."""
    await in_thread(create_network, root, size, 0)
    ground = Ground(stage, LocalNetwork(root))
    try:
        await ground.start(*ground.members)
        await ground.pay(ground.members[0])
        stage.done(f"{size} validators make blocks", f"{len(ground.committed)} payments are final")
        yield ground
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(LocalNetwork(root).stop_all)


async def nexus(home: Path, *words: str) -> Any:
    """Run one command of `nexus` on a home and return its answer. Raises Refused with what it said."""
    command = [sys.executable, "-m", "node.cli.main", "--home", str(home), "--output", "json", *words]
    environment = {**clean_environment(), "NEXUS_PASSWORD": WALLET_PASSWORD}
    ended = await trio.run_process(
        command, env=environment, capture_stdout=True, capture_stderr=True, check=False, stdin=subprocess.DEVNULL
    )
    if ended.returncode:
        raise _refusal(ended.stderr.decode(errors="replace"))
    return json.loads(ended.stdout)


def _refusal(said: str) -> Refused:
    """Return the refusal that a command ended with."""
    for line in reversed(said.splitlines()):
        try:
            error = json.loads(line)["error"]
            return Refused(Reason(error["reason"]), error["detail"])
        except (ValueError, KeyError, TypeError):
            continue
    return Refused(Reason.INTERNAL, said.strip()[-500:])


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Run what blocks on another thread."""
    return await trio.to_thread.run_sync(partial(function, *arguments))


def lose(folder: Path) -> None:
    """Delete a folder for good."""
    shutil.rmtree(folder)


def keep(home: Home, place: Path, *names: str) -> None:
    """Copy files of a home aside, as a careful operator does on the first day."""
    for name in names:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(home.root / name, target)
    os.chmod(place, 0o700)


def put_back(place: Path, home: Home, *names: str) -> None:
    """Copy files from aside into a home."""
    for name in names:
        shutil.copy2(place / name, home.root / name)
