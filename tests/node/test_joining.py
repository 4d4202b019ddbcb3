"""Joining by a snapshot: from honest peers, among liars, after a kill, and back to blocks when nothing helps."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from consensus.signing import SchemeVerifier
from consensus.types import CommitSignature, VoteKind, vote_sign_bytes
from crypto.errors import Reason, Refused
from node.fetching import ChunkPlan
from node.home import Home
from node.joining import Joiner
from node.light.roots import GenesisRoot, HeaderRoot
from node.node import NodeKeys, RunningNode, open_node
from node.progress import Board
from node.rejoining import Joining, Party, check_named, join_first, prepare
from node.restore import swap
from node.snapshots import snapshots_in
from node.snapshotting import schedule_of
from node.standing import Standing, look_into
from p2p.network import PeerId
from p2p.wire import GetLightBlock, piece_frames, request_codec
from state.encoding import encode
from state.leveldb import LevelDB
from state.restoring import Restoration, unfinished
from state.types import BlockId, Height
from tests.node.lab import Lab, until
from tests.node.test_snapshots import pay_until, where

JOINER = 3
Answers = Callable[[bytes, str, int], Iterator[bytes]]
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


async def join(lab: Lab, root: HeaderRoot | None, board: Board | None = None) -> None:
    """Do what `nexus start` does before a node's core begins."""
    party = Party(lab.home(JOINER), lab.config(JOINER), lab.genesis, lab.node_keys[JOINER], None, root)
    _, place = prepare(party)
    if place is not None:
        await join_first(party, place, (board or Board()).tell)


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
        monkeypatch.setattr("node.rejoining.swap", no_swap)
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
        monkeypatch.setattr("node.rejoining.swap", swap)
        await join(lab, root)
        assert where(lab.home(JOINER), lab)[0] == 8


async def test_who_needs_no_snapshot_asks_nobody(lab: Lab, tmp_path: Path) -> None:
    now, period = lab.genesis.time + 1000, lab.genesis.security.trust_period
    home = lab.home(JOINER)
    fresh = look_into(home, lab.genesis, None, None, now).place
    assert fresh is not None and isinstance(fresh.root, GenesisRoot) and fresh.height == 0
    voter = look_into(home, lab.genesis, lab.consensus_keys[0].public_key, None, now)
    assert voter.place is None and not voter.expired
    late = look_into(home, lab.genesis, None, None, lab.genesis.time + period)  # nothing is young enough to be trusted
    assert late.place is None and late.expired
    named = HeaderRoot(Height(5), BlockId(bytes(32)))
    assert look_into(home, lab.genesis, None, named, now).place == Standing(Height(0), named, None, True, 1)


async def test_a_running_node_whose_blocks_nobody_has_joins_by_a_snapshot(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peers that joined by a snapshot themselves lack what it needs next: it finishes a chain beside its own."""
    monkeypatch.setattr("node.rejoining.LOOK_EVERY", 0.2)
    monkeypatch.setattr("node.joining.MEETING", 1.0)
    home = lab.home(JOINER)
    async with lab.node(0, snapshot_every=8) as first:
        async with lab.node(JOINER) as joined:
            nonce = await pay_until(lab, first, 3)
            await until(lambda: joined.core.chain.height >= 3)
        nonce = await pay_until(lab, first, 11, nonce)
        await until(lambda: len(list(snapshots_in(lab.home(0).snapshots))) == 1)
        for index in (1, 2):
            party = Party(lab.home(index), lab.config(index), lab.genesis, lab.node_keys[index], None,
                          root_at(first, 9))
            _, place = prepare(party)
            assert place is not None
            await join_first(party, place, Board().tell)
        async with lab.node(1, snapshot_every=8) as second, lab.node(2, snapshot_every=8) as third:
            await pay_until(lab, first, 18, nonce)
            await until(lambda: min(one.core.chain.height for one in (second, third)) >= 18)
            for index in (1, 2):
                await until(lambda index=index: any(  # type: ignore[misc]
                    one.height == 16 for one in snapshots_in(lab.home(index).snapshots)
                ))
    del lab.ports[0]  # the one node that has every block is gone
    began = where(home, lab)[0]
    async with lab.node(1), lab.node(2):
        keys = NodeKeys(lab.node_keys[JOINER], None)
        opened = open_node(home, lab.config(JOINER), lab.genesis, keys, joining=Joining())
        async with opened as running:
            with trio.fail_after(30):
                height = await running.overtaken.receive()
            assert height == 16 and running.core.chain.height == began < 9
            assert running.service.status().joining is None
    assert prepare(Party(home, lab.config(JOINER), lab.genesis, lab.node_keys[JOINER], None, None))[0].height == 16


def test_snapshots_by_the_hour_are_made_of_the_same_heights_by_all() -> None:
    hourly, by_blocks, none = schedule_of("1h"), schedule_of(8), schedule_of(0)
    hour = 3_600_000
    assert hourly.wants(Height(9), 5 * hour, 5 * hour - 1) and not hourly.wants(Height(9), 5 * hour + 1, 5 * hour)
    assert not hourly.wants(Height(2), 5 * hour, 0)  # there is a snapshot from block 2 on
    assert [height for height in range(30) if by_blocks.wants(Height(height), 0, 0)] == [9, 17, 25]
    assert schedule_of("30m").period == hour // 2 and not any(none.wants(Height(h), h * hour, 0) for h in range(30))


async def test_a_node_near_the_tip_takes_blocks(lab: Lab) -> None:
    async with network(lab) as nodes, lab.node(JOINER) as joined:
        chain_id = nodes[0].core.chain.tip.chain_id
        place = Standing(Height(0), GenesisRoot(chain_id), None, False)
        told = Board().tell
        joiner = Joiner(lab.home(JOINER), lab.genesis, place, joined.network, SchemeVerifier(), lambda: 0, told)
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


def two_faced(lab: Lab, node: RunningNode, above: int) -> Answers:
    """Return what a node answers that shows other headers above a height, signed by the validator all the same."""
    key, real = lab.consensus_keys[0], node.core.answers

    def answers(payload: bytes, moniker: str, port: int) -> Iterator[bytes]:
        request = request_codec.decode(payload)
        if not isinstance(request, GetLightBlock) or (request.height or node.core.chain.height) <= above:
            yield from real(payload, moniker, port)
            return
        block = node.core.chain.light_block(request.height or node.core.chain.height)
        header = replace(block.header, state_root=bytes(32))
        commit = block.commit
        message = vote_sign_bytes(
            header.chain_id, VoteKind.PRECOMMIT, header.height, commit.round, header.block_id
        )
        signed = replace(
            commit, block_id=header.block_id, signatures=(CommitSignature(0, key.sign(message)),)
        )
        yield from piece_frames(encode(replace(block, header=header, commit=signed)))

    return answers


async def test_a_fork_is_reported_to_the_peers_and_stops_the_node(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with network(lab) as nodes:
        monkeypatch.setattr(nodes[1].core, "answers", two_faced(lab, nodes[1], 5))
        with pytest.RaisesGroup(Refused, allow_unwrapped=True, flatten_subgroups=True) as caught:
            await join(lab, root_at(nodes[0], 2))
        (found,) = leaves(caught.value)
        assert found.reason is Reason.FORKED
        assert where(lab.home(JOINER), lab)[0] == 0  # and nothing was taken over
        await until(lambda: nodes[0].core.agreement.pool.known == 1)  # who signed both is accused


async def test_blocks_that_do_not_hold_the_trusted_one_stop_the_node(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.rejoining.LOOK_EVERY", 0.1)
    async with lab.node(0) as first:
        await pay_until(lab, first, 4)
        good, wrong = root_at(first, 3), HeaderRoot(Height(3), BlockId(bytes(32)))
        check_named(good, first.core.chain)
        check_named(HeaderRoot(Height(9), BlockId(bytes(32))), first.core.chain)  # not there yet
        keys = NodeKeys(lab.node_keys[JOINER], None)
        with pytest.RaisesGroup(Refused, allow_unwrapped=True, flatten_subgroups=True) as caught:
            async with open_node(lab.home(JOINER), lab.config(JOINER), lab.genesis, keys, joining=Joining(wrong)):
                await trio.sleep(20)
        assert [one.reason for one in leaves(caught.value)] == [Reason.BAD_HEADER]


def leaves(error: BaseException) -> list[Refused]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    assert isinstance(error, Refused)
    return [error]


async def test_a_root_of_trust_that_is_too_old_is_said_and_harms_nothing(lab: Lab) -> None:
    async with network(lab) as nodes:
        day = lab.genesis.security.trust_period
        root = root_at(nodes[0], 2)
        party = Party(lab.home(JOINER), lab.config(JOINER), lab.genesis, lab.node_keys[JOINER], None, root)
        _, place = prepare(party)
        assert place is not None
        async with lab.node(JOINER) as joined:
            late = Joiner(
                lab.home(JOINER), lab.genesis, place, joined.network, SchemeVerifier(),
                lambda: nodes[0].core.chain.tip.time + 2 * day, Board().tell,
            )
            with pytest.raises(Refused) as caught:
                await late.join()
            assert caught.value.reason is Reason.TRUST_EXPIRED
        assert not lab.home(JOINER).new_chain.exists()
