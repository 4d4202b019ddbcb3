"""Handshake, frames, requests and endings between two real nodes."""

import pytest
import trio
import trio.testing

from crypto.errors import Reason, Refused
from p2p.bans import Bans
from p2p.config import CoreName, Limits
from p2p.exchange import NoMeeting
from p2p.mesh import Company, Mesh, open_network
from p2p.network import Channel, FrameReceived, PeerAddress, PeerConnected, PeerDisconnected, PeerId, RequestReceived
from p2p.stoq.tls import GROUP
from state.encoding import MAX_FRAME
from tests.p2p.nodes import CHAIN, OTHER_CHAIN, address_of, next_event, node_id, node_key, settings, two_nodes, until

Cores = tuple[CoreName, CoreName]


def group_of(mesh: Mesh) -> int:
    (peer,) = mesh._live.values()
    return peer.connection.core.group


async def test_only_the_hybrid_group_and_both_sides_see_each_other(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b):
        assert group_of(a) == group_of(b) == GROUP == 0x11EC
        (seen,) = a.peers()
        assert (seen.peer_id, seen.inbound, seen.port) == (b.peer_id, False, b.port)
        (seen,) = b.peers()
        assert (seen.peer_id, seen.inbound) == (a.peer_id, True)
        assert a.metrics.handshakes == b.metrics.handshakes == 1
        assert (a.metrics.connections_outbound, b.metrics.connections_inbound) == (1, 1)


async def test_frames_both_ways_keep_their_order(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b):
        for sender, receiver in ((a, b), (b, a)):
            for number in range(200):
                assert sender.send(receiver.peer_id, Channel.CONSENSUS, number.to_bytes(2, "big"))
            for number in range(200):
                event = await next_event(receiver.consensus_events, FrameReceived)
                assert event == FrameReceived(sender.peer_id, Channel.CONSENSUS, number.to_bytes(2, "big"))
            assert sender.broadcast(Channel.TRANSACTIONS, b"to all") == 1
            event = await next_event(receiver.bulk_events, FrameReceived)
            assert event == FrameReceived(sender.peer_id, Channel.TRANSACTIONS, b"to all")


async def test_the_largest_frame_passes_and_a_larger_one_is_refused_here(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b):
        payload = bytes(range(256)) * (MAX_FRAME // 256)
        assert b.send(a.peer_id, Channel.CONSENSUS, payload)
        assert (await next_event(a.consensus_events, FrameReceived)).payload == payload
        for wrong in (b"", payload + b"x"):
            with pytest.raises(Refused) as refused:
                a.send(b.peer_id, Channel.CONSENSUS, wrong)
            assert refused.value.reason is Reason.TOO_LARGE


async def answer(mesh: Mesh) -> None:
    """Serve: 'n' repeats n times, 'refuse' refuses, 'sleep' never answers."""
    async with trio.open_nursery() as nursery:
        async for event in mesh.bulk_events:
            if isinstance(event, RequestReceived):
                nursery.start_soon(answer_one, event)


async def answer_one(event: RequestReceived) -> None:
    if event.payload == b"refuse":
        await event.reply.refuse(Reason.NOT_AVAILABLE, "pruned")
    elif event.payload.startswith(b"late"):
        await event.reply.send(event.payload)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await event.reply.end()
    elif event.payload != b"sleep":
        for number in range(int(event.payload)):
            await event.reply.send(number.to_bytes(2, "big") * 5000)
        await event.reply.end()


async def test_requests_have_many_frames_or_a_refusal_or_time_out(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b), trio.open_nursery() as nursery:
        nursery.start_soon(answer, b)
        frames = [frame async for frame in a.request(b.peer_id, b"300", 5)]
        assert frames == [number.to_bytes(2, "big") * 5000 for number in range(300)]
        assert [frame async for frame in a.request(b.peer_id, b"0", 5)] == []
        assert [frame async for frame in a.request(b.peer_id, b"1", 5)] == [b"\0\0" * 5000]
        assert [frame async for frame in a.request(b.peer_id, b"late end", 5)] == [b"late end"]
        for ask, timeout, reason in ((b"refuse", 5, Reason.NOT_AVAILABLE), (b"sleep", 0.1, Reason.TIMED_OUT)):
            with pytest.raises(Refused) as refused:
                async for _ in a.request(b.peer_id, ask, timeout):
                    pass
            assert refused.value.reason is reason
        with pytest.raises(Refused) as refused:
            async for _ in a.request(node_key(5).address, b"1", 5):  # type: ignore[arg-type]
                pass
        assert refused.value.reason is Reason.CONNECTION_LOST
        nursery.cancel_scope.cancel()


async def test_requests_run_side_by_side_beyond_the_limit(cores: Cores) -> None:
    counts: list[int] = []

    async with two_nodes(*cores, limits=Limits(requests=4)) as (a, b), trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            counts.append(len([frame async for frame in a.request(b.peer_id, str(number).encode(), 5)]) - number)

        nursery.start_soon(answer, b)
        async with trio.open_nursery() as askers:
            for number in range(20):
                askers.start_soon(ask, number)
        assert counts == [0] * 20
        assert len(a.peers()) == 1
        nursery.cancel_scope.cancel()


async def test_a_request_fails_when_the_peer_goes(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b), trio.open_nursery() as nursery:
        nursery.start_soon(answer, b)
        nursery.start_soon(leave, b)
        with pytest.raises(Refused) as refused:
            async for _ in a.request(b.peer_id, b"sleep", 20):
                pass
        assert refused.value.reason is Reason.CONNECTION_LOST
        nursery.cancel_scope.cancel()


async def leave(mesh: Mesh) -> None:
    await trio.sleep(0.05)
    mesh.disconnect(mesh.peers()[0].peer_id, Reason.CLOSING, "enough")


async def test_an_abandoned_answer_frees_the_other_side(cores: Cores) -> None:
    async with two_nodes(*cores, limits=Limits(requests=2)) as (a, b):
        for _ in range(8):
            asked = a.request(b.peer_id, b"sleep", 0.02)
            with pytest.raises(Refused):
                await anext(asked)
            await next_event(b.bulk_events, RequestReceived)
        assert len(a.peers()) == len(b.peers()) == 1


@pytest.mark.parametrize("reason", [Reason.CLOSING, Reason.MALFORMED])
async def test_both_sides_learn_why_it_ended(cores: Cores, reason: Reason) -> None:
    async with two_nodes(*cores) as (a, b):
        b.disconnect(a.peer_id, reason, "a sentence")
        for mesh in (a, b):
            event = await next_event(mesh.consensus_events, PeerDisconnected)
            assert (event.reason, event.detail) == (reason, "a sentence")
            assert mesh.metrics.refusals[reason] >= 1


async def test_who_broke_a_rule_stays_out_for_a_while() -> None:
    def turned_away() -> int:
        return b.metrics.refusals.get(Reason.PEER_REFUSED, 0) + a.metrics.refusals.get(Reason.PEER_REFUSED, 0)

    async with two_nodes(limits=Limits(penalty=2.0)) as (a, b):
        b.disconnect(a.peer_id, Reason.MALFORMED, "garbage")
        await next_event(a.consensus_events, PeerDisconnected)
        came_back = a.metrics.handshakes
        await until(lambda: turned_away() > 0)
        assert (a.peers(), a.metrics.handshakes) == ((), came_back)
        await next_event(a.consensus_events, PeerConnected)


class LateBans(Bans):
    """The operator shuts a peer out just after it was let in to prove who it is."""

    asked = 0

    def is_banned(self, peer_id: PeerId, now: int) -> bool:
        self.asked += 1
        return self.asked > 1


async def test_who_is_shut_out_during_its_handshake_does_not_get_in() -> None:
    bans = LateBans(20.0)
    async with (
        open_network(settings(), node_key(1), CHAIN, Company(NoMeeting(), bans)) as b,
        open_network(settings(CoreName.QH3, address_of(b)), node_key(0), CHAIN) as a,
    ):
        await until(lambda: b.metrics.refusals.get(Reason.PEER_REFUSED, 0) > 0)
        assert (bans.asked, b.peers()) == (2, ())
        await until(lambda: not a.peers())


async def test_another_genesis_is_named_on_both_sides(cores: Cores) -> None:
    dialer, listener = cores
    async with (
        open_network(settings(listener), node_key(1), OTHER_CHAIN) as b,
        open_network(settings(dialer, address_of(b)), node_key(0), CHAIN) as a,
    ):
        await until(lambda: a.metrics.refusals.get(Reason.WRONG_GENESIS, 0) > 0)
        assert b.metrics.refusals[Reason.WRONG_GENESIS] > 0
        assert a.dial_failures[b.peer_id].reason is Reason.WRONG_GENESIS
        assert a.peers() == b.peers() == ()
        assert a.metrics.handshakes == b.metrics.handshakes == 0


async def test_another_peer_than_the_dialled_one_is_named(cores: Cores) -> None:
    dialer, listener = cores
    async with open_network(settings(listener), node_key(1), CHAIN) as b:
        wrong = PeerAddress(node_id(3), "::1", b.port)
        async with open_network(settings(dialer, wrong), node_key(0), CHAIN) as a:
            await until(lambda: wrong.peer_id in a.dial_failures)
            assert a.dial_failures[wrong.peer_id].reason is Reason.WRONG_PEER
            await until(lambda: b.metrics.refusals.get(Reason.WRONG_PEER, 0) > 0)
            assert a.peers() == b.peers() == ()


async def test_only_allowed_peers_come_in(cores: Cores) -> None:
    dialer, listener = cores
    async with (
        open_network(settings(listener, allowed=frozenset({node_id(2)})), node_key(1), CHAIN) as b,
        open_network(settings(dialer, address_of(b)), node_key(0), CHAIN) as a,
        open_network(settings(dialer, address_of(b)), node_key(2), CHAIN) as c,
    ):
        await next_event(c.consensus_events, PeerConnected)
        await until(lambda: b.peer_id in a.dial_failures)
        assert a.dial_failures[b.peer_id].reason is Reason.PEER_REFUSED
        assert [peer.peer_id for peer in b.peers()] == [c.peer_id]


async def test_nobody_there() -> None:
    nowhere = PeerAddress(node_id(3), "::1", 1)
    config = settings(CoreName.QH3, nowhere)
    async with open_network(config, node_key(0), CHAIN) as a:
        await until(lambda: nowhere.peer_id in a.dial_failures)
        assert a.dial_failures[nowhere.peer_id].reason is Reason.UNREACHABLE


async def test_a_port_in_use_and_wrong_settings_are_named() -> None:
    async with open_network(settings(), node_key(0), CHAIN) as a:
        for config, reason in (
            (settings(port=a.port), Reason.PORT_IN_USE), (settings(host="127.0.0.1"), Reason.BAD_CONFIG),
            (settings(datagram_size=100), Reason.BAD_CONFIG),
        ):
            with pytest.raises(Refused) as refused:
                async with open_network(config, node_key(1), CHAIN):
                    pass
            assert refused.value.reason is reason
