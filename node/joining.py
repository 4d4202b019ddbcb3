"""Joining by a snapshot, as far as a chain that is ready to take the place of the old one. `node.rejoining` runs it.

Headers first: a light client over the peers' own protocol goes from what is trusted to the block after a snapshot, with
the other peers as its witnesses. Then the manifest, against the state root in that header; then the chunks, from every
peer that offers the same snapshot, each checked alone and written into a store beside the chain. Only when the last one
is there may that store take the place of the chain. Whatever fails, the node goes on with blocks from where it is;
whatever was fetched is used by the next attempt.
"""

import math
from dataclasses import dataclass
from typing import Final

import trio

from consensus.effects import Verifier
from consensus.light import LightBlock, TrustParams
from crypto.errors import Reason, Refused
from node.fetching import ChunkPlan
from node.home import Home
from node.light.client import Clock, LightClient, Surroundings
from node.light.roots import CLOCK_DRIFT, check_identity, check_root
from node.light.source import fetch_light_block
from node.light.store import MemoryBlocks
from node.logs import logger
from node.peersource import PeerSource, ask_chunk, ask_manifest, ask_offers, ask_status
from node.progress import Progress, Stage, Tell
from node.remedies import Explained
from node.restore import discard
from node.snapshots import check_pair
from node.standing import Standing
from p2p.network import Network, PeerId
from p2p.wire import SnapshotOffer
from state.encoding import encode
from state.genesis import Genesis, genesis_hash
from state.leveldb import LevelDB
from state.restoring import Restoration, unfinished
from state.types import Height

ALONE: Final = 20.0
"""Seconds that the first peer has to come and to say where it stands."""
MEETING: Final = 4.0
"""Seconds from then on for one that offers a snapshot; `ALONE`, if the operator named a block to join from."""
FIRST: Final = 1.0
"""Seconds from then on in any case, for witnesses to come, too."""
SHUNNED: Final = 5.0
"""Seconds for which a peer is not asked after it failed."""
PATIENCE: Final = 20.0
"""Seconds without a new chunk after which the attempt is given up."""
FORSAKEN: Final = 7.0
"""Seconds without anybody who has the chunks: more than `SHUNNED`, after which who only failed is asked again."""
LOOK_EVERY: Final = 2.0
"""Seconds between two looks at who offers what, and two lines about progress."""
WITNESSES: Final = 3
PER_PEER: Final = 2
"""Chunks that one peer is asked for at a time."""

_log = logger("p2p")


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot whose place in the chain is proven: light blocks of its height and of the next."""

    offer: SnapshotOffer
    block: LightBlock
    following: LightBlock


class UnfitRoot(Refused):
    """The trusted block is the one that was named, and vouches for nothing: no peer is to blame."""


class Joiner:
    """One attempt to join by a snapshot.

    Args:
        home: only its `chain.new` is touched.
        genesis: of the chain.
        place: where its chain stands, and what is trusted.
        network: open.
        verifier: checks commits.
        clock: gives ms since 1970.
        tell: is told how far it is.
    """

    def __init__(
        self, home: Home, genesis: Genesis, place: Standing, network: Network, verifier: Verifier, clock: Clock,
        tell: Tell,
    ) -> None:
        self._home = home
        self._genesis = genesis
        self._place = place
        self._network = network
        self._verifier = verifier
        self._clock = clock
        self._tell = tell
        self._offers: dict[PeerId, tuple[SnapshotOffer, ...]] = {}
        self._heights: dict[PeerId, Height] = {}
        self._shunned: dict[PeerId, float] = {}
        self._contradicted: list[Refused] = []

    async def join(self) -> Height | None:
        """Make a chain of the newest snapshot that holds, in `chain.new`; return its height, or None for no such chain.

        Raises:
            Refused: FORKED. If the operator named the root of trust: BAD_HEADER if it is contradicted by all who know
                its height; TRUST_EXPIRED, WRONG_CHAIN or BAD_TIME if it is no root for this chain at this time.
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
            first = self._contradicted[0]
            raise Explained(first.reason, f"{first.detail}; nothing was changed: start again with the right ones")
        _log.info("no snapshot helps: going on with blocks", height=self._place.height, best=self._best)
        return None

    # ---- peers and offers

    async def _meet(self) -> bool:
        """Wait for peers to say where they stand; tell whether we are far behind and somebody offers a snapshot."""
        began = trio.current_time()
        met = math.inf
        # the first to come may be a seed, or others who joined late: who has snapshots is found through them
        meeting = ALONE if self._place.insists else MEETING
        while (now := trio.current_time()) < min(began + ALONE, met + meeting):
            self._show(Stage.PEERS)
            await self._look()
            if self._heights:
                met = min(met, trio.current_time())
            settled = now > met + FIRST
            if settled and (self._offers or not self._is_worth_it):
                break
            await trio.sleep(0.2)
        if not self._heights:
            _log.warning("nobody says where the network stands", peers=len(self._network.peers()))
        elif self._is_worth_it and not self._offers:
            _log.info("nobody offers a snapshot: going on with blocks", peers=len(self._heights), best=self._best)
        return bool(self._offers) and self._is_worth_it

    def _show(self, stage: Stage, offer: SnapshotOffer | None = None) -> None:
        height = Height(0) if offer is None else offer.height
        self._tell(Progress(stage, len(self._network.peers()), self._best, height))

    @property
    def _best(self) -> Height:
        return max(self._heights.values(), default=Height(0))

    @property
    def _is_worth_it(self) -> bool:
        return self._best - self._place.height >= self._place.far

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
        try:
            store = LevelDB.open(self._home.new_chain)
            try:
                manifest = unfinished(store)
            finally:
                store.close()
        except Refused as refused:
            if refused.reason is not Reason.CORRUPT_DATABASE:
                raise
            _log.warning("what was fetched before is damaged and thrown away", detail=refused.detail)
            discard(self._home)
            return None
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
        self._show(Stage.HEADERS, offer)
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
            except UnfitRoot:
                if self._place.insists:
                    raise
                return None
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
            params = self._check_root(first)
        known = MemoryBlocks()
        known.add(first)
        return LightClient(params, known, around)

    def _check_root(self, first: LightBlock) -> TrustParams:
        """Check what a peer gave for the root of trust. Raises UnfitRoot where the root is at fault, else Refused."""
        root = self._place.root
        if check_identity(root, first) != genesis_hash(self._genesis):
            raise UnfitRoot(
                Reason.WRONG_CHAIN, "the trusted block is of another chain than this home's genesis: ask for a height "
                "and hash of this network, or make a home from the other network's genesis file",
            )
        try:
            return check_root(root, first, self._genesis, self._clock(), self._verifier)
        except Refused as refused:
            if refused.reason in (Reason.TRUST_EXPIRED, Reason.BAD_TIME):
                raise UnfitRoot(refused.reason, refused.detail) from None
            raise

    # ---- chunks

    async def _restore(self, found: Found) -> bool:
        """Fetch manifest and chunks, and make a chain of them; False if that fails."""
        if self._begun() != (found.offer.height, found.offer.limit):
            discard(self._home)
        store = LevelDB.open(self._home.new_chain)
        try:
            restoration = await self._begin(store, found)
            if restoration is None or not await self._fetch(restoration, found.offer):
                return False
            self._show(Stage.CHECKING, found.offer)
            following = found.following.header
            restoration.finish(
                encode(self._genesis), encode(found.block.header), encode(found.block.commit), following.receipts_root
            )
        finally:
            store.close()
        return True

    async def _begin(self, store: LevelDB, found: Found) -> Restoration | None:
        root, begun = found.following.header.state_root, unfinished(store)
        if begun is not None:
            return Restoration(store, begun, root)  # of this height and limit: see `_restore`
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
        last_news = last_told = last_held = trio.current_time()
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
                last_held = now if plan.holders else last_held
                if plan.left < left:
                    left, last_news = plan.left, now
                elif now - last_news > PATIENCE or now - last_held > FORSAKEN:
                    nursery.cancel_scope.cancel()
                self._tell(self._chunks(offer, (total, plan.left, have), now - began))
                if now - last_told >= LOOK_EVERY:
                    last_told = now
                    nursery.start_soon(self._look)
        if plan.left:
            _log.warning("the snapshot does not come: nobody sends the rest", height=offer.height, missing=plan.left)
        return not plan.left

    def _chunks(self, offer: SnapshotOffer, chunks: tuple[int, int, int], seconds: float) -> Progress:
        """Return how far it is, given the chunks of the snapshot, those that are missing, and those that were here."""
        total, left, at_first = chunks
        done = total - left
        fetched = done - at_first
        return Progress(
            Stage.CHUNKS, len(self._network.peers()), self._best, offer.height, done, total, offer.size,
            round(seconds * left / fetched) if fetched else None,
        )
