"""Roles, the operator's socket, and the address book of real nodes."""

import os
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from crypto.errors import Reason, Refused
from node import peering
from node.admin import AddPeer, AllowPeer, BanPeer, ListPeers, OwnPlace, PeersReport, ask_peers
from node.config import make_config
from node.driver import wall_clock
from node.home import Home
from node.node import RunningNode
from node.peering import network_config
from p2p.address import peer_id_of
from p2p.addressbook import book_codec
from p2p.bans import FOREVER
from p2p.records import make_record
from state.genesis import genesis_hash
from tests.node.lab import Lab, until

FEW: dict[str, object] = {"role": "full", "max_peers": 4}
"""Settings of a node that dials one peer by itself: it has its hub, and discovery looks for nobody else."""
Order = ListPeers | AddPeer | BanPeer | AllowPeer


async def order(home: Home, what: Order) -> PeersReport:
    return await trio.to_thread.run_sync(ask_peers, home.admin, what)


def peer_text(lab: Lab, index: int) -> str:
    return f"{peer_id_of(lab.node_keys[index].public_key).hex()}@[::1]:{lab.ports[index]}"


async def test_a_node_learns_from_three_peers_where_it_is_and_says_so(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1, followers=4)
    async with AsyncExitStack() as stack:
        for index in range(3):
            await stack.enter_async_context(lab.node(index))
        home = lab.home(3)
        one = await stack.enter_async_context(lab.node(3, role="full", listen_host="::"))
        await until(lambda: one.network.external_address == f"[::1]:{one.network.port}")
        assert (await order(home, ListPeers())).own == OwnPlace(f"[::1]:{one.network.port}", "seen")
        assert one.service.status().external_address == f"[::1]:{one.network.port}"
        fourth = await stack.enter_async_context(
            lab.node(4, role="full", listen_host="::", external_address="[2001:db8::1]:9")
        )
        await until(lambda: fourth.network.external_address == "[2001:db8::1]:9")
        assert (await order(lab.home(4), ListPeers())).own == OwnPlace("[2001:db8::1]:9", "set")


async def test_the_operator_lists_adds_bans_and_allows(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1, followers=1)
    async with lab.node(0) as one:
        lab.ports.clear()  # so that the second knows nobody
        async with lab.node(1, role="full") as other:
            lab.ports[0] = one.network.port
            home, first = lab.home(1), one.network.peer_id.hex()
            assert stat.S_IMODE(os.stat(home.admin).st_mode) == 0o600
            own = OwnPlace(f"[::1]:{other.network.port}", "listening")
            assert await order(home, ListPeers()) == PeersReport(own, [], [], [], [])
            await order(home, AddPeer(peer_text(lab, 0)))
            await until(lambda: bool(other.network.peers()))
            report = await order(home, ListPeers())
            (seen,) = report.connected
            assert (seen.node_id, seen.kept, seen.inbound) == (first, True, False)
            report = await order(home, BanPeer(first))
            assert [(ban.node_id, ban.seconds) for ban in report.banned] == [(first, -1)]
            await until(lambda: not one.network.peers())
            with pytest.raises(Refused) as refused:
                await order(home, AddPeer(peer_text(lab, 0)))
            assert refused.value.reason is Reason.PEER_REFUSED
            assert (await order(home, AllowPeer(first))).banned == []
            await order(home, AddPeer(peer_text(lab, 0)))
            await until(lambda: bool(one.network.peers()))
            for wrong in (AddPeer("nonsense"), BanPeer("nonsense"), AllowPeer("")):
                with pytest.raises(Refused) as refused:
                    await order(home, wrong)
                assert refused.value.reason is Reason.BAD_CONFIG
    assert not home.admin.exists()
    with pytest.raises(Refused) as refused:
        ask_peers(home.admin, ListPeers())
    assert refused.value.reason is Reason.UNREACHABLE


async def test_who_sees_the_operators_socket_is_answered(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    home = lab.home(0)

    def ask_at_once() -> PeersReport:
        while not home.admin.exists():  # no pause: it is there a moment before it must answer
            trio.from_thread.check_cancelled()
        return ask_peers(home.admin, ListPeers())

    reports: list[PeersReport] = []

    async def operator() -> None:
        reports.append(await trio.to_thread.run_sync(ask_at_once))
        asked.set()

    asked = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operator)
        async with lab.node(0) as one:
            await asked.wait()
            assert [report.own for report in reports] == [OwnPlace(f"[::1]:{one.network.port}", "listening")]
    assert sorted(path.name for path in home.data.iterdir() if path.name.startswith("admin")) == []


async def test_book_and_bans_survive_a_restart_of_the_node(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1, followers=2)
    chain_id = genesis_hash(lab.genesis)
    stranger = peer_id_of(lab.node_keys[1].public_key)
    async with lab.node(0) as one:
        lab.ports.clear()
        async with lab.node(2, role="full", seeds=[peer_text(lab, 0)] if 0 in lab.ports else []) as other:
            other.network.dial(next(iter(make_record(
                lab.node_keys[0], chain_id, (("::1", one.network.port),), wall_clock()).record.addresses)))
            await until(lambda: bool(other.network.peers()))
            other.network.ban(stranger, FOREVER)
            await until(lambda: len(book_of(one)) + len(book_of(other)) >= 1)
            await until(lambda: bool(book_of(other)))
    stored = book_codec.decode(lab.home(2).peers.read_bytes())
    assert [entry.signed.record.peer_id for entry in stored.entries] == [one.network.peer_id]
    assert [ban.peer_id for ban in stored.bans] == [stranger]
    lab.home(2).peers.write_bytes(b"damaged")
    async with lab.node(2, role="full") as other:
        assert not other.network.is_banned(stranger)  # begun anew, and the node runs


async def test_a_persistent_peer_that_has_moved_is_found_by_the_dht_and_dialled_there_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peering, "LOST_EVERY", 0.5)
    lab = Lab(tmp_path, size=1, followers=3)
    moved = peer_id_of(lab.node_keys[3].public_key)

    def of(node: RunningNode) -> list[tuple[bool, int]]:
        return [(peer.inbound, peer.port) for peer in node.network.peers() if peer.peer_id == moved]

    async with lab.node(1, role="full") as hub:
        hub_alone = {1: hub.network.port}
        async with lab.node(3, **FEW) as peer:
            everybody = {**hub_alone, 3: peer.network.port}
            lab.ports = dict(everybody)
            async with lab.node(2, **FEW) as one:
                await until(lambda: of(one) == [(False, peer.network.port)])
        lab.ports = dict(everybody)  # the operator of `one` knows the old place alone, as does its book
        async with lab.node(2, **FEW) as one:
            await until(lambda: moved in one.network.dial_failures)
            lab.ports = dict(hub_alone)
            lab.home(3).peers.unlink()  # it knows nobody whom it could dial itself
            async with lab.node(3, **FEW) as peer:
                place = peer.network.port
                assert place != everybody[3]
                await until(lambda: bool(of(hub)))
                await until(lambda: of(one) == [(False, place)])
            monkeypatch.setattr(peering, "LOST_EVERY", 3600.0)
            await until(lambda: not of(one))
            await trio.sleep(1.0)
            lab.ports = {**hub_alone, 3: place}
            lab.home(3).peers.unlink()
            async with lab.node(3, **FEW):
                await until(lambda: of(one) == [(False, place)])


def book_of(node: object) -> tuple[object, ...]:
    return tuple(node.network._company.meeting._book.entries())  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [
    {"role": "guarded"}, {"role": "nobody"}, {"external_address": "example.org:1"}, {"external_address": "[::1]:0"},
    {"role": "guarded", "persistent_peers": ["ab" * 32 + "@[::1]:1"], "seeds": ["cd" * 32 + "@[::1]:1"]},
])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        make_config(**settings)
    assert refused.value.reason is Reason.BAD_CONFIG


def test_a_guarded_validator_lets_its_sentries_in_and_nobody_else() -> None:
    config = network_config(make_config(role="guarded", persistent_peers=["ab" * 32 + "@[::1]:1"]))
    assert config.allowed == frozenset(peer.peer_id for peer in config.persistent)
    assert [peer.peer_id for peer in config.persistent] == [bytes.fromhex("ab" * 32)]


async def test_a_guarded_validator_takes_part_through_its_sentry_and_is_told_to_nobody(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=2, followers=2)
    # 0: open validator, 1: guarded validator, 2: sentry of 1, 3: a full node that knows the sentry
    async with lab.node(2, role="sentry") as sentry, lab.node(1, role="guarded") as guarded:
        lab.ports = {2: sentry.network.port}
        async with lab.node(0) as open_validator:
            lab.ports = {2: sentry.network.port}
            async with lab.node(3, role="full") as full:
                await until(lambda: len(full.network.peers()) >= 2)
                for nonce in range(2):
                    paid = lab.pay(full, 0, nonce, lab.account(1).address, 5)
                    await full.service.submit(paid.raw)
                    await full.service.wait_committed(paid.txid, 30)
                await until(lambda: guarded.core.chain.height >= 2)
                (only,) = guarded.network.peers()
                assert only.peer_id == sentry.network.peer_id
                assert guarded.network.peer_id not in {peer.peer_id for peer in full.network.peers()}
                assert open_validator.core.chain.tip.validators == guarded.core.chain.tip.validators
