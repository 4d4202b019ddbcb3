"""What `nexus start` does with wrong inputs and lying peers: one sentence, nothing harmed, and then it joins.

One forged network for all: its first blocks are older than the trust period, its last ones are not.
"""

import contextlib
import json
import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from crypto.errors import Reason
from node.chain import Chain, open_chain
from node.client import AsyncClient
from node.home import Home
from node.keystore import Keystore
from node.node import load_genesis
from node.remedies import REMEDIES
from node.snapshots import draft_snapshot, write_snapshot
from state.encoding import encode
from state.leveldb import LevelDB
from state.params import SecurityParams
from state.types import ChainId, Height
from testnet.create import WALLET_PASSWORD, Rules, add_node, create_network
from testnet.forge import Plan, forge
from testnet.manifest import Member, load_manifest
from testnet.purse import Purse
from tests.network.test_join import Joiner, height, joiner, pay, until
from tests.network.test_starting import ENVIRONMENT

pytestmark = pytest.mark.network

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BLOCKS = 20
MINUTE = 60_000
PERIOD = 60 * MINUTE
PLAN = Plan(BLOCKS, interval=10 * MINUTE, rules=Rules(security=SecurityParams(trust_period=PERIOD)))
OLD, YOUNG = 4, BLOCKS - 2
HONEST = ("node.cli.main", "--output", "json", "start", "--home")
LIAR = ("tests.network.lying_program",)


@dataclass
class World:
    """A validator with a snapshot of block 19, a liar with one of a later block, and another network.

    Attributes:
        ids: block ids by height, of this chain and of the other one.
    """

    honest: Member
    liar: Member
    other: Member
    root: Path
    genesis: Path
    other_root: Path
    ids: dict[int, str]
    other_block: Path
    other_id: str

    def home(self, member: Member) -> Path:
        return (self.other_root if member is self.other else self.root) / member.name

    @contextmanager
    def runs(self, member: Member, *program: str, behind: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
        home = self.home(member)
        with (home / "node.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *program, str(home), *behind], env=ENVIRONMENT, cwd=REPOSITORY, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


def seed(member: Member) -> str:
    return f"{member.peer_id}@[::1]:{member.listen_port}"


@contextmanager
def chain_of(home: Path) -> Iterator[Chain]:
    """Open the chain of a home that does not run."""
    store = LevelDB.open(Home(home).chain)
    try:
        yield open_chain(store, load_genesis(Home(home)))
    finally:
        store.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("wrong")
    root, other_root = folder / "net", folder / "other"
    forge(root, PLAN)
    add_node(root)
    create_network(other_root, 1, senders=0)
    honest, liar = load_manifest(root).members
    (other,) = load_manifest(other_root).members
    genesis = Path(shutil.copy(root / "node0" / "genesis.json", folder / "genesis.json"))
    with chain_of(root / "node0") as chain:
        write_snapshot(draft_snapshot(chain), Home(root / "node0").snapshots, lambda _share: None)
        blocks = {at: chain.light_block(Height(at)) for at in (OLD, YOUNG)}
    foreign = replace(blocks[OLD], header=replace(blocks[OLD].header, chain_id=ChainId(bytes(32))))
    (folder / "block").write_bytes(encode(foreign))
    ids = {at: one.header.block_id.hex() for at, one in blocks.items()}
    other_id = foreign.header.block_id.hex()
    made = World(honest, liar, other, root, genesis, other_root, ids, folder / "block", other_id)
    trio.run(two_more_blocks, made)
    shutil.copytree(Home(root / "node0").chain, Home(root / "node1").chain)
    with chain_of(root / "node1") as chain:
        write_snapshot(draft_snapshot(chain), Home(root / "node1").snapshots, lambda _share: None)
    return made


async def two_more_blocks(world: World) -> None:
    faucet = Keystore(world.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    with world.runs(world.honest, *HONEST):
        await until(lambda: height(world.honest.url) >= BLOCKS, 60)
        async with AsyncClient(world.honest.url) as client:
            purse = Purse("faucet", faucet, client)
            await pay(purse, purse.address, 2)


@dataclass
class Start:
    """One life of a joiner: its process, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def told(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.lines() if str(line.get("event", "")).startswith(event)]

    def error(self) -> dict[str, str]:
        """Wait for its end, which is one sentence."""
        assert self.process.wait(timeout=60) == 1
        error: dict[str, str] = self.lines()[-1]["error"]  # type: ignore[assignment]
        assert "\n" not in error["detail"] and "Traceback" not in self.log.read_text()
        return error


@contextmanager
def started(who: Joiner, *words: str, seeds: str) -> Iterator[Start]:
    log = who.home.parent / f"{len(list(who.home.parent.glob('*.log')))}.log"
    command = [sys.executable, "-m", "node.cli.main", "--output", "json", "start", "--home", str(who.home), *words]
    with log.open("w") as out:
        process = subprocess.Popen(command, env={**who.environment, "NEXUS_SEEDS": seeds}, stderr=out)
    try:
        yield Start(process, log)
        if process.poll() is None:
            process.terminate()
            assert process.wait(timeout=30) == 0
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()


def belongings(who: Joiner) -> dict[str, bytes]:
    """Everything in a home that is not what was heard of peers, a log, or a database's own."""
    files = [path for path in who.home.rglob("*") if path.is_file()]
    return {
        str(path): path.read_bytes() for path in files
        if not {"peers", "bans", "chain", "chain.new"} & set(path.relative_to(who.home).parts)
    }


def trust(at: int, block_id: str) -> tuple[str, ...]:
    return ("--trust-height", str(at), "--trust-hash", block_id)


@pytest.fixture
def carol(tmp_path: Path, world: World) -> Joiner:
    return joiner(tmp_path, world.genesis, seed(world.honest))


async def sees(found: Callable[[], object], start: Start, seconds: float = 60) -> None:
    def done() -> bool:
        assert start.process.poll() is None, start.log.read_text()
        return bool(found())

    await until(done, seconds)


async def joins(carol: Joiner, world: World, *words: str, at: int = BLOCKS - 1) -> None:
    """The same home with the right inputs: it takes over the honest snapshot."""
    with started(carol, *words, seeds=seed(world.honest)) as start:
        await sees(lambda: height(carol.url) > BLOCKS + 1, start)
        assert [line["height"] for line in start.told("restored from a snapshot")] == ([at] if at else [])


async def test_roots_of_trust_that_are_none(world: World, carol: Joiner) -> None:
    before = belongings(carol)
    with world.runs(world.honest, *HONEST):
        with started(carol, *trust(OLD, world.ids[OLD]), seeds=seed(world.honest)) as start:
            assert start.error()["reason"] == Reason.TRUST_EXPIRED
        with started(carol, *trust(YOUNG, world.ids[OLD]), seeds=seed(world.honest)) as start:
            error = start.error()
            assert error["reason"] == Reason.BAD_HEADER and REMEDIES[Reason.BAD_HEADER] not in error["detail"]
    foreign = ("header", str(world.other_block))
    words = trust(OLD, world.other_id)
    with world.runs(world.liar, *LIAR, behind=foreign), started(carol, *words, seeds=seed(world.liar)) as start:
        assert start.error()["reason"] == Reason.WRONG_CHAIN
    assert belongings(carol) == before and not Home(carol.home).new_chain.exists()
    with world.runs(world.honest, *HONEST):
        await joins(carol, world, *trust(YOUNG, world.ids[YOUNG]))


async def test_wrong_seeds_and_a_wrong_genesis(world: World, carol: Joiner) -> None:
    """Nothing is named and the genesis is too old: it says so, and takes over every block when it has peers."""
    foreign, nobody = seed(world.other), f"{'ab' * 32}@[::1]:9"
    with world.runs(world.other, *HONEST), started(carol, seeds=f"{foreign},{nobody}") as start:
        wanted = {Reason.WRONG_GENESIS, Reason.UNREACHABLE}
        await sees(lambda: wanted <= {line["reason"] for line in start.told("the seed ")}, start)
        assert height(carol.url) == 0
        usage = carol.nexus("init", "x", "--seeds", foreign, code=2)["error"]
        assert usage["reason"] == Reason.USAGE
        assert start.told("this home's chain and the genesis are older than the trust period")
    mine, before = carol.home / "genesis.json", belongings(carol)
    right = mine.read_bytes()
    mine.write_bytes((world.home(world.other) / "genesis.json").read_bytes())
    with started(carol, seeds=foreign) as start:
        assert start.error()["reason"] == Reason.GENESIS_MISMATCH
    mine.write_bytes(right)
    assert belongings(carol) == before
    with world.runs(world.honest, *HONEST):
        await joins(carol, world, at=0)


@pytest.mark.parametrize("lie", ["chunk", "manifest"])
async def test_a_lying_provider_alone_and_beside_an_honest_one(world: World, carol: Joiner, lie: str) -> None:
    words = trust(YOUNG, world.ids[YOUNG])
    before = belongings(carol)
    with world.runs(world.liar, *LIAR, behind=(lie,)):
        with started(carol, *words, seeds=seed(world.liar)) as start:  # it says who lies, and goes on with blocks
            await sees(lambda: start.told("no snapshot helps"), start)
            (named,) = start.told("a peer is of no help")
            assert named["reason"] in (Reason.BAD_PROOF, Reason.BAD_SNAPSHOT) and "\n" not in str(named["detail"])
            await sees(lambda: height(carol.url) == 0, start)
        assert {**before, **belongings(carol)} == belongings(carol)
        shutil.rmtree(carol.home / "data" / "bans", ignore_errors=True)
        with world.runs(world.honest, *HONEST):
            both = f"{seed(world.liar)},{seed(world.honest)}"
            with started(carol, *words, seeds=both) as start:
                await sees(lambda: height(carol.url) > BLOCKS + 1, start)
                assert [line["height"] for line in start.told("restored from a snapshot")] == [BLOCKS - 1]


def test_a_person_who_looks_sees_a_bar(world: World, carol: Joiner) -> None:
    """On a terminal, while nobody answers: it waits for peers, and stops as always."""
    ours, its = pty.openpty()
    words = ["start", "--home", str(carol.home), *trust(YOUNG, world.ids[YOUNG])]
    environment = {**carol.environment, "NEXUS_LOG_FORMAT": "console", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)  # what is left of the bar is drawn in another colour, or not at all
    process = subprocess.Popen([sys.executable, "-m", "node.cli.main", *words], env=environment, stderr=its)
    os.close(its)
    seen = b""
    try:
        while b"\x1b[2K" not in seen or "━".encode() not in seen:  # a bar that was drawn, and drawn again
            assert select.select([ours], [], [], 60)[0], seen[-2000:]
            seen += os.read(ours, 4096)
        assert b"joining: 0 peers" in seen
        process.terminate()
        with contextlib.suppress(OSError):  # how a terminal says that the other end is closed
            while more := os.read(ours, 4096):
                seen += more
        assert process.wait(timeout=30) == 0 and b"Traceback" not in seen
    finally:
        process.kill()
        os.close(ours)
