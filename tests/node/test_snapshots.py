"""Snapshots of a running node: made while blocks go on, restored into another home, which then follows the chain."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import node.restore
from apps.genesis import init_genesis
from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.home import Home
from node.node import RunningNode
from node.restore import restore_file, settle
from node.snapshots import MAGIC, DiskShelf, SnapshotFile, snapshots_in
from node.snapshotting import REQUEST
from state.chainstore import ChainStore
from state.genesis import genesis_hash
from state.leveldb import LevelDB
from state.types import Address, BlockId, Height
from tests.node.lab import Lab, until

VERIFIER = SchemeVerifier()


async def pay_until(lab: Lab, node: RunningNode, height: int, nonce: int = 0) -> int:
    """Let a node make blocks up to a height; return the next nonce."""
    while node.core.chain.height < height:
        signed = lab.pay(node, 0, nonce, Address(bytes([nonce % 250 + 1]) * 32), 1000)
        await node.service.submit(signed.raw)
        nonce += 1
        before = node.core.chain.height
        await until(lambda before=before: node.core.chain.height > before)  # type: ignore[misc]
    return nonce


@pytest.fixture
async def made(tmp_path: Path) -> Lab:
    """A network of one validator, stopped, with snapshots at 4 and 8 and some blocks after them."""
    lab = Lab(tmp_path, size=1, followers=1)
    async with lab.node(0, snapshot_every=4) as node:
        await pay_until(lab, node, 11)
        await until(lambda: len(list(snapshots_in(lab.home(0).snapshots))) == 2)
    return lab


def snapshot_of(lab: Lab, height: int = 8) -> SnapshotFile:
    (found,) = [one for one in snapshots_in(lab.home(0).snapshots) if one.height == height]
    return found


def trusted(snapshot: SnapshotFile) -> BlockId:
    return snapshot.index.following.header.block_id


def restore(lab: Lab, snapshot: SnapshotFile, block_id: BlockId | None = None, replace: bool = False) -> Height:
    return restore_file(
        lab.home(1), lab.genesis, snapshot, block_id or trusted(snapshot), VERIFIER, lambda _: None, replace=replace
    )


def refusal(work: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        work()
    return caught.value.reason


def where(home: Home, lab: Lab) -> tuple[Height, bytes]:
    store = LevelDB.open(home.chain)
    try:
        chain = ChainStore.open(store, lab.genesis, init_genesis)
        return chain.height, chain.state_root
    finally:
        store.close()


async def test_a_restored_node_follows_the_chain_to_the_same_roots(made: Lab) -> None:
    assert restore(made, snapshot_of(made)) == 8
    assert where(made.home(1), made) == (8, snapshot_of(made).index.following.header.state_root)
    async with made.node(0) as validator, made.node(1) as follower:
        await until(lambda: follower.core.chain.height >= 11)
        height = follower.core.chain.height + 2
        await pay_until(made, validator, height, validator.service.next_nonce(made.account(0).address))
        # the validator ends with a block that the follower has yet to get, as it may
        await until(lambda: height <= follower.core.chain.height == validator.core.chain.height)
        mine, theirs = follower.core.chain.tip, validator.core.chain.tip
        assert follower.core.chain.store.earliest == 9
        assert mine.height == theirs.height and mine.state_root == theirs.state_root
        assert mine.validators == theirs.validators and mine.priorities == theirs.priorities


async def test_a_running_node_makes_one_when_it_is_asked(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0, snapshot_every=0) as node:
        await pay_until(lab, node, 3)
        folder = lab.home(0).snapshots
        folder.mkdir()
        (folder / REQUEST).touch()
        await until(lambda: any(snapshots_in(folder)))
        (one,) = snapshots_in(folder)
        assert one.height == node.core.chain.height - 1 and not (folder / REQUEST).exists()
        one.check(genesis_hash(lab.genesis), trusted(one), VERIFIER)


async def test_what_does_not_lead_to_the_trusted_block_is_not_restored(made: Lab, tmp_path: Path) -> None:
    snapshot = snapshot_of(made)
    other = Lab(tmp_path / "other", size=1)
    assert refusal(lambda: restore(made, snapshot, BlockId(bytes(32)))) is Reason.BAD_HEADER
    assert refusal(
        lambda: restore_file(made.home(1), other.genesis, snapshot, trusted(snapshot), VERIFIER, lambda _: None)
    ) is Reason.WRONG_CHAIN
    path = tmp_path / "copy.snapshot"
    raw = snapshot.path.read_bytes()
    for place, reason in ((10, Reason.BAD_PROOF), (len(raw) // 2, Reason.BAD_PROOF), (-100, Reason.BAD_SNAPSHOT),
                          (-len(MAGIC), Reason.BAD_SNAPSHOT)):
        changed = bytearray(raw)
        changed[place] ^= 1
        path.write_bytes(changed)
        found = refusal(lambda: restore(made, SnapshotFile.open(path)))
        assert found is reason or (place == len(raw) // 2 and found is Reason.BAD_SNAPSHOT)
        assert where(made.home(1), made)[0] == 0
    for torn in (raw[:-1], raw[1:], raw[:10], b""):
        path.write_bytes(torn)
        assert refusal(lambda: SnapshotFile.open(path)) is Reason.BAD_SNAPSHOT
    assert refusal(lambda: SnapshotFile.open(tmp_path / "none")) is Reason.BAD_SNAPSHOT


async def test_an_older_snapshot_is_restored_only_when_it_is_meant(made: Lab) -> None:
    assert restore(made, snapshot_of(made, 8)) == 8
    assert refusal(lambda: restore(made, snapshot_of(made, 4))) is Reason.NOT_AVAILABLE
    assert where(made.home(1), made)[0] == 8
    assert restore(made, snapshot_of(made, 4), replace=True) == 4
    assert where(made.home(1), made)[0] == 4


class Dies(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("point", range(3))
async def test_a_crash_in_a_swap_leaves_the_old_chain_or_the_new(
    made: Lab, point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = made.home(1)
    restore(made, snapshot_of(made, 4))
    calls: list[str] = []

    def rename(path: Path, target: Path) -> Path:
        calls.append(path.name)
        if len(calls) > point:
            raise Dies
        shutil.move(path, target)
        return target

    with monkeypatch.context() as patched, pytest.raises(Dies):
        patched.setattr(Path, "rename", rename)
        patched.setattr(node.restore, "sync_folder", lambda _: (_ for _ in ()).throw(Dies()))
        restore(made, snapshot_of(made, 8))
    settle(home)
    assert where(home, made)[0] == (4 if point == 0 else 8)
    assert not home.old_chain.exists()
    assert restore(made, snapshot_of(made, 8), replace=True) == 8


async def test_the_shelf_keeps_the_newest_and_forgets_what_is_gone(made: Lab) -> None:
    folder = made.home(0).snapshots
    leftover = folder / ".000000000012.snapshot.abc"
    leftover.write_bytes(b"half")
    shelf = DiskShelf(folder, kept=1)
    assert [offer.height for offer in shelf.offers()] == [4, 8] and not leftover.exists()
    shelf.add(snapshot_of(made, 8))
    assert [offer.height for offer in shelf.offers()] == [8]
    assert refusal(lambda: shelf.chunk(Height(4), 0)) is Reason.NOT_AVAILABLE
    assert refusal(lambda: shelf.chunk(Height(8), 10_000)) is Reason.NOT_AVAILABLE and shelf.offers()
    snapshot_of(made, 8).path.unlink()
    assert refusal(lambda: shelf.chunk(Height(8), 0)) is Reason.NOT_AVAILABLE and not shelf.offers()


async def test_a_home_in_use_is_left_alone(made: Lab) -> None:
    snapshot = snapshot_of(made)
    async with made.node(1):
        with pytest.raises(Refused) as caught:
            await trio.to_thread.run_sync(restore, made, snapshot)
        assert caught.value.reason is Reason.HOME_IN_USE
