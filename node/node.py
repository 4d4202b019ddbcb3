"""A node as a whole: everything opened in order, run in one nursery, closed in reverse order."""

import gc
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from consensus.effects import Signer
from consensus.signing import KeySigner, SchemeVerifier
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.admin import serve_admin
from node.api.server import serve_api
from node.chain import open_chain
from node.compose import Files, compose, core_settings
from node.config import NodeConfig, load_config
from node.consensus_log import DiskLog
from node.core import Core
from node.driver import Driver, NoSigner, wall_clock, worker_count
from node.events import EventFeed
from node.evidence_pool import evidence_document
from node.home import Home, open_home
from node.joining import Joining, join_first
from node.keystore import CONSENSUS_KEY, NODE_KEY, load_node_key
from node.last_sign import sign_document
from node.logic import Wrap, unwrapped
from node.logs import configure_logging, logger
from node.metrics import NodeCollector, serve_metrics
from node.peering import open_peering
from node.proving.prover import Prover
from node.remedies import advised
from node.restore import settle
from node.service import NodeService
from node.sign_export import check_present
from node.snapshots import DiskShelf
from node.snapshotting import SnapshotMaker
from p2p.address import peer_id_of
from p2p.mesh import Mesh, open_network
from state.chainstore import ChainOptions
from state.genesis import Genesis, genesis_hash
from state.genesis_json import genesis_from_json
from state.leveldb import LevelDB
from state.version import SUPPORTED_VERSIONS

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""Rarer collections: nearly all that a block makes is freed by reference counts alone."""

_log = logger("block")
_database_log = logger("database")


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


@asynccontextmanager
async def open_node(
    home: Home, config: NodeConfig, genesis: Genesis, keys: NodeKeys, *,
    versions: tuple[int, ...] = SUPPORTED_VERSIONS, wrap: Wrap = unwrapped, joining: Joining | None = None,
) -> AsyncIterator[RunningNode]:
    """Open a node in a home and run it while the context lasts. It has no API; that is the caller's.

    Args:
        home: exists.
        config: settings.
        genesis: checked.
        keys: of this node.
        versions: protocol versions to go on with (see `open_chain`).
        wrap: puts something around the core; only tests of networks with liars do.
        joining: how to join first, if the chain is far ahead; None for by blocks alone.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE, CORRUPT_LOG, BAD_SIGN_STATE, SIGN_STATE_EXPORTED, GENESIS_MISMATCH,
            WRONG_VERSION, PORT_IN_USE, BAD_CONFIG, UPGRADE_NEEDED, at start or, for damage found later, while running.
    """
    own_key = None if keys.consensus is None else keys.consensus.public_key
    if joining is not None:
        await join_first(home, config, genesis, keys.node, own_key, joining.root)
    with ExitStack() as stack:
        settle(home)
        store = LevelDB.open(home.chain)
        stack.callback(store.close)
        keep = config.keep_blocks
        options = ChainOptions(archive=keep == "archive", keep_blocks=keep if isinstance(keep, int) else 0)
        chain = open_chain(store, genesis, options, versions)
        _database_log.info("opened", folder=str(home.chain), height=chain.height, state_root=chain.tip.state_root)
        log = stack.enter_context(DiskLog(home.consensus_log))
        signer: Signer = NoSigner() if keys.consensus is None else KeySigner(keys.consensus)
        verifier = SchemeVerifier()
        shelf = DiskShelf(home.snapshots)
        archive = tuple(stack.enter_context(DiskLog(path)) for path in home.vote_archive)
        signed, evidence = sign_document(home.sign_state), evidence_document(home.evidence)
        files = Files(log, signed, evidence, (archive[0], archive[1]), shelf)
        core = compose(chain, files, verifier, own_key, core_settings(config))
        feed = EventFeed()
        maker = SnapshotMaker(chain, shelf, config.snapshot_every)
        feed.listen(maker.committed)
        chain_id = genesis_hash(genesis)
        peering = open_peering(home, config, peer_id_of(keys.node.public_key), chain_id)
        async with open_network(peering.config, keys.node, chain_id, peering.company) as network:
            workers = worker_count(config.signature_workers)
            driver = Driver(wrap(core, signer, chain), network, signer, verifier, feed, config.moniker, workers)
            service = NodeService(core, driver, network, feed, config.moniker, wall_clock())
            async with trio.open_nursery() as nursery:
                await nursery.start(driver.run)
                nursery.start_soon(maker.run)
                if keys.consensus is not None:
                    nursery.start_soon(Prover(service, home, keys.consensus).run)
                nursery.start_soon(peering.run, network, keys.node, chain_id)
                await nursery.start(serve_admin, home.admin, network, peering)
                yield RunningNode(service, core, network, store)
                nursery.cancel_scope.cancel()


def run_node(
    root: Path, environment: Mapping[str, str], password: str | None = None, *,
    versions: tuple[int, ...] = SUPPORTED_VERSIONS, wrap: Wrap = unwrapped, joining: Joining | None = None,
) -> None:
    """Run the node of a home until SIGTERM or SIGINT.

    Args:
        root: the home.
        environment: usually `os.environ`; goes before config.toml.
        password: opens the node's own keys, if they are sealed.
        versions: protocol versions to go on with (see `open_chain`).
        wrap: puts something around the core; only tests of networks with liars do.
        joining: how to join first, if the chain is far ahead; None for by blocks alone.

    Raises:
        Refused: HOME_MISSING, BAD_CONFIG, BAD_GENESIS, GENESIS_MISMATCH, KEY_NOT_FOUND, BAD_KEY_FILE, WRONG_PASSWORD,
            and all of `open_node`.
    """
    try:
        home = open_home(root)
        config = load_config(home.config, environment)
        configure_logging(config.log_level, config.log_format)
        genesis, keys = load_genesis(home), load_keys(home, password)
        if keys.consensus is not None:
            check_present(home)
        trio.run(serve_node, home, config, genesis, keys, versions, wrap, joining)
    except Refused as refused:
        raise advised(refused) from None
    except BaseExceptionGroup as group:
        error = _first_refusal(group)
        raise (advised(error) if isinstance(error, Refused) else error) from None


async def serve_node(
    home: Home, config: NodeConfig, genesis: Genesis, keys: NodeKeys, versions: tuple[int, ...], wrap: Wrap,
    joining: Joining | None,
) -> None:
    """Run a node with its API and metrics until the process is told to stop."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        opened = open_node(home, config, genesis, keys, versions=versions, wrap=wrap, joining=joining)
        async with opened as running, trio.open_nursery() as nursery:
            collector = NodeCollector(running.core, running.network, wall_clock)
            api_port = await nursery.start(serve_api, running.service, config.api_host, config.api_port)
            metrics_port = await nursery.start(serve_metrics, collector, config.api_host, config.metrics_port)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            _log.info("ready", moniker=config.moniker, node_id=running.network.peer_id.hex(),
                      chain_id=running.service.chain_id.hex(), height=running.core.chain.height,
                      p2p_port=running.network.port, api_port=api_port, metrics_port=metrics_port)
            async for number in signals:
                _log.info("stopping", signal=signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()


def load_genesis(home: Home) -> Genesis:
    """Read the genesis document of a home.

    Raises:
        Refused: BAD_GENESIS; GENESIS_MISMATCH if it is another one than the home was made with.
    """
    try:
        raw = home.genesis.read_bytes()
        expected = home.genesis_hash.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Reason.BAD_GENESIS, f"the genesis of {home.root} cannot be read: {error}") from None
    genesis = genesis_from_json(raw)
    if genesis_hash(genesis).hex() != expected:
        raise Refused(
            Reason.GENESIS_MISMATCH, f"{home.genesis.name} gives the chain id {genesis_hash(genesis).hex()}, "
            f"but this home was made for {expected}",
        )
    return genesis


def load_keys(home: Home, password: str | None) -> NodeKeys:
    """Read a home's node key and, if there is one, its consensus key.

    Raises:
        Refused: KEY_NOT_FOUND, also for a consensus key that has signed here and is gone; BAD_KEY_FILE, WRONG_PASSWORD.
    """
    voting = home.keys / f"{CONSENSUS_KEY}.json"
    if home.sign_state.exists() and not voting.exists():
        # A validator must not turn into a silent follower because a file got lost.
        raise Refused(
            Reason.KEY_NOT_FOUND, f"{home.sign_state.name} says what the consensus key signed, but {voting.name} is "
            f"missing; a node that is not to vote any more needs {home.sign_state.name} moved away too",
        )
    consensus = load_node_key(voting, password) if voting.exists() else None
    return NodeKeys(load_node_key(home.keys / f"{NODE_KEY}.json", password), consensus)


def _first_refusal(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first refusal in a group, which is what the operator can act on; else the group itself."""
    refusals = group.subgroup(Refused)
    if refusals is None:
        return group
    found: BaseException = refusals
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
