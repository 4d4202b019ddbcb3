"""Nodes that only look for each other: real networks on ::1 with address book and discovery, and no chain."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache

import trio

from crypto.errors import Refused
from crypto.keys import SecretKey
from p2p.address import peer_id_of
from p2p.addressbook import AddressBook
from p2p.bans import Bans
from p2p.config import Limits, NetworkConfig, Timing
from p2p.discovery import Discovery, Plan
from p2p.exchange import Exchange
from p2p.mesh import Company, Mesh, open_network, wall_clock
from p2p.network import PeerAddress
from p2p.records import make_record
from state.types import ChainId


@cache
def crowd_key(index: int) -> SecretKey:
    """The same throughout a test run."""
    return SecretKey.from_seed(SecretKey.generate().scheme, index.to_bytes(32, "big"))


@dataclass
class Member:
    mesh: Mesh
    book: AddressBook
    exchange: Exchange
    bans: Bans
    told: list[tuple[PeerAddress, Refused | None]] = field(default_factory=list)

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.mesh.peer_id, "::1", self.mesh.port)


async def drain(mesh: Mesh) -> None:
    async with trio.open_nursery() as nursery:
        for events in (mesh.consensus_events, mesh.bulk_events):
            nursery.start_soon(_forget, events)


async def _forget(events: trio.MemoryReceiveChannel[object]) -> None:
    async for _ in events:
        pass


@asynccontextmanager
async def member(
    index: int, chain: ChainId, *seeds: PeerAddress, outbound: int = 10, crawl: bool = False,
    limits: Limits | None = None, hidden: frozenset[bytes] = frozenset(), config: NetworkConfig | None = None,
) -> AsyncIterator[Member]:
    """One node, looking for others from the start."""
    key, limits = crowd_key(index), limits or Limits()
    rng = random.Random(index)
    book = AddressBook(chain, peer_id_of(key.public_key), rng.randbytes(32), limits.loopback_exempt, rng)
    exchange = Exchange(book, hidden, limits.loopback_exempt, wall_clock)  # type: ignore[arg-type]
    bans = Bans(limits.penalty)
    settings = replace(config or NetworkConfig(host="::1", timing=Timing(handshake=5.0)), limits=limits)
    async with open_network(settings, key, chain, Company(exchange, bans, wall_clock)) as mesh:
        here = Member(mesh, book, exchange, bans)
        plan = Plan(seeds, outbound, crawl, lambda seed, refused: here.told.append((seed, refused)))
        discovery = Discovery(
            mesh, book, exchange, plan, per_prefix=limits.per_prefix, loopback_exempt=limits.loopback_exempt,
            clock=wall_clock,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, mesh)
            exchange.own = (make_record(key, chain, (("::1", mesh.port),), wall_clock()),)
            nursery.start_soon(discovery.run)
            yield here
            nursery.cancel_scope.cancel()
