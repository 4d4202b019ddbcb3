"""The demo's fifth node: it knows the genesis file, one seed, and a trusted block, and joins by a snapshot."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.api.methods import GetBalance, GetBlock, GetHeader, GetStatus
from node.api.shapes import Status
from node.client import AsyncClient
from node.home import Home
from node.snapshots import snapshots_in
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.newcomer import Newcomer, invite
from testnet.processes import ProcessId
from testnet.scenes import Company, shown
from testnet.stage import Stage

PAYMENTS: Final = 3
"""Blocks that are made first: a snapshot needs two, and the trusted block stands below it."""
PATIENCE: Final = 60.0
"""Seconds for each thing to happen."""
LOOK_EVERY: Final = 0.03


async def join(stage: Stage, company: Company) -> None:
    """Let two validators make snapshots, and a node that nobody prepared join by one of them."""
    network, (first, second, *_) = company.network, company.network.members
    for _ in range(PAYMENTS):
        await company.alice.call(message("token/transfer", Transfer(NATIVE, company.bob.address, Amount(1))))
    for member in (first, second):
        await trio.to_thread.run_sync(make_snapshot, network.home(member))
    made = [snapshots_in(Home(network.home(member)).snapshots) for member in (first, second)]
    heights = [max(one.height for one in files) for files in made]
    stage.done("two validators make snapshots while blocks go on", f"of heights {heights[0]} and {heights[1]}")
    trusted = (await company.clients[2].ask(GetHeader(height=str(max(1, min(heights) - 1)))))
    stage.tell(f"nexus init carol --genesis genesis.json --seeds {first.peer_id[:12]}...@[::1]:{first.listen_port}")
    carol = await trio.to_thread.run_sync(invite, network.root.parent / "carol", network, first)
    stage.done("a fifth home: a genesis file and one seed", "in a folder of its own, with its own 24 words")
    stage.tell(f"nexus start --trust-height {trusted.height} --trust-hash {trusted.block_id[:12]}...")
    process = carol.start("--trust-height", str(trusted.height), "--trust-hash", trusted.block_id)
    try:
        seen = await in_step(company, carol, process)
        stage.done("it says how far it is while it joins", ", then ".join(seen))
        await show(stage, company, carol)
    finally:
        await trio.to_thread.run_sync(carol.stop, process)
        shutil.rmtree(carol.home, ignore_errors=not stage.failed)


def make_snapshot(home: Path) -> None:
    """Run `nexus snapshots create`. Raises Refused(INTERNAL) with what it said."""
    command = [sys.executable, "-m", "node.cli.main", "--home", str(home), "snapshots", "create"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode:
        raise Refused(Reason.INTERNAL, ended.stderr.strip()[-500:])


async def in_step(company: Company, carol: Newcomer, process: ProcessId) -> list[str]:
    """Wait until the new node is where the others are; return what its status told on the way, each thing once."""
    told: list[str] = []

    def arrived(status: Status, goal: int) -> bool:
        word = _word(status)
        if word not in told:
            told.append(word)
        return status.joining is None and not status.catching_up and int(status.height) >= goal

    goal = int((await company.clients[0].ask(GetStatus())).height)
    with trio.fail_after(PATIENCE):
        while True:
            status = await trio.to_thread.run_sync(carol.status, process)
            if status is not None and arrived(status, goal):
                return told
            await trio.sleep(LOOK_EVERY)


def _word(status: Status) -> str:
    joining = status.joining
    if joining is None:
        return f"block {status.height}"
    if joining.total:
        return f"{joining.done} of {joining.total} chunks"
    return joining.stage


async def show(stage: Stage, company: Company, carol: Newcomer) -> None:
    """Let the new node answer a question, and say what it does not have."""
    async with AsyncClient(carol.url) as client:
        status = await client.ask(GetStatus())
        header = (await company.clients[0].ask(GetHeader(height=str(status.height))))
        stage.check(header.block_id == status.block_id, "it is in step", f"block {status.height}, {status.peers} peers")
        expected = await company.alice.balance()
        answer = await client.ask(GetBalance(address=company.alice.text))
        stage.check(int(answer.amount) == expected, "it knows what alice holds", shown(expected))
        await stage.refused(
            "it never saw the first block, and needs it for nothing", Reason.NOT_AVAILABLE,
            client.ask(GetBlock(height="1")),
        )
