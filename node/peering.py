"""Who a node talks with: its address book, its seeds, and what its role means to others.

| role | dials | is found by others | passes on transactions |
|---|---|---|---|
| validator | its persistent peers and, if it names seeds, what discovery finds | yes | of all but persistent peers |
| guarded | its persistent peers, which are its sentries; nobody else may connect | no | of nobody |
| full | what discovery finds | yes | of everybody |
| sentry | as full; its persistent peers, a guarded validator among them, are told to nobody | yes | of everybody |
| seed | everybody it hears of, now and then, to see whether they are there; keeps nobody | yes | of nobody |
"""

import os
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.config import NodeConfig
from node.document import DiskDocument
from node.driver import wall_clock
from node.home import Home
from node.logs import logger
from p2p.address import format_peer_address, parse_peer_address, parse_place
from p2p.addressbook import SECRET_SIZE, AddressBook, book_codec
from p2p.bans import Bans
from p2p.config import CoreName, Limits, NetworkConfig
from p2p.discovery import Discovery, Places, Plan, keep_published, keep_saved
from p2p.exchange import Exchange, NoMeeting
from p2p.mesh import Company, Mesh
from p2p.network import PeerAddress, PeerId
from p2p.records import SignedRecord, make_record
from state.types import ChainId

OUTBOUND: Final = 10
"""Peers that discovery dials; a quarter of `max_peers` if that is less."""
SEED_VISITORS: Final = 256
"""Inbound connections of a seed, which keeps each for seconds."""
LOST_EVERY: Final = 60.0
"""Seconds between two looks for persistent peers that do not answer."""

Ask = Callable[[PeerId], Awaitable[tuple[PeerAddress, ...]]]
"""Asks where a node is."""

_log = logger("p2p")
_ABSENT: Final = frozenset({Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.WRONG_PEER, Reason.WRONG_GENESIS})
"""Why a dial fails where the peer is not, or not any more."""
_ADVICE: Final[Mapping[Reason, str]] = {
    Reason.UNREACHABLE: "nobody answers there: check its address and port and the firewalls between; it is tried again",
    Reason.TIMED_OUT: "it began to answer and fell silent; it is tried again",
    Reason.WRONG_GENESIS: "it is on another network: compare its genesis file with this home's, or name another seed",
    Reason.WRONG_PEER: "another node answers at its address: ask the operator for its present node id",
    Reason.WRONG_VERSION: "it speaks another version of the protocol: update this program, or name another seed",
    Reason.PEER_REFUSED: "it refuses this node: it shuts it out, or speaks to chosen peers alone; name another seed",
    Reason.TOO_MANY_CONNECTIONS: "it has no room at the moment; it is tried again",
}


class PlaceSource(StrEnum):
    """How a node knows where it can be dialled."""

    SET = "set"
    """`external_address` says so."""
    LISTENING = "listening"
    """It listens on that address alone."""
    SEEN = "seen"
    """Peers of several prefixes see it there."""
    UNKNOWN = "unknown"
    """It does not: nobody is told."""


@dataclass(frozen=True, slots=True)
class Peering:
    """What is open of a node's peering before its network is.

    Attributes:
        config: for the network.
        company: for the network.
        book: addresses.
        bans: who is shut out.
    """

    config: NetworkConfig
    company: Company
    book: AddressBook
    bans: Bans
    _exchange: Exchange
    _settings: NodeConfig
    _file: DiskDocument

    async def run(self, mesh: Mesh, key: SecretKey, chain_id: ChainId) -> None:
        """Find peers and keep the book until cancelled.

        Args:
            mesh: opened with `config` and `company`.
            key: the node key.
            chain_id: the genesis hash.
        """
        settings, limits = self._settings, self.config.limits
        if settings.role == "guarded":
            return
        seeds = tuple(parse_peer_address(text) for text in settings.seeds)
        # A validator without seeds has chosen its peers: whom it hears of it tells others, and dials nobody.
        looks = settings.role in ("full", "sentry") or (settings.role == "validator" and bool(seeds))
        outbound = min(OUTBOUND, max(settings.max_peers // 4, 1)) if looks else 0
        plan = Plan(seeds, outbound, settings.role == "seed", _tell)
        discovery = Discovery(
            mesh, self.book, self._exchange, plan, per_prefix=limits.per_prefix,
            loopback_exempt=limits.loopback_exempt, clock=wall_clock,
        )

        def places() -> Places:
            """Return where we can be dialled, and show it to whoever asks the node."""
            found, _ = self.own_place(mesh.port)
            mesh.external_address = "".join(f"[{host}]:{port}" for host, port in found)
            return found

        def own_record(found: Places) -> SignedRecord:
            return make_record(key, chain_id, found, wall_clock())

        async with trio.open_nursery() as nursery:
            if not places():
                _log.info("where this node can be dialled, its peers have to tell: or set external_address")
            nursery.start_soon(keep_published, self._exchange, places, own_record)
            nursery.start_soon(discovery.run)
            nursery.start_soon(keep_saved, self._file, self._content)

    async def find_lost(self, mesh: Mesh, ask: Ask) -> None:
        """Look for persistent peers that are not where they are said to be, until cancelled: they may have moved.

        Args:
            mesh: the network.
            ask: asks the DHT where a node is; raises Refused if nobody knows, or if this node takes no part in it.
        """
        while True:
            await trio.sleep(LOST_EVERY)
            for peer_id in [one for one, why in mesh.dial_failures.items() if why.reason in _ABSENT]:
                entry = self.book.get(peer_id)
                with suppress(Refused):
                    found = entry is not None and await mesh.seek(entry.signed.record.addresses)
                    if found or await mesh.seek(await ask(peer_id)):
                        _log.info("a persistent peer has moved", peer=peer_id)

    @property
    def own_records(self) -> tuple[SignedRecord, ...]:
        """Our own record, if we can be dialled; a new one every day."""
        return self._exchange.own

    def own_place(self, port: int) -> tuple[Places, PlaceSource]:
        """Return where others are told to dial us, and how we know.

        Args:
            port: where the network listens.
        """
        settings = self._settings
        if settings.external_address:
            return (parse_place(settings.external_address),), PlaceSource.SET
        if settings.listen_host != "::":
            return ((settings.listen_host, port),), PlaceSource.LISTENING
        seen = self._exchange.outside.place
        return seen, PlaceSource.SEEN if seen else PlaceSource.UNKNOWN

    def _content(self) -> bytes:
        return self.book.stored(self.bans.all(wall_clock()))


def open_peering(home: Home, settings: NodeConfig, own: PeerId, chain_id: ChainId) -> Peering:
    """Read the address book of a home and put together what its network needs.

    Args:
        home: exists.
        settings: of the node.
        own: our node id.
        chain_id: the genesis hash.
    """
    config = network_config(settings)
    limits = config.limits
    file = DiskDocument(home.peers, Reason.CORRUPT_LOG, expendable=True)
    now = wall_clock()
    try:
        stored = book_codec.decode(file.read())
        secret, kept = stored.secret, stored.bans
    except Refused as refused:
        if home.peers.exists():
            _log.warning("the address book is begun anew", reason=refused.reason.value, detail=refused.detail)
        stored, secret, kept = None, os.urandom(SECRET_SIZE), ()
    book = AddressBook(chain_id, own, secret, limits.loopback_exempt, random.Random())
    if stored is not None:
        _log.info("address book", peers=book.restore(stored, now))
    bans = Bans(limits.penalty, kept)
    hidden = frozenset(peer.peer_id for peer in config.persistent) if settings.role == "sentry" else frozenset()
    exchange = Exchange(book, hidden, limits.loopback_exempt, wall_clock)
    meeting = NoMeeting() if settings.role == "guarded" else exchange
    return Peering(config, Company(meeting, bans, wall_clock), book, bans, exchange, settings, file)


def network_config(config: NodeConfig) -> NetworkConfig:
    """Return the part of a node's settings that the network reads."""
    peers = tuple(parse_peer_address(text) for text in config.persistent_peers)
    allowed = frozenset(peer.peer_id for peer in peers) if config.role == "guarded" else None
    inbound = max(config.max_peers, SEED_VISITORS) if config.role == "seed" else config.max_peers
    return NetworkConfig(
        host=config.listen_host, port=config.listen_port, core=CoreName(config.quic_core), persistent=peers,
        allowed=allowed, datagram_size=config.datagram_size,
        limits=Limits(inbound=inbound, outbound=config.max_peers),
    )


def _tell(seed: PeerAddress, refused: Refused | None) -> None:
    if refused is None:
        _log.info("the seed answers", seed=format_peer_address(seed))
    else:
        advice = _ADVICE.get(refused.reason, "it is tried again")
        _log.warning(f"the seed {format_peer_address(seed)} does not help: {advice}", reason=refused.reason.value,
                     detail=refused.detail)
