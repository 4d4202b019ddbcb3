"""Joining by a snapshot: what happens before a node's own core begins, when the chain is far ahead of it.

Headers first: a light client over the peers' own protocol goes from what is trusted to the block after a snapshot, with
the other peers as its witnesses. Then the manifest, against the state root in that header; then the chunks, from every
peer that offers the same snapshot, each checked alone and written into a store beside the chain. Only when the last one
is there does that store take the place of the chain. Whatever fails, the node goes on with blocks from where it is;
whatever was fetched is used by the next attempt.
"""

import math
from dataclasses import dataclass
from typing import Final

import trio

from apps.chain.records import validators_at
from consensus.effects import Verifier
from consensus.light import LightBlock, TrustParams
from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.chain import open_chain
from node.config import NodeConfig
from node.driver import wall_clock
from node.fetching import ChunkPlan
from node.home import Home
from node.light.client import Clock, LightClient, Surroundings
from node.light.roots import CLOCK_DRIFT, GenesisRoot, HeaderRoot, Root, check_identity, check_root
from node.light.source import fetch_light_block
from node.light.store import MemoryBlocks
from node.logs import logger
from node.peering import open_peering
from node.peersource import PeerSource, ask_chunk, ask_manifest, ask_offers, ask_status
from node.restore import discard, settle, swap
from node.snapshots import check_pair
from p2p.address import peer_id_of
from p2p.mesh import open_network
from p2p.network import Network, NetworkEvent, PeerId, RequestReceived
from p2p.wire import SnapshotOffer
from state.encoding import encode
from state.genesis import Genesis, genesis_hash
from state.leveldb import LevelDB
from state.restoring import Restoration, unfinished
from state.types import Height

FAR: Final = 1000
"""Blocks behind the peers from which on a snapshot is worth it."""
FRESH: Final = 60_000
"""ms: a tip that is younger is not far behind anybody."""
MEETING: Final = 5.0
"""Seconds for the first peers to answer where they stand."""
FIRST: Final = 1.0
"""Seconds in any case, for witnesses to come, too."""
SHUNNED: Final = 5.0
"""Seconds for which a peer is not asked after it failed."""
PATIENCE: Final = 20.0
"""Seconds without a new chunk after which the attempt is given up."""
LOOK_EVERY: Final = 2.0
"""Seconds between two looks at who offers what, and two lines about progress."""
WITNESSES: Final = 3
PER_PEER: Final = 2
"""Chunks that one peer is asked for at a time."""

_log = logger("p2p")


@dataclass(frozen=True, slots=True)
class Joining:
    """How a node may join before it begins: by a snapshot, if that is worth it.

    Attributes:
        root: the block that the operator trusts; None for what the home itself vouches for.
    """

    root: HeaderRoot | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a home's own chain stands, and from what its headers may be verified.

    Attributes:
        height: of the tip; 0 for a chain that has only its genesis.
        root: what is trusted.
        first: the trusted block itself, if it is our own tip.
        insists: the operator named the root.
    """

    height: Height
    root: Root
    first: LightBlock | None
    insists: bool


def standing(
    home: Home, genesis: Genesis, own_key: bytes | None, named: HeaderRoot | None, now: int
) -> Standing | None:
    """Look whether a home may need a snapshot, without asking anybody: None if it does not, or nothing is trusted.

    Args:
        home: exists; its node does not run.
        genesis: of its chain.
        own_key: our public consensus key, or None.
        named: the block that the operator trusts.
        now: our clock, ms since 1970.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE.
    """
    settle(home)
    store = LevelDB.open(home.chain)
    try:
        chain = open_chain(store, genesis)
        tip, height = chain.tip, chain.height
        own = chain.light_block(height) if height else None
        votes = own_key is not None and any(
            one.public_key == own_key for one in validators_at(chain.store, height + 1).validators
        )
    finally:
        store.close()
    if named is not None:
        return Standing(height, named, None, True)
    if votes or (height and now - tip.time < FRESH):
        return None
    period = genesis.security.trust_period
    if own is not None and now - tip.time < period:
        return Standing(height, HeaderRoot(height, tip.block_id), own, False)
    if now - genesis.time < period:
        return Standing(height, GenesisRoot(genesis_hash(genesis)), None, False)
    return None


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot whose place in the chain is proven: light blocks of its height and of the next."""

    offer: SnapshotOffer
    block: LightBlock
    following: LightBlock


class Joiner:
    """One attempt to join by a snapshot.

    Args:
        home: its chain is closed.
        genesis: of the chain.
        place: from `standing`.
        network: open; nobody else uses it.
        verifier: checks commits.
        clock: gives ms since 1970.
    """

    def __init__(
        self, home: Home, genesis: Genesis, place: Standing, network: Network, verifier: Verifier, clock: Clock
    ) -> None:
        self._home = home
        self._genesis = genesis
        self._place = place
        self._network = network
        self._verifier = verifier
        self._clock = clock
        self._offers: dict[PeerId, tuple[SnapshotOffer, ...]] = {}
        self._heights: dict[PeerId, Height] = {}
        self._shunned: dict[PeerId, float] = {}
        self._contradicted: list[Refused] = []

    async def join(self) -> Height | None:
        """Restore the newest snapshot that holds; return its height, or None if blocks are the way.

        Raises:
            Refused: FORKED; BAD_HEADER if the operator's root of trust is contradicted by all who know its height.
        """
        if not await self._meet():
            return None
        tried: set[tuple[Height, int]] = set()
        while True:
            offer = self._next_offer(tried)
            if offer is None:
                break
            tried.add((offer.height, offer.limit))
            found = await self._prove(offer)
            if found is not None and await self._restore(found):
                return offer.height
        if self._place.insists and self._contradicted:
            raise self._contradicted[0]
        _log.info("no snapshot helps: going on with blocks", height=self._place.height, best=self._best)
        return None

    # ---- peers and offers

    async def _meet(self) -> bool:
        """Wait for peers to say where they stand; tell whether we are far behind and somebody offers a snapshot."""
        deadline = trio.current_time() + MEETING
        while trio.current_time() < deadline:
            await self._look()
            settled = trio.current_time() > deadline - MEETING + FIRST
            if settled and self._offers and self._is_worth_it:
                return True
            if settled and self._heights and not self._is_worth_it:
                return False
            await trio.sleep(0.2)
        return bool(self._offers) and self._is_worth_it

    @property
    def _best(self) -> Height:
        return max(self._heights.values(), default=Height(0))

    @property
    def _is_worth_it(self) -> bool:
        return self._place.insists or self._best - self._place.height >= FAR

    async def _look(self) -> None:
        """Ask every peer where it stands and what it offers."""
        async with trio.open_nursery() as nursery:
            for peer_id in self._peers():
                nursery.start_soon(self._ask_peer, peer_id)

    def _peers(self) -> list[PeerId]:
        now = trio.current_time()
        return [peer.peer_id for peer in self._network.peers() if self._shunned.get(peer.peer_id, 0.0) <= now]

    async def _ask_peer(self, peer_id: PeerId) -> None:
        try:
            status = await ask_status(self._network, peer_id)
            self._heights[peer_id] = status.height
            offers = await ask_offers(self._network, peer_id)
        except Refused as refused:
            self._offers.pop(peer_id, None)
            self._heights.pop(peer_id, None)
            self._judge(peer_id, refused)
            return
        wanted = [one for one in offers if one.height > self._place.height]
        self._offers[peer_id] = tuple(wanted)
        if not wanted:
            del self._offers[peer_id]

    def _next_offer(self, tried: set[tuple[Height, int]]) -> SnapshotOffer | None:
        """Return the newest offer; of several for one height the one that most peers make."""
        begun = self._begun()
        counts: dict[SnapshotOffer, int] = {}
        for peer_id in self._peers():
            for one in self._offers.get(peer_id, ()):
                if (one.height, one.limit) not in tried:
                    counts[one] = counts.get(one, 0) + 1
        return max(counts, key=lambda one: ((one.height, one.limit) == begun, one.height, counts[one]), default=None)

    def _begun(self) -> tuple[Height, int] | None:
        """Return which snapshot an earlier attempt began with."""
        if not self._home.new_chain.exists():
            return None
        store = LevelDB.open(self._home.new_chain)
        try:
            manifest = unfinished(store)
        finally:
            store.close()
        return None if manifest is None else (manifest.height, manifest.limit)

    def _holders(self, offer: SnapshotOffer) -> list[PeerId]:
        return [
            peer_id for peer_id in self._peers()
            if any((one.height, one.limit) == (offer.height, offer.limit) for one in self._offers.get(peer_id, ()))
        ]

    def _judge(self, peer_id: PeerId, refused: Refused) -> None:
        """Let go of a peer that sent what no honest node sends; ask one that only failed no more for now."""
        self._shunned[peer_id] = math.inf if refused.reason.permanent else trio.current_time() + SHUNNED
        _log.warning("a peer is of no help", peer=peer_id, reason=refused.reason.value, detail=refused.detail)
        if refused.reason.permanent:
            self._network.disconnect(peer_id, refused.reason, refused.detail)

    # ---- headers

    async def _prove(self, offer: SnapshotOffer) -> Found | None:
        """Verify the headers of an offer by one of those who make it."""
        for peer_id in self._holders(offer):
            others = [
                other for other in self._peers() if other != peer_id and self._heights.get(other, 0) > offer.height
            ][:WITNESSES]
            around = Surroundings(
                PeerSource(self._network, peer_id), [PeerSource(self._network, other) for other in others],
                self._clock, self._verifier, lambda told: _log.debug("light client", told=told),
            )
            try:
                client = await self._client(around)
                following = await client.light_block(Height(offer.height + 1))
                block = await fetch_light_block(around.primary, offer.height)
                check_pair(block, following, offer.height, client.params.chain_id, self._verifier)
            except Refused as refused:
                if refused.reason is Reason.FORKED:
                    raise
                if refused.reason is Reason.BAD_HEADER:
                    self._contradicted.append(refused)
                self._judge(peer_id, refused)
                continue
            _log.info("a snapshot is proven by its headers", height=offer.height, headers=client.steps + 1,
                      block=following.header.block_id)
            return Found(offer, block, following)
        return None

    async def _client(self, around: Surroundings) -> LightClient:
        root, period = self._place.root, self._genesis.security.trust_period
        if self._place.first is not None:
            first, params = self._place.first, TrustParams(genesis_hash(self._genesis), period, CLOCK_DRIFT)
        else:
            first = await fetch_light_block(around.primary, root.height)
            if check_identity(root, first) != genesis_hash(self._genesis):
                raise Refused(Reason.WRONG_CHAIN, "the trusted block is of another chain than this home's genesis")
            params = check_root(root, first, self._genesis, self._clock(), self._verifier)
        known = MemoryBlocks()
        known.add(first)
        return LightClient(params, known, around)

    # ---- chunks

    async def _restore(self, found: Found) -> bool:
        """Fetch manifest and chunks, and let the new chain take the place of the old; False if that fails."""
        if self._begun() != (found.offer.height, found.offer.limit):
            discard(self._home)
        store = LevelDB.open(self._home.new_chain)
        try:
            restoration = await self._begin(store, found)
            if restoration is None or not await self._fetch(restoration, found.offer):
                return False
            following = found.following.header
            restoration.finish(
                encode(self._genesis), encode(found.block.header), encode(found.block.commit), following.receipts_root
            )
        finally:
            store.close()
        await trio.to_thread.run_sync(swap, self._home, self._genesis)
        return True

    async def _begin(self, store: LevelDB, found: Found) -> Restoration | None:
        root, begun = found.following.header.state_root, unfinished(store)
        if begun is not None:
            return Restoration(store, begun, root)
        for peer_id in self._holders(found.offer):
            try:
                manifest = await ask_manifest(self._network, peer_id, found.offer.height)
                if (manifest.height, manifest.limit) != (found.offer.height, found.offer.limit):
                    raise Refused(Reason.BAD_PROOF, "the manifest is of another snapshot than the one that was offered")
                return Restoration(store, manifest, root)
            except Refused as refused:
                if refused.reason is Reason.CORRUPT_DATABASE:
                    raise
                self._judge(peer_id, refused)
        return None

    async def _fetch(self, restoration: Restoration, offer: SnapshotOffer) -> bool:
        """Fetch what is missing from all who have it; False if nothing more comes."""
        plan = ChunkPlan(restoration.missing, PER_PEER)
        began, total, have = trio.current_time(), len(restoration.chunks), len(restoration.chunks) - plan.left
        last_news = last_told = trio.current_time()
        news = trio.Event()

        async def ask(peer_id: PeerId, index: int) -> None:
            try:
                restoration.add(index, await ask_chunk(self._network, peer_id, offer.height, index))
                plan.arrived(peer_id, index)
            except Refused as refused:
                if refused.reason is Reason.CORRUPT_DATABASE:
                    raise
                plan.failed(peer_id, index)
                self._judge(peer_id, refused)
            news.set()

        _log.info("fetching a snapshot", height=offer.height, chunks=total, here=have, bytes=offer.size)
        async with trio.open_nursery() as nursery:
            left = plan.left
            while plan.left:
                plan.holders = self._holders(offer)
                for peer_id, index in plan.next_requests():
                    nursery.start_soon(ask, peer_id, index)
                with trio.move_on_after(LOOK_EVERY):
                    await news.wait()
                news = trio.Event()
                now = trio.current_time()
                if plan.left < left:
                    left, last_news = plan.left, now
                elif now - last_news > PATIENCE:
                    nursery.cancel_scope.cancel()
                if now - last_told >= LOOK_EVERY:
                    last_told = now
                    _tell(offer, total, plan.left, have, now - began)
                    nursery.start_soon(self._look)
        if plan.left:
            _log.warning("the snapshot does not come: nobody sends the rest", height=offer.height, missing=plan.left)
        return not plan.left


def _tell(offer: SnapshotOffer, total: int, left: int, at_first: int, seconds: float) -> None:
    fetched = total - left - at_first
    rest = round(seconds * left / fetched) if fetched else -1
    _log.info("fetching a snapshot", height=offer.height, done=total - left, chunks=total, seconds_left=rest)


async def join_first(
    home: Home, config: NodeConfig, genesis: Genesis, node_key: SecretKey, own_key: bytes | None,
    named: HeaderRoot | None,
) -> None:
    """Join by a snapshot if that is worth it; the home's chain is then ready to be opened, one way or the other.

    Args:
        home: exists; its node does not run.
        config: of the node.
        genesis: of its chain.
        node_key: of the node.
        own_key: our public consensus key, or None.
        named: the block that the operator trusts.

    Raises:
        Refused: as `Joiner.join`, `open_network` and `standing`.
    """
    place = standing(home, genesis, own_key, named, wall_clock())
    if place is None:
        return
    chain_id = genesis_hash(genesis)
    peering = open_peering(home, config, peer_id_of(node_key.public_key), chain_id)
    opened = open_network(peering.config, node_key, chain_id, peering.company)
    async with opened as network, trio.open_nursery() as nursery:
        nursery.start_soon(peering.run, network, node_key, chain_id)
        for events in (network.consensus_events, network.bulk_events):
            nursery.start_soon(_pass_over, events)
        joiner = Joiner(home, genesis, place, network, SchemeVerifier(), wall_clock)
        height = await joiner.join()
        if height is not None:
            _log.info("restored from a snapshot", height=height)
        nursery.cancel_scope.cancel()


async def _pass_over(events: trio.MemoryReceiveChannel[NetworkEvent]) -> None:
    """Take what peers send, and answer that we have nothing yet."""
    async for event in events:
        if isinstance(event, RequestReceived):
            await event.reply.refuse(Reason.NOT_AVAILABLE, "this node is joining and has nothing yet")
