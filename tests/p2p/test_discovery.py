"""Nodes that know one seed find each other; a seed keeps nobody; wrong seeds are named."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio

from crypto.errors import Reason
from p2p.config import Limits
from p2p.network import PeerAddress, PeerId
from tests.p2p.crowd import member
from tests.p2p.nodes import CHAIN, OTHER_CHAIN, until


@pytest.mark.slow
async def test_nodes_that_know_one_seed_find_each_other_and_mostly_leave_the_seed() -> None:
    async with member(0, CHAIN, outbound=0, crawl=True) as seed, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(member(1 + i, CHAIN, seed.address, outbound=4)) for i in range(7)]
        ids = {one.mesh.peer_id for one in crowd}

        def found() -> bool:
            return all(
                len({peer.peer_id for peer in one.mesh.peers()} & (ids - {one.mesh.peer_id})) >= 3 for one in crowd
            )

        await until(found)
        await until(lambda: all(len(one.book) >= 6 for one in crowd))
        # the seed itself comes back to look at somebody now and then
        await until(lambda: len(seed.mesh.peers()) < 4)
        assert all(one.told == [(seed.address, None)] for one in crowd)


async def test_an_only_seed_is_not_left() -> None:
    async with member(0, CHAIN) as seed, member(1, CHAIN, seed.address) as other:
        await until(lambda: len(other.mesh.peers()) == 1)
        await until(lambda: len(seed.book) == 1)  # it spoke from where it listens
        await trio.sleep(2.5)
        assert len(other.mesh.peers()) == 1


async def test_wrong_seeds_are_named_once_each() -> None:
    async with member(0, OTHER_CHAIN) as foreign, member(1, CHAIN) as right:
        nobody = PeerAddress(PeerId(b"\x07" * 32), "::1", 9)
        other_id = replace(right.address, peer_id=PeerId(b"\x08" * 32))
        async with member(2, CHAIN, foreign.address, nobody, other_id) as lost:
            await until(lambda: len(lost.told) >= 3)
            reasons = {seed: refused.reason for seed, refused in lost.told if refused is not None}
            assert reasons == {
                foreign.address: Reason.WRONG_GENESIS, nobody: Reason.UNREACHABLE, other_id: Reason.WRONG_PEER,
            }
            assert not lost.mesh.peers()


async def test_who_is_hidden_is_told_to_nobody() -> None:
    # like a validator, it looks for nobody: else it would ask its sentry for others and show itself to them
    async with member(0, CHAIN, outbound=0) as guarded, AsyncExitStack() as stack:
        hidden = frozenset([guarded.mesh.peer_id])
        sentry = await stack.enter_async_context(member(1, CHAIN, hidden=hidden))
        sentry.mesh.dial(guarded.address)
        await until(lambda: sentry.book.get(guarded.mesh.peer_id) is not None)
        friend = await stack.enter_async_context(member(2, CHAIN, sentry.address))
        stranger = await stack.enter_async_context(member(3, CHAIN, sentry.address))
        await until(lambda: bool(friend.mesh.peers()) and len(stranger.book) >= 2)
        for one in (friend, stranger):
            assert one.book.get(guarded.mesh.peer_id) is None


async def test_the_prefix_limit_holds_for_those_we_dial() -> None:
    few = Limits(per_prefix=2, loopback_exempt=False)
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(member(i, CHAIN, outbound=0)) for i in range(4)]
        eager = await stack.enter_async_context(member(9, CHAIN, limits=few))
        for one in crowd:
            (own,) = one.exchange.own
            eager.book.add(own, "2001:db8::", own.record.epoch)
        await until(lambda: len(eager.mesh.peers()) == 2)
        await trio.sleep(2.0)
        assert len(eager.mesh.peers()) == 2


async def test_a_banned_peer_is_not_dialled_and_not_let_in() -> None:
    async with member(0, CHAIN) as one, member(1, CHAIN, one.address) as other:
        await until(lambda: len(other.mesh.peers()) == 1 and len(one.mesh.peers()) == 1)
        one.mesh.ban(other.mesh.peer_id, 2**62)
        await until(lambda: not one.mesh.peers())
        await until(lambda: bool(other.told) and other.told[-1][1] is not None)
        refusal = other.told[-1][1]
        assert refusal is not None and refusal.reason is Reason.PEER_REFUSED
        one.mesh.ban(other.mesh.peer_id, 0)
        await until(lambda: len(one.mesh.peers()) == 1)
