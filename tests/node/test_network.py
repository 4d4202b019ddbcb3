"""Whole nodes in one process, over real QUIC and real LevelDB."""

from pathlib import Path

import pytest
import trio

from crypto.errors import Reason, Refused
from node.node import RunningNode
from p2p.network import Channel
from state.types import NATIVE, Address, Height
from tests.node.lab import FUNDS, Lab, until

BOB = Address(b"\x07" * 32)


async def pay(lab: Lab, node: RunningNode, nonce: int, amount: int = 100) -> Height:
    """Pay Bob from wallet 0 and wait until the block is on this node's disk."""
    txid = await node.service.submit(lab.pay(node, 0, nonce, BOB, amount).raw)
    receipt = await node.service.wait_committed(txid, 20)
    assert receipt.reason == ""
    return receipt.height


def roots_agree(nodes: list[RunningNode]) -> bool:
    return len({(node.core.chain.height, node.core.chain.tip.state_root) for node in nodes}) == 1


async def test_one_validator_makes_blocks_only_when_there_is_something_in_them(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0) as node:
        await trio.sleep(0.3)
        assert node.core.chain.height == 0
        assert await pay(lab, node, 0) == 1
        await until(lambda: node.core.chain.height == 2)  # the proof block
        await trio.sleep(0.3)
        assert node.core.chain.height == 2
        assert node.core.chain.header(Height(2)).state_root != node.core.chain.header(Height(1)).state_root
        assert node.service.balance(BOB, NATIVE) == 100
        assert node.service.balance(BOB, NATIVE, Height(0)) == 0


async def test_refusals_are_named_and_change_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0) as node:
        good = lab.pay(node, 0, 0, BOB, 5).raw
        flipped = bytearray(good)
        flipped[-100] ^= 1
        poor = lab.pay(node, 1, 0, BOB, 5, fee=FUNDS + 1).raw
        results = await node.service.submit_many([b"\x00", bytes(flipped), poor, good, good])
        reasons = [one.reason if isinstance(one, Refused) else None for one in results]
        assert reasons == [
            Reason.MALFORMED, Reason.BAD_SIGNATURE, Reason.INSUFFICIENT_FEE_FUNDS, None, Reason.ALREADY_KNOWN
        ]
        await until(lambda: node.core.chain.height == 2)
        with pytest.raises(Refused) as caught:
            await node.service.submit(good)
        assert caught.value.reason is Reason.ALREADY_COMMITTED
        assert node.service.balance(BOB, NATIVE) == 5


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0) as node:
        await pay(lab, node, 0)
        await until(lambda: node.core.chain.height == 2)
        root = node.core.chain.tip.state_root
    async with lab.node(0) as node:
        assert (node.core.chain.height, node.core.chain.tip.state_root) == (2, root)
        assert await pay(lab, node, 1) == 3


async def test_a_second_node_on_the_same_home_is_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0):
        with pytest.raises(Refused) as caught:
            async with lab.node(0):
                pass
        assert caught.value.reason is Reason.HOME_IN_USE


async def test_another_genesis_is_refused(tmp_path: Path) -> None:
    async with Lab(tmp_path, size=1).node(0):
        pass
    with pytest.raises(Refused) as caught:
        async with Lab(tmp_path, size=1).node(0):
            pass
    assert caught.value.reason is Reason.GENESIS_MISMATCH


async def test_four_validators_and_a_follower_agree(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=4, followers=1)
    async with lab.nodes(range(5)) as nodes:
        for nonce in range(3):
            await pay(lab, nodes[nonce], nonce)
            # whoever takes the next payment has to have the last one
            await until(lambda: roots_agree(nodes))
        assert all(node.service.balance(BOB, NATIVE) == 300 for node in nodes)
        assert nodes[4].service.status().validator is None
        commit = nodes[0].service.commit(Height(1))
        assert len(commit.signatures) >= 3


async def test_a_stopped_validator_catches_up_and_votes_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=4)
    async with lab.nodes([0, 1, 2]) as nodes:
        async with lab.node(3) as late:
            await pay(lab, nodes[0], 0)
            await until(lambda: roots_agree([*nodes, late]))
        for nonce in (1, 2, 3):
            await pay(lab, nodes[0], nonce)
        async with lab.node(3) as late:
            await until(lambda: late.core.chain.height >= nodes[0].core.chain.height)
            assert late.core.agreement.counters.synced > 0
            await until(lambda: roots_agree([*nodes, late]))
            height = await pay(lab, late, 4)
            await until(lambda: roots_agree([*nodes, late]))
            index = late.core.chain.tip.validators.index_of(Address(lab.consensus_keys[3].address))
            nonce = 5
            # a block takes the first three precommits: on a busy machine ours may come after them for a while
            while not _signed(nodes[0], index, height):
                assert nonce < 30
                await pay(lab, late, nonce)
                nonce += 1


def _signed(node: RunningNode, index: int | None, height: Height) -> bool:
    """Return whether a validator's precommit is in the commit for some height from `height` on."""
    commits = [node.core.chain.commit_for(Height(at)) for at in range(height, node.core.chain.height + 1)]
    return any(signature.validator == index for commit in commits for signature in commit.signatures)


async def test_a_late_joiner_takes_many_blocks_from_its_peers(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1, followers=1)
    async with lab.node(0) as node:
        for nonce in range(12):
            await pay(lab, node, nonce)
        async with lab.node(1) as late:
            await until(lambda: roots_agree([node, late]))
            assert late.core.agreement.counters.synced >= 12
            assert late.core.chain.store.receipts(Height(1)) == node.core.chain.store.receipts(Height(1))


async def test_a_peer_that_sends_garbage_is_let_go_and_counted(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1, followers=2)
    async with lab.nodes([0, 1, 2]) as (node, one, other):
        await until(lambda: len(node.network.peers()) == 2)
        one.network.send(node.network.peer_id, Channel.CONSENSUS, b"\xc1garbage")
        other.network.send(node.network.peer_id, Channel.TRANSACTIONS, b"\xc1garbage")
        await until(lambda: node.core.agreement.counters.misbehaviour[Reason.MALFORMED] == 2)
        await until(lambda: not node.network.peers())
        await pay(lab, node, 0)
