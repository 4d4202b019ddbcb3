"""When a node joins by a snapshot: before its core begins, or while it runs and has fallen too far behind.

Both do the same with the same Joiner, and both end with a chain in `chain.new` that takes the place of `chain` while no
core runs. Keys, sign state and logs are not touched: the last-sign state keeps a validator from signing twice.
"""

from dataclasses import dataclass
from typing import Final

import trio

from consensus.signing import SchemeVerifier
from consensus.types import Tip
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.chain import Chain
from node.config import NodeConfig
from node.core import Core
from node.driver import wall_clock
from node.home import Home
from node.joining import Joiner
from node.light.roots import HeaderRoot
from node.logs import logger
from node.peering import open_peering
from node.progress import Board, Tell
from node.remedies import Explained
from node.restore import adopt_finished, swap
from node.standing import FAR, FRESH, Standing, look_into, standing_of
from p2p.address import peer_id_of
from p2p.mesh import open_network
from p2p.network import Network, NetworkEvent, RequestReceived
from state.genesis import Genesis, genesis_hash
from state.types import Height

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at whether a running node has fallen behind."""
SLOW: Final = 60
"""Seconds that blocks alone may still take before a snapshot is tried."""
AGAIN: Final = 120.0
"""Seconds from an attempt that failed to the next."""

_log = logger("p2p")


@dataclass(frozen=True, slots=True)
class Joining:
    """That a node may join by a snapshot, if that is worth it.

    Attributes:
        root: the block that the operator trusts; None for what the home itself vouches for.
    """

    root: HeaderRoot | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """Who joins what.

    Attributes:
        home: exists.
        config: of the node.
        genesis: of its chain.
        node_key: of the node.
        own_key: its public consensus key, or None.
        root: the block that the operator trusts, or None.
    """

    home: Home
    config: NodeConfig
    genesis: Genesis
    node_key: SecretKey
    own_key: bytes | None
    root: HeaderRoot | None


async def join_first(party: Party, place: Standing, tell: Tell) -> None:
    """Join by a snapshot if that is worth it; the home's chain is then ready to be opened, one way or the other.

    Args:
        party: its node does not run.
        place: from `look_into`.
        tell: is told how far it is.

    Raises:
        Refused: as `Joiner.join` and `open_network`; CORRUPT_DATABASE if what was restored does not give its root.
    """
    home, genesis, key = party.home, party.genesis, party.node_key
    chain_id = genesis_hash(genesis)
    peering = open_peering(home, party.config, peer_id_of(key.public_key), chain_id)
    opened = open_network(peering.config, key, chain_id, peering.company)
    async with opened as network, trio.open_nursery() as nursery:
        nursery.start_soon(peering.run, network, key, chain_id)
        for events in (network.consensus_events, network.bulk_events):
            nursery.start_soon(_pass_over, events)
        joiner = Joiner(home, genesis, place, network, SchemeVerifier(), wall_clock, tell)
        height = await joiner.join()
        nursery.cancel_scope.cancel()
    if height is not None:
        await change_over(home, genesis, height)


async def change_over(home: Home, genesis: Genesis, height: Height) -> None:
    """Let what a Joiner made take the place of a chain that is closed. Raises Refused(CORRUPT_DATABASE)."""
    await trio.to_thread.run_sync(swap, home, genesis)
    _log.info("restored from a snapshot", height=height)


async def _pass_over(events: trio.MemoryReceiveChannel[NetworkEvent]) -> None:
    """Take what peers send, and answer that we have nothing yet."""
    async for event in events:
        if isinstance(event, RequestReceived):
            await event.reply.refuse(Reason.NOT_AVAILABLE, "this node is joining and has nothing yet")


def prepare(party: Party) -> tuple[Tip, Standing | None]:
    """Look into a home that does not run: where its chain is, and from where it may join; warn if nothing is trusted.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE, GENESIS_MISMATCH.
    """
    height = adopt_finished(party.home, party.genesis)
    if height is not None:
        _log.info("restored from a snapshot", height=height)
    look = look_into(party.home, party.genesis, party.own_key, party.root, wall_clock())
    if look.expired:
        _log.warning(
            "this home's chain and the genesis are older than the trust period, so every block is taken over and "
            "verified from here on, which is safe only if no old validator sold its key: ask somebody you trust for a "
            "recent height and hash, and start with --trust-height and --trust-hash", height=look.tip.height,
        )
    return look.tip, look.place


async def watch(party: Party, core: Core, network: Network, board: Board) -> Height:
    """Wait until a running node has fallen too far behind, and join by a snapshot beside it.

    Args:
        party: whose node runs.
        core: its logic; only read here.
        network: its peers.
        board: is told how far it is.

    Returns:
        The height of a chain that waits in `chain.new`, ahead of the node's: stop it, and let them change places.

    Raises:
        Refused: as `Joiner.join`; BAD_HEADER if the chain does not hold the block that the operator trusts.
    """
    before = Height(-1)
    while True:
        await trio.sleep(LOOK_EVERY)
        if party.root is not None:
            check_named(party.root, core.chain)
        far, before = _distance(core, before), core.chain.height
        if not far:
            continue
        place = _place(core, party.root, far)
        if place is not None:
            _log.warning("far behind the network: joining by a snapshot", height=core.chain.height,
                         best=max(core.catch_up.best, core.catch_up.unserved))
            joiner = Joiner(party.home, party.genesis, place, network, SchemeVerifier(), wall_clock, board.tell)
            try:
                height = await joiner.join()
            finally:
                board.clear()
            if height is not None and height > core.chain.height:
                return height
        else:
            _log.warning("far behind the network, and its blocks are served by nobody: everything here is older than "
                         "the trust period; ask somebody you trust for a recent height and hash, and start with "
                         "--trust-height and --trust-hash", height=core.chain.height)
        await trio.sleep(AGAIN)


def check_named(root: HeaderRoot, chain: Chain) -> None:
    """Hold the block that the operator trusts against a chain that came by blocks.

    Raises:
        Refused: BAD_HEADER if the chain has another block there.
    """
    if root.height > chain.height:
        return
    try:
        found = chain.header(root.height).block_id
    except Refused as refused:
        if refused.reason is not Reason.NOT_AVAILABLE:
            raise
        return  # below the snapshot that the chain began with, which was proven from this very block
    if found != root.block_id:
        raise Explained(
            Reason.BAD_HEADER, f"block {root.height} has the id {found.hex()} on this home's chain, not the trusted "
            "one: either the height and hash that you were given are wrong, then start with the right ones; or the "
            "chain here is, then fetch it anew with nexus reset --keep-keys, from other seeds",
        )


def _distance(core: Core, before: Height) -> int:
    """Return how far ahead a snapshot has to be to help a node that blocks do not help, or 0 if they do."""
    height, plan = core.chain.height, core.catch_up
    if plan.unserved > height == before and plan.served <= height:
        return 1
    is_old = wall_clock() - core.chain.tip.time > FRESH
    if is_old and plan.best - height >= FAR and not 0 < plan.seconds_left < SLOW:
        return FAR
    return 0


def _place(core: Core, root: HeaderRoot | None, far: int) -> Standing | None:
    if root is not None and root.height > core.chain.height:
        return Standing(core.chain.height, root, None, True, far)
    place = standing_of(core.chain, wall_clock())
    return None if place is None else Standing(place.height, place.root, place.first, False, far)
