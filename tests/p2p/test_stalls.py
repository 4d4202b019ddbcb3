"""Peers that begin frames and do not end them."""

import struct

import pytest
import trio

from crypto.errors import Reason
from p2p import stalls
from p2p.mesh import open_network
from p2p.network import Channel, PeerConnected, PeerId
from p2p.stalls import BUDGET, SLOWEST, Stalls, Unfinished
from state.encoding import MAX_FRAME
from testnet.attacks.stranger import stranger
from tests.p2p.nodes import CHAIN, next_event, node_key, settings

ONE, TWO, THREE = (PeerId(bytes([number]) * 32) for number in (1, 2, 3))


def test_the_same_frame_for_too_long_and_no_other() -> None:
    one = Stalls()
    at = {ONE: {Channel.SYNC: Unfinished(0, 5)}, TWO: {Channel.SYNC: Unfinished(0, 5)}}
    assert one.look(0.0, at, ()) == ()
    assert one.look(SLOWEST - 1, at, ()) == ()
    moved = at | {TWO: {Channel.SYNC: Unfinished(1, 5)}}  # a frame came whole in between, and another one is begun
    assert one.look(SLOWEST, moved, (ONE,)) == (ONE,)
    assert one.look(2 * SLOWEST - 1, {TWO: {}}, ()) == ()


def test_over_the_budget_the_largest_go_first_and_wanted_peers_stay() -> None:
    one, large = Stalls(), BUDGET // 2 + 1
    found = {
        ONE: {Channel.SYNC: Unfinished(0, large)}, TWO: {Channel.GOSSIP: Unfinished(3, large + 1)},
        THREE: {Channel.SYNC: Unfinished(0, 10)},
    }
    assert one.look(0.0, found, ()) == ()  # what is under way needs a moment
    assert one.look(1.0, found, ()) == (TWO,)
    assert one.look(2.0, found, (TWO,)) == (ONE,)
    assert one.look(3.0, {ONE: found[ONE], THREE: found[THREE]}, ()) == ()


async def test_a_connection_with_an_unfinished_frame_ends_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "SLOWEST", 0.5)
    async with open_network(settings(), node_key(1), CHAIN) as b, stranger(b, node_key(0), CHAIN) as party:
        await party.authenticate(b)
        await next_event(b.consensus_events, PeerConnected)
        party.write(6, struct.pack(">I", MAX_FRAME))
        with trio.fail_after(10):
            while not party.connection.gone.is_set():
                party.write(6, b"x")
                await trio.sleep(0.1)
        assert party.connection.ended[0] is Reason.TIMED_OUT
