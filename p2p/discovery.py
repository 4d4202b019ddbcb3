"""Finds peers: seeds first, then what peers tell, until there are enough; and keeps the address book.

A seed is asked and left again as soon as there is other company. Who has its own reasons to stay connected, with
persistent peers, is not let go. Everything here is a client of the mesh; nothing here can stop it.
"""

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from crypto.errors import Reason, Refused
from p2p.addressbook import AddressBook, Entry
from p2p.exchange import Exchange
from p2p.mesh import Mesh
from p2p.network import PeerAddress, PeerId, PeerInfo
from p2p.prefix import prefix_group
from p2p.records import SignedRecord

TICK: Final = 1.0
"""Seconds between two looks while peers are lacking."""
REST: Final = 15.0
"""Seconds between two looks otherwise."""
PARALLEL: Final = 4
"""Dials at one time."""
MEET_TIMEOUT: Final = 5.0
"""Seconds that a peer may take to answer."""
ASK_AGAIN: Final = 10.0
"""Seconds after which a connected peer is asked again while peers are lacking; doubled while there is no news."""
ASK_SELDOM: Final = 300.0
SEED_AGAIN: Final = 2.0
"""Seconds after which a seed is asked again; doubled each time up to SEED_SELDOM."""
SEED_SELDOM: Final = 120.0
FEW: Final = 3
"""With fewer other peers than this the connection with a seed is kept: it may be all there is."""
CRAWL_AGAIN: Final = 1800 * 1000
"""ms after which a seed looks again whether a node is there."""
VISIT: Final = 5.0
"""Seconds that a seed has patience with a visitor."""
SAVE_EVERY: Final = 60.0
"""Seconds between two looks whether the book has to be written."""
RENEW_EVERY: Final = 24 * 3600.0
"""Seconds after which a node makes a new record of itself."""

Places = tuple[tuple[str, int], ...]
"""IPv6 addresses and ports where a node can be dialled."""
Tell = Callable[[PeerAddress, Refused | None], None]
"""Called when a seed's answer changes: with a refusal, or None when it answers."""


class BookFile(Protocol):
    """Where the book outlives the process."""

    def replace(self, content: bytes) -> None:
        """Write the file in one step. Raises Refused if that fails."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a node wants of discovery.

    Attributes:
        seeds: whom to ask first.
        outbound: peers to dial; 0 for none.
        crawl: look after every node of the book and keep nobody: what a seed does.
        tell: hears about seeds.
    """

    seeds: tuple[PeerAddress, ...]
    outbound: int
    crawl: bool
    tell: Tell


@dataclass(slots=True)
class _Seed:
    address: PeerAddress
    next_time: float = 0.0
    wait: float = SEED_AGAIN
    outcome: tuple[Reason | None, ...] = field(default=())


class Discovery:
    """The tasks that look for peers. See `run`.

    Args:
        mesh: the network.
        book: addresses; shared with `exchange`.
        exchange: what is asked and told.
        plan: what to look for.
        per_prefix: peers to dial in one /64.
        loopback_exempt: as in `Limits`.
        clock: ms since 1970.
    """

    def __init__(
        self, mesh: Mesh, book: AddressBook, exchange: Exchange, plan: Plan, *, per_prefix: int,
        loopback_exempt: bool, clock: Callable[[], int],
    ) -> None:
        self._mesh = mesh
        self._book = book
        self._exchange = exchange
        self._plan = plan
        self._per_prefix = per_prefix
        self._exempt = loopback_exempt
        self._clock = clock
        self._seeds = [_Seed(address) for address in plan.seeds if address.peer_id != mesh.peer_id]
        self._met: set[PeerId] = set()
        self._ask_at = 0.0
        self._ask_wait = ASK_AGAIN

    async def run(self) -> None:
        """Look for peers until cancelled."""
        while True:
            await self._look()
            pause = TICK if self._plan.crawl or self._lacking() else REST
            with trio.move_on_after(random.uniform(0.5, 1.0) * pause):
                await self._mesh.wait_change()
            await trio.sleep(random.uniform(0.0, 0.2) * TICK)

    async def _look(self) -> None:
        live = {peer.peer_id for peer in self._mesh.peers()}
        self._met &= live
        async with trio.open_nursery() as nursery:
            for peer in self._mesh.peers():
                if not peer.inbound and peer.peer_id not in self._met:
                    nursery.start_soon(self._meet, peer)
        self._leave_seeds()
        async with trio.open_nursery() as nursery:
            if self._plan.crawl:
                self._dismiss_visitors()
                self._dial_some(nursery, PARALLEL, self._is_unvisited)
            else:
                self._dial_some(nursery, min(PARALLEL, self._lacking()), self._is_welcome)
        if self._lacking() or self._plan.crawl:
            await self._ask_around()

    def _lacking(self) -> int:
        outbound = sum(not peer.inbound for peer in self._mesh.peers())
        return max(self._plan.outbound - outbound, 0)

    # ---- dialling

    def _dial_some(self, nursery: trio.Nursery, most: int, allowed: Callable[..., bool]) -> None:
        chosen: dict[PeerId, str] = {}
        for _ in range(most):
            groups = list(chosen.values())
            entry = self._book.pick(self._clock(), partial(allowed, chosen=groups), chosen)
            if entry is None:
                return
            chosen[entry.peer_id] = self._group(entry.address.host, entry.address.port)
            nursery.start_soon(self._dial, entry.address)

    async def _dial(self, address: PeerAddress) -> None:
        try:
            peer = await self._mesh.connect(address)
        except Refused as refused:
            if refused.reason is not Reason.REPLACED:
                self._book.failed(address.peer_id, self._clock())
            return
        self._book.reached(address.peer_id, self._clock())
        await self._meet(peer)
        if self._plan.crawl and address.peer_id not in self._mesh.kept:
            self._mesh.disconnect(address.peer_id, Reason.CLOSING, "a seed keeps nobody")

    def _is_welcome(self, entry: Entry, chosen: Sequence[str]) -> bool:
        if entry.peer_id in self._live() or self._mesh.is_banned(entry.peer_id):
            return False
        groups = [self._group(peer.host, peer.port) for peer in self._mesh.peers()] + list(chosen)
        return groups.count(self._group(entry.address.host, entry.address.port)) < self._per_prefix

    def _is_unvisited(self, entry: Entry, chosen: Sequence[str]) -> bool:
        known = entry.reached and entry.reached > self._clock() - CRAWL_AGAIN
        return not known and entry.peer_id not in self._live() and not self._mesh.is_banned(entry.peer_id)

    def _group(self, host: str, port: int) -> str:
        return prefix_group(host, self._exempt, port)

    def _live(self) -> set[PeerId]:
        return {peer.peer_id for peer in self._mesh.peers()}

    # ---- asking

    async def _meet(self, peer: PeerInfo) -> bool:
        """Ask a peer whom it knows; return whether it told news. A peer that lies is let go."""
        self._met.add(peer.peer_id)
        try:
            answer = await self._mesh.meet(peer.peer_id, self._exchange.question(), MEET_TIMEOUT)
            return self._exchange.take_answer(peer, answer) > 0
        except Refused as refused:
            if refused.reason.permanent and refused.reason is not Reason.PEER_REFUSED:
                self._mesh.disconnect(peer.peer_id, refused.reason, refused.detail)
            return False

    async def _ask_around(self) -> None:
        """Ask a peer again, or the seeds while there are few peers."""
        now = trio.current_time()
        peers = self._mesh.peers()
        if peers and now >= self._ask_at:
            news = await self._meet(random.choice(peers))
            self._ask_wait = ASK_AGAIN if news else min(2 * self._ask_wait, ASK_SELDOM)
            self._ask_at = now + random.uniform(0.5, 1.0) * self._ask_wait
        if len(peers) >= max(FEW, self._plan.outbound // 2):
            return
        async with trio.open_nursery() as nursery:
            for seed in self._seeds:
                if now >= seed.next_time:
                    nursery.start_soon(self._ask_seed, seed, now)

    async def _ask_seed(self, seed: _Seed, now: float) -> None:
        seed.next_time = now + random.uniform(0.5, 1.0) * seed.wait
        seed.wait = min(2 * seed.wait, SEED_SELDOM)
        outcome: Refused | None = None
        try:
            await self._meet(await self._mesh.connect(seed.address))
        except Refused as refused:
            if refused.reason is Reason.REPLACED:
                return
            outcome = refused
        reason = (None if outcome is None else outcome.reason,)
        if reason != seed.outcome:
            seed.outcome = reason
            self._plan.tell(seed.address, outcome)

    # ---- letting go

    def _leave_seeds(self) -> None:
        """Leave the seeds that we dialled, once there is other company."""
        seeds = {seed.address.peer_id for seed in self._seeds} - self._mesh.kept
        peers = self._mesh.peers()
        if sum(peer.peer_id not in seeds for peer in peers) < FEW:
            return
        for peer in peers:
            if peer.peer_id in seeds and not peer.inbound:
                self._mesh.disconnect(peer.peer_id, Reason.CLOSING, "asked, and found others")

    def _dismiss_visitors(self) -> None:
        now = trio.current_time()
        for peer in self._mesh.peers():
            if peer.peer_id not in self._mesh.kept and now - peer.connected_at > VISIT:
                self._mesh.disconnect(peer.peer_id, Reason.CLOSING, "a seed keeps nobody")


async def keep_saved(file: BookFile, content: Callable[[], bytes]) -> None:
    """Write the book now and then while it changes, and once more when cancelled.

    A file that cannot be written stops nobody: a node without a book asks its seeds again.
    """
    written = b""
    try:
        while True:
            await trio.sleep(SAVE_EVERY)
            now = content()
            if now != written:
                with suppress(Refused):
                    await trio.to_thread.run_sync(file.replace, now)
                    written = now
    finally:
        with suppress(Refused):
            file.replace(content())


async def keep_published(
    exchange: Exchange, places: Callable[[], Places], make: Callable[[Places], SignedRecord]
) -> None:
    """Make our own record, a new one every day and whenever we are somewhere else, until cancelled.

    Args:
        exchange: tells it to peers.
        places: where we can be dialled, nothing while that is not known.
        make: signs a record; run on a thread.
    """
    told: Places = ()
    made_at = -math.inf
    while True:
        present = places()
        if present and (present != told or trio.current_time() - made_at >= RENEW_EVERY):
            exchange.own = (await trio.to_thread.run_sync(make, present),)
            told, made_at = present, trio.current_time()
        await trio.sleep(TICK)
