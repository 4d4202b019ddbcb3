"""Running nodes that were away until nobody had their next block any more: they come back by a snapshot, alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetCommit, GetHeader, GetStatus
from node.client import AsyncClient, Client
from node.home import Home
from node.keystore import Keystore
from node.last_sign import SignState, decode_state
from testnet.create import WALLET_PASSWORD, add_node, create_network
from testnet.manifest import Member, load_manifest
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.soak import TROUBLE, compare_archives
from tests.network.forgetful_program import KEPT
from tests.network.test_join import height, pay, until
from tests.network.test_starting import ENVIRONMENT

pytestmark = pytest.mark.network

REPOSITORY = Path(__file__).resolve().parent.parent.parent


class Company:
    """Four validators and a node that follows, all forgetful; each may be away for a while."""

    def __init__(self, root: Path) -> None:
        create_network(root, 4, senders=0)
        add_node(root)
        self.root = root
        self.members = load_manifest(root).members
        for member in self.members:
            config = self.home(member).config
            config.write_text(config.read_text().replace("snapshot_every = 5000", "snapshot_every = 3"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def home(self, member: Member) -> Home:
        return Home(self.root / member.name)

    def log(self, member: Member) -> Path:
        return self.root / member.name / "node.log"

    def start(self, member: Member) -> None:
        command = [sys.executable, "-m", "tests.network.forgetful_program", str(self.home(member).root)]
        environment = {**ENVIRONMENT, "NEXUS_LOG_FORMAT": "json"}
        with self.log(member).open("a") as out:
            self.processes[member.name] = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stderr=out)

    def send(self, member: Member, number: signal.Signals) -> None:
        os.kill(self.processes[member.name].pid, number)

    def end(self, member: Member, number: signal.Signals) -> None:
        self.send(member, number)
        code = self.processes.pop(member.name).wait(timeout=30)
        assert code == (0 if number is signal.SIGTERM else -number)

    def snapshots_taken_over(self, member: Member) -> list[int]:
        """Heights from which it went on, as its log tells."""
        lines = [json.loads(line) for line in self.log(member).read_text().splitlines() if line.startswith("{")]
        return [line["height"] for line in lines if line["event"] == "restored from a snapshot"]


@contextmanager
def company(root: Path) -> Iterator[Company]:
    made = Company(root)
    try:
        for member in made.members:
            made.start(member)
        yield made
    finally:
        for process in made.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Belongings:
    """What must outlive a change of chains: keys as they are, what was signed, and the logs, which only grow."""

    keys: dict[Path, bytes]
    signed: SignState
    archive: dict[Path, bytes]
    log: int

    @classmethod
    def of(cls, home: Home) -> "Belongings":
        return cls(
            {path: path.read_bytes() for path in sorted(home.keys.glob("*.json"))},
            decode_state(home.sign_state.read_bytes()),
            {path: path.read_bytes() for path in home.vote_archive if path.exists()},
            home.consensus_log.stat().st_ino,
        )

    def check_kept(self, home: Home) -> None:
        now = Belongings.of(home)
        assert now.keys == self.keys and now.log == self.log and now.signed.place >= self.signed.place
        assert all(now.archive[path].startswith(raw) for path, raw in self.archive.items())


def has_all_votes(url: str, at: int) -> bool:
    with Client(url) as client:
        return all(one is not None for one in client.ask(GetCommit(height=str(at))).signatures)


async def come_back(nodes: Company, away: list[Member], before: dict[str, int], purse: Purse) -> None:
    """Wait until those who were away have taken over a snapshot above where they were, and follow."""
    first = nodes.members[0]

    def back(member: Member) -> bool:
        taken = nodes.snapshots_taken_over(member)
        return bool(taken) and taken[-1] > before[member.name]

    for member in away:
        await until(partial(back, member), 60)
    await pay(purse, purse.address, 1)
    goal = height(first.url)
    await until(lambda: all(height(member.url) >= goal for member in away), 60)
    for member in away:
        with Client(member.url) as mine, Client(first.url) as theirs:
            status = mine.ask(GetStatus())
            assert status.joining is None
            assert theirs.ask(GetHeader(height=str(int(status.height)))).block_id == status.block_id
            with pytest.raises(Refused) as caught:
                mine.ask(GetBlock(height=str(before[member.name] + 1)))
            assert caught.value.reason is Reason.NOT_AVAILABLE


async def votes_again(nodes: Company, purse: Purse) -> None:
    """Pay until a block is signed by all four: whoever was away votes with the others."""
    url = nodes.members[0].url
    with trio.fail_after(60):
        while True:
            await pay(purse, purse.address, 2)
            if has_all_votes(url, height(url) - 1):
                return


async def test_who_was_away_too_long_comes_back_by_a_snapshot_and_signs_on(tmp_path: Path) -> None:
    """First a validator that is paused and a follower that is killed; then another validator stopped, it paused."""
    root = tmp_path / "net"
    with company(root) as nodes:
        first, _, second, third, follower = nodes.members
        faucet = Keystore(root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
        await until(lambda: all(height(member.url) >= 0 for member in nodes.members), 60)
        async with AsyncClient(first.url) as client:
            purse = Purse("faucet", faucet, client)
            await votes_again(nodes, purse)
            for voter, paused, ended, number in (
                (third, third, follower, signal.SIGKILL), (second, follower, second, signal.SIGTERM),
            ):
                away = [paused, ended]
                await until(lambda away=away: all(height(one.url) == height(first.url) for one in away), 60)  # type: ignore[misc]
                before = {one.name: height(one.url) for one in away}
                nodes.send(paused, signal.SIGSTOP)
                nodes.end(ended, number)
                kept = {one.name: Belongings.of(nodes.home(one)) for one in away}
                await pay(purse, purse.address, KEPT + 4)
                nodes.send(paused, signal.SIGCONT)
                nodes.start(ended)
                await come_back(nodes, away, before, purse)
                await votes_again(nodes, purse)
                for one in away:
                    kept[one.name].check_kept(nodes.home(one))
                after = Belongings.of(nodes.home(voter)).signed
                assert after.height > nodes.snapshots_taken_over(voter)[-1] > kept[voter.name].signed.height
        for member in nodes.members:
            nodes.end(member, signal.SIGTERM)
        votes, contradictions = compare_archives(LocalNetwork(root))
        assert votes > 100 and contradictions == []
        logs = [nodes.log(member).read_text() for member in nodes.members]
        assert not any(word in log for log in logs for word in TROUBLE)
