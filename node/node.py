"""A node as a whole: everything opened in order, run in one nursery, closed in reverse order."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from consensus.effects import Signer
from consensus.signing import KeySigner, SchemeVerifier
from crypto.keys import SecretKey
from node.chain import open_chain
from node.compose import compose, core_settings
from node.config import NodeConfig
from node.consensus_log import DiskLog
from node.core import Core
from node.driver import Driver, NoSigner, wall_clock, worker_count
from node.events import EventFeed
from node.home import Home
from node.logs import logger
from node.service import NodeService
from p2p.address import parse_peer_address
from p2p.config import CoreName, Limits, NetworkConfig
from p2p.mesh import Mesh, open_network
from state.chainstore import ChainOptions
from state.genesis import Genesis, genesis_hash
from state.leveldb import LevelDB

_log = logger("block")


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The keys that a running node holds in memory. Without `consensus` it follows the chain and does not vote."""

    node: SecretKey
    consensus: SecretKey | None


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node whose parts are all open and running."""

    service: NodeService
    core: Core
    network: Mesh
    store: LevelDB


def network_config(config: NodeConfig) -> NetworkConfig:
    """Return the part of a node's settings that the network reads."""
    peers = tuple(parse_peer_address(text) for text in (*config.persistent_peers, *config.seeds))
    limits = Limits(inbound=config.max_peers, outbound=config.max_peers)
    return NetworkConfig(
        host=config.listen_host, port=config.listen_port, core=CoreName(config.quic_core), persistent=peers,
        datagram_size=config.datagram_size, limits=limits,
    )


@asynccontextmanager
async def open_node(home: Home, config: NodeConfig, genesis: Genesis, keys: NodeKeys) -> AsyncIterator[RunningNode]:
    """Open a node in a home and run it while the context lasts. It has no API; that is the caller's.

    Args:
        home: exists.
        config: settings.
        genesis: checked.
        keys: of this node.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE, CORRUPT_LOG, GENESIS_MISMATCH, WRONG_VERSION, PORT_IN_USE, BAD_CONFIG,
            at start or, for damage found later, while running.
    """
    with ExitStack() as stack:
        store = LevelDB.open(home.chain)
        stack.callback(store.close)
        chain = open_chain(store, genesis, ChainOptions(archive=config.archive))
        log = stack.enter_context(DiskLog(home.consensus_log))
        signer: Signer = NoSigner() if keys.consensus is None else KeySigner(keys.consensus)
        verifier = SchemeVerifier()
        own_key = None if keys.consensus is None else keys.consensus.public_key
        core = compose(chain, log, verifier, own_key, core_settings(config))
        feed = EventFeed()
        async with open_network(network_config(config), keys.node, genesis_hash(genesis)) as network:
            workers = worker_count(config.signature_workers)
            driver = Driver(core, network, signer, verifier, feed, config.moniker, workers)
            service = NodeService(core, driver, network, feed, config.moniker, wall_clock())
            async with trio.open_nursery() as nursery:
                await nursery.start(driver.run)
                yield RunningNode(service, core, network, store)
                nursery.cancel_scope.cancel()
