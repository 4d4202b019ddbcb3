"""The operator's line to a running node: a Unix socket in the home, which only its owner may open.

One JSON object a line each way. It is no part of the API: who may read the chain over HTTP must not choose our peers.

    {"do": "list"}                                   -> PeersReport
    {"do": "add", "peer": "ID@[ADDR]:PORT"}          -> {}
    {"do": "ban", "peer": "ID", "seconds": 3600}     -> {}         0: for ever
    {"do": "allow", "peer": "ID"}                    -> {}         ends a ban
    {"do": "find", "peer": "ID"}                     -> PeersReport, after the DHT told where that node is
    {"do": "gossip"}                                 -> GossipReport
    {"do": "announce", "task": "HEX", "round": 1, "stage": 1, "content": "HEX", "size": 1}    -> GossipReport
    anything that fails                              -> {"reason": ..., "detail": ...}
"""

import contextlib
import os
import socket
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import trio
from msgspec import Meta

from crypto.errors import Reason, Refused
from node.driver import wall_clock
from node.gossip import Gossiping, GossipReport
from node.logs import logger
from node.peering import Peering
from p2p.address import format_peer_address, parse_peer_address, parse_peer_id
from p2p.bans import FOREVER
from p2p.mesh import Mesh

MAX_LINE: Final = 1 << 20
TIMEOUT: Final = 30.0
"""Seconds that who asks waits for the answer."""
PATIENCE: Final = 25.0
"""Seconds in which the node must have read an order and carried it out; a question to the DHT takes up to 20."""
UNREADY: Final = ".new"
"""Ending of the socket's name before it listens; no longer than `.sock`, as the names of sockets have to be short."""
SHOWN: Final = 200
"""Addresses of the book that a report shows."""


_log = logger("api")


class ListPeers(msgspec.Struct, frozen=True, tag="list", tag_field="do", forbid_unknown_fields=True):
    """Who is connected, known and shut out."""


class AddPeer(msgspec.Struct, frozen=True, tag="add", tag_field="do", forbid_unknown_fields=True):
    """Stay connected with a peer until the node stops."""

    peer: str


class BanPeer(msgspec.Struct, frozen=True, tag="ban", tag_field="do", forbid_unknown_fields=True):
    """Shut a peer out for some seconds; 0 is for ever."""

    peer: str
    seconds: Annotated[int, Meta(ge=0, le=10 * 365 * 86400)] = 0


class AllowPeer(msgspec.Struct, frozen=True, tag="allow", tag_field="do", forbid_unknown_fields=True):
    """Let a peer in again."""

    peer: str


class FindPeer(msgspec.Struct, frozen=True, tag="find", tag_field="do", forbid_unknown_fields=True):
    """Ask the DHT where a node is, and keep its record in the address book."""

    peer: str


class ShowGossip(msgspec.Struct, frozen=True, tag="gossip", tag_field="do", forbid_unknown_fields=True):
    """What goes through gossip."""


class AnnounceLearning(msgspec.Struct, frozen=True, tag="announce", tag_field="do", forbid_unknown_fields=True):
    """Announce to the network that this node holds something of a round of federated learning."""

    task: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    round: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    stage: Annotated[int, Meta(ge=1, le=3)]
    content: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)]


PeersOrder = ListPeers | AddPeer | BanPeer | AllowPeer | FindPeer
GossipOrder = ShowGossip | AnnounceLearning
Order = PeersOrder | GossipOrder


class ConnectedPeer(msgspec.Struct, frozen=True):
    """A live connection. `kept` if it is dialled again when lost."""

    node_id: str
    address: str
    inbound: bool
    kept: bool
    seconds: int
    rtt_ms: float


class MissingPeer(msgspec.Struct, frozen=True):
    """A peer to stay connected to that does not answer, and why."""

    node_id: str
    reason: str
    detail: str


class KnownPeer(msgspec.Struct, frozen=True):
    """An address of the book. `reached` in ms since 1970; 0 if we only heard of it."""

    peer: str
    reached: int


class BannedPeer(msgspec.Struct, frozen=True):
    """Who is shut out, for how many more seconds; -1 is for ever."""

    node_id: str
    seconds: int


class OwnPlace(msgspec.Struct, frozen=True):
    """Where others are told to dial this node, and how it knows: set, listening, seen (by peers), unknown."""

    address: str
    source: str


class PeersReport(msgspec.Struct, frozen=True):
    """What `nexus peers list` shows."""

    own: OwnPlace
    connected: list[ConnectedPeer]
    missing: list[MissingPeer]
    known: list[KnownPeer]
    banned: list[BannedPeer]


class Failure(msgspec.Struct, frozen=True):
    """A refusal."""

    reason: str
    detail: str


Answer = TypeVar("Answer", PeersReport, GossipReport)


async def serve_admin(
    path: Path, mesh: Mesh, peering: Peering, gossip: Gossiping, *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer the operator until cancelled. A path too long for a socket leaves the node without this line.

    Args:
        path: of the socket; what is left of an earlier run is replaced.
        mesh: the network.
        peering: its book and bans.
        gossip: of the node.
        task_status: trio's.
    """
    path.unlink(missing_ok=True)
    listening = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unready = path.with_suffix(UNREADY)
    unready.unlink(missing_ok=True)
    with listening:
        try:
            await listening.bind(str(unready))
        except OSError as error:  # "AF_UNIX path too long": everything else works without it
            _log.warning("nexus peers will not reach this node", path=str(path), detail=str(error))
            task_status.started()
            return
        os.chmod(unready, 0o600)
        listening.listen(8)
        unready.rename(path)  # who sees the socket is answered
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    client, _ = await listening.accept()
                    nursery.start_soon(_serve_one, trio.SocketStream(client), mesh, peering, gossip)
        finally:
            path.unlink(missing_ok=True)


async def _serve_one(stream: trio.SocketStream, mesh: Mesh, peering: Peering, gossip: Gossiping) -> None:
    with trio.move_on_after(PATIENCE), contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with stream:
            raw = b""
            while not raw.endswith(b"\n") and len(raw) < MAX_LINE:
                part = await stream.receive_some()
                if not part:
                    return
                raw += part
            answer: PeersReport | GossipReport | Failure
            try:
                answer = await _answer(msgspec.json.decode(raw, type=Order), mesh, peering, gossip)
            except msgspec.DecodeError as error:
                answer = Failure(Reason.MALFORMED.value, str(error))
            except Refused as refused:
                answer = Failure(refused.reason.value, refused.detail)
            await stream.send_all(msgspec.json.encode(answer) + b"\n")


async def _answer(order: Order, mesh: Mesh, peering: Peering, gossip: Gossiping) -> PeersReport | GossipReport:
    match order:
        case ShowGossip():
            return gossip.report()
        case AnnounceLearning(task, round, stage, content, size):
            await gossip.announce_learning(bytes.fromhex(task), round, stage, bytes.fromhex(content), size)
            return gossip.report()
        case FindPeer(peer):
            await gossip.find(parse_peer_id(peer))
            return _report(mesh, peering)
    return _carry_out(order, mesh, peering)


def _carry_out(order: ListPeers | AddPeer | BanPeer | AllowPeer, mesh: Mesh, peering: Peering) -> PeersReport:
    match order:
        case AddPeer(peer):
            address = parse_peer_address(peer)
            if mesh.is_banned(address.peer_id):
                raise Refused(Reason.PEER_REFUSED, "this peer is shut out: allow it first")
            mesh.dial(address)
        case BanPeer(peer, seconds):
            mesh.ban(parse_peer_id(peer), wall_clock() + seconds * 1000 if seconds else FOREVER)
        case AllowPeer(peer):
            mesh.ban(parse_peer_id(peer), 0)
        case ListPeers():
            pass
    return _report(mesh, peering)


def _report(mesh: Mesh, peering: Peering) -> PeersReport:
    now, clock = wall_clock(), trio.current_time()
    connected = [
        ConnectedPeer(
            peer.peer_id.hex(), f"[{peer.host}]:{peer.port}", peer.inbound, peer.peer_id in mesh.kept,
            int(clock - peer.connected_at), round(peer.rtt * 1000, 1),
        )
        for peer in mesh.peers()
    ]
    missing = [
        MissingPeer(peer_id.hex(), refused.reason.value, refused.detail)
        for peer_id, refused in mesh.dial_failures.items()
    ]
    known = [
        KnownPeer(format_peer_address(entry.address), entry.reached) for entry in peering.book.entries()[:SHOWN]
    ]
    banned = [
        BannedPeer(ban.peer_id.hex(), -1 if ban.until >= FOREVER else (ban.until - now) // 1000)
        for ban in peering.bans.active(now)
    ]
    found, source = peering.own_place(mesh.port)
    own = OwnPlace("".join(f"[{host}]:{port}" for host, port in found), source.value)
    return PeersReport(own, connected, missing, known, banned)


def ask_peers(path: Path, order: PeersOrder) -> PeersReport:
    """Give an order about peers to the node that runs in a home. Raises Refused as `ask_admin`."""
    return ask_admin(path, order, PeersReport)


def ask_gossip(path: Path, order: GossipOrder) -> GossipReport:
    """Give an order about gossip to the node that runs in a home. Raises Refused as `ask_admin`."""
    return ask_admin(path, order, GossipReport)


def ask_admin(path: Path, order: Order, kind: type[Answer]) -> Answer:
    """Give an order to the node that runs in a home.

    Args:
        path: of its socket.
        order: what to do.
        kind: of the answer.

    Raises:
        Refused: UNREACHABLE if no node runs there; TIMED_OUT if it does not answer; its own reason; MALFORMED.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(TIMEOUT)
        try:
            line.connect(str(path))
            line.sendall(msgspec.json.encode(order) + b"\n")
            raw = b""
            while not raw.endswith(b"\n") and (part := line.recv(1 << 16)):
                raw += part
        except TimeoutError:
            raise Refused(Reason.TIMED_OUT, f"the node does not answer within {TIMEOUT:.0f} s") from None
        except OSError:
            raise Refused(Reason.UNREACHABLE, f"no node runs in {path.parent.parent}: nexus start") from None
    try:
        failure = msgspec.json.decode(raw, type=Failure)
    except msgspec.DecodeError:
        return msgspec.json.decode(raw, type=kind)
    raise Refused(Reason(failure.reason), failure.detail)
