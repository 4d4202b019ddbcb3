"""Joining by a snapshot: from honest peers, among liars, after a kill, and back to blocks when nothing helps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.fetching import ChunkPlan
from node.home import Home
from node.joining import Joiner, Standing, join_first, standing
from node.light.roots import GenesisRoot, HeaderRoot
from node.node import RunningNode
from node.restore import swap
from node.snapshots import snapshots_in
from p2p.network import PeerId
from state.leveldb import LevelDB
from state.restoring import Restoration, unfinished
from state.types import BlockId, Height
from tests.node.lab import Lab, until
from tests.node.test_snapshots import pay_until, where

JOINER = 3
A, B = PeerId(b"a" * 32), PeerId(b"b" * 32)


@asynccontextmanager
async def network(lab: Lab) -> AsyncIterator[list[RunningNode]]:
    """Run a validator and two followers that all have a snapshot of height 8, at block 11 or a few more."""
    async with (
        lab.node(0, snapshot_every=8) as first, lab.node(1, snapshot_every=8) as second,
        lab.node(2, snapshot_every=8) as third,
    ):
        await pay_until(lab, first, 11)
        for index in range(3):
            await until(lambda index=index: len(list(snapshots_in(lab.home(index).snapshots))) == 1)  # type: ignore[misc]
        await until(lambda: min(one.core.chain.height for one in (second, third)) >= 11)
        yield [first, second, third]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr("state.snapshot.CHUNK_BYTES", 0)  # the smallest chunks
    return Lab(tmp_path, size=1, followers=3)


def root_at(node: RunningNode, height: int) -> HeaderRoot:
    return HeaderRoot(Height(height), node.core.chain.header(Height(height)).block_id)


async def join(lab: Lab, root: HeaderRoot | None) -> None:
    await join_first(lab.home(JOINER), lab.config(JOINER), lab.genesis, lab.node_keys[JOINER], None, root)


@pytest.mark.parametrize("trusted", [2, 9, 11])
async def test_a_node_joins_from_a_trusted_block_below_at_and_above_the_snapshot(lab: Lab, trusted: int) -> None:
    async with network(lab) as nodes:
        await join(lab, root_at(nodes[0], trusted))
        assert where(lab.home(JOINER), lab)[0] == 8
        async with lab.node(JOINER) as joined:
            await until(lambda: joined.core.chain.height == nodes[0].core.chain.height)
            assert joined.core.chain.tip.state_root == nodes[0].core.chain.tip.state_root
            assert joined.core.chain.store.earliest == 9


async def test_a_wrong_root_of_trust_is_said_and_changes_nothing(lab: Lab) -> None:
    async with network(lab):
        with pytest.RaisesGroup(Refused, allow_unwrapped=True, flatten_subgroups=True) as caught:
            await join(lab, HeaderRoot(Height(3), BlockId(bytes(32))))
        found: BaseException = caught.value
        while isinstance(found, BaseExceptionGroup):
            (found,) = found.exceptions
        assert isinstance(found, Refused) and found.reason is Reason.BAD_HEADER
        assert where(lab.home(JOINER), lab)[0] == 0 and not lab.home(JOINER).new_chain.exists()


def spoil(home: Home, how: str) -> None:
    """Change the snapshots of a home, so that the node that serves them lies."""
    for one in snapshots_in(home.snapshots):
        raw = bytearray(one.path.read_bytes())
        if how == "chunk":
            for start in one.starts:
                raw[start + 10] ^= 1
            one.path.write_bytes(raw)
        else:
            one.path.unlink()


@pytest.mark.parametrize("how", ["chunk", "gone"])
async def test_wrong_and_withheld_chunks_come_from_others(lab: Lab, how: str) -> None:
    async with network(lab) as nodes:
        for liar in (0, 2):
            spoil(lab.home(liar), how)
        await join(lab, root_at(nodes[0], 9))
        assert where(lab.home(JOINER), lab)[0] == 8


async def test_when_nobody_sends_true_chunks_the_node_goes_on_with_blocks(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.joining.PATIENCE", 1.0)
    monkeypatch.setattr("node.joining.LOOK_EVERY", 0.2)
    async with network(lab) as nodes:
        for liar in range(3):
            spoil(lab.home(liar), "chunk")
        await join(lab, root_at(nodes[0], 9))
        assert where(lab.home(JOINER), lab)[0] == 0
        async with lab.node(JOINER) as joined:
            await until(lambda: joined.core.chain.height >= 8, 40)


class Dies(BaseException):
    """The process ends here."""


async def test_a_join_goes_on_where_it_was_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each chunk, then before the swap: each life adds one chunk, and the last one joins."""
    async with network(lab) as nodes:
        root = root_at(nodes[0], 9)
        real, lives, added = Restoration.add, 0, 0

        def add(self: Restoration, index: int, data: bytes) -> None:
            nonlocal added
            if added:
                raise Dies
            real(self, index, data)
            added += 1

        def no_swap(*_: object) -> None:
            raise Dies

        monkeypatch.setattr(Restoration, "add", add)
        monkeypatch.setattr("node.joining.swap", no_swap)
        remaining = -1
        while remaining != 0:
            added, lives = 0, lives + 1
            with pytest.RaisesGroup(Dies, allow_unwrapped=True, flatten_subgroups=True):
                await join(lab, root)
            assert where(lab.home(JOINER), lab)[0] == 0
            store = LevelDB.open(lab.home(JOINER).new_chain)
            left = unfinished(store)
            remaining = 0 if left is None else 1
            store.close()
        assert lives > 1
        monkeypatch.setattr(Restoration, "add", real)
        monkeypatch.setattr("node.joining.swap", swap)
        await join(lab, root)
        assert where(lab.home(JOINER), lab)[0] == 8


async def test_who_needs_no_snapshot_asks_nobody(lab: Lab, tmp_path: Path) -> None:
    now, period = lab.genesis.time + 1000, lab.genesis.security.trust_period
    home = lab.home(JOINER)
    fresh = standing(home, lab.genesis, None, None, now)
    assert fresh is not None and isinstance(fresh.root, GenesisRoot) and fresh.height == 0
    # a validator of the present set, and who trusts nothing that is young enough
    assert standing(home, lab.genesis, lab.consensus_keys[0].public_key, None, now) is None
    assert standing(home, lab.genesis, None, None, lab.genesis.time + period) is None
    named = HeaderRoot(Height(5), BlockId(bytes(32)))
    assert standing(home, lab.genesis, None, named, now) == Standing(Height(0), named, None, True)


async def test_a_node_near_the_tip_takes_blocks(lab: Lab) -> None:
    async with network(lab) as nodes, lab.node(JOINER) as joined:
        chain_id = nodes[0].core.chain.tip.chain_id
        place = Standing(Height(0), GenesisRoot(chain_id), None, False)
        joiner = Joiner(lab.home(JOINER), lab.genesis, place, joined.network, SchemeVerifier(), lambda: 0)
        with trio.fail_after(10):
            assert await joiner.join() is None


def test_chunks_are_asked_of_all_holders_and_again_when_they_fail() -> None:
    plan = ChunkPlan([3, 5, 7, 9, 11], 2)
    assert list(plan.next_requests()) == []
    plan.holders = (A, B)
    assert list(plan.next_requests()) == [(A, 3), (B, 5), (A, 7), (B, 9)]
    plan.arrived(A, 3)
    plan.failed(B, 5)
    plan.holders = (A,)
    assert list(plan.next_requests()) == [(A, 5)] and plan.left == 4
    for index in (5, 7, 9):
        plan.arrived(A, index)
    assert list(plan.next_requests()) == [(A, 11)] and plan.left == 1
