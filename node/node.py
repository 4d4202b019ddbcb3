"""A node as a whole: everything opened in order, run in one nursery, closed in reverse order."""

import gc
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from consensus.effects import Signer
from consensus.signing import KeySigner, SchemeVerifier
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.admin import serve_admin
from node.chain import open_chain
from node.compose import Files, compose, core_settings
from node.config import NodeConfig, load_config
from node.consensus_log import DiskLog
from node.core import Core
from node.driver import Driver, NoSigner, wall_clock, worker_count
from node.events import EventFeed
from node.evidence_pool import evidence_document
from node.front import Front, Identity
from node.gossip import open_gossiping
from node.home import Home, open_home
from node.interop.child import Beside, nothing
from node.keystore import CONSENSUS_KEY, NODE_KEY, load_node_key
from node.last_sign import sign_document
from node.logic import Wrap, unwrapped
from node.logs import configure_logging, logger
from node.peering import open_peering
from node.progress import Board
from node.proving.prover import Prover
from node.rejoining import Joining, Party, change_over, join_first, prepare, watch
from node.remedies import advised
from node.restore import settle
from node.service import NodeService
from node.showing import TERMINAL, show_way
from node.sign_export import check_present
from node.snapshots import DiskShelf
from node.snapshotting import SnapshotMaker, schedule_of
from p2p.address import peer_id_of
from p2p.mesh import Mesh, open_network
from state.chainstore import ChainOptions
from state.genesis import Genesis, genesis_hash
from state.genesis_json import genesis_from_json
from state.leveldb import LevelDB
from state.types import Height
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
    """A node whose parts are all open and running.

    Attributes:
        service: what the API may do.
        core: its logic.
        network: its peers.
        store: its database.
        overtaken: heights of chains that wait in `chain.new`: each is ahead of this node, which has to stop for it.
    """

    service: NodeService
    core: Core
    network: Mesh
    store: LevelDB
    overtaken: trio.MemoryReceiveChannel[Height]


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
        joining: how to join anew when it has fallen far behind; None for by blocks alone.

    Raises:
        Refused: HOME_IN_USE, CORRUPT_DATABASE, CORRUPT_LOG, BAD_SIGN_STATE, SIGN_STATE_EXPORTED, GENESIS_MISMATCH,
            WRONG_VERSION, PORT_IN_USE, BAD_CONFIG, UPGRADE_NEEDED, at start or, for damage found later, while running;
            FORKED.
    """
    own_key = None if keys.consensus is None else keys.consensus.public_key
    board = Board()
    send, receive = trio.open_memory_channel[Height](1)
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
        maker = SnapshotMaker(chain, shelf, schedule_of(config.snapshot_every))
        chain.listen(maker.committed)
        chain_id = genesis_hash(genesis)
        peering = open_peering(home, config, peer_id_of(keys.node.public_key), chain_id)
        async with open_gossiping(config, keys.node, genesis, peering, verifier) as gossip, open_network(
            peering.config, keys.node, chain_id, replace(peering.company, lanes=gossip.lanes)
        ) as network:
            workers = worker_count(config.signature_workers)
            reached = gossip.over(network)
            driver = Driver(wrap(core, signer, chain), reached, signer, verifier, feed, config.moniker, workers)
            service = NodeService(core, driver, network, feed, config.moniker, wall_clock(), board)
            stack.callback(service.past.close)
            async with trio.open_nursery() as nursery:
                await nursery.start(driver.run)
                nursery.start_soon(maker.run)
                if keys.consensus is not None:
                    nursery.start_soon(Prover(service, home, keys.consensus).run)
                nursery.start_soon(peering.run, network, keys.node, chain_id)
                nursery.start_soon(gossip.run, network, driver, feed)
                nursery.start_soon(peering.find_lost, network, gossip.find)
                await nursery.start(serve_admin, home.admin, network, peering, gossip)
                if joining is not None:
                    party = Party(home, config, genesis, keys.node, own_key, joining.root)
                    nursery.start_soon(_look_out, party, core, network, board, send)
                yield RunningNode(service, core, network, store, receive)
                nursery.cancel_scope.cancel()


def run_node(
    root: Path, environment: Mapping[str, str], password: str | None = None, *,
    versions: tuple[int, ...] = SUPPORTED_VERSIONS, wrap: Wrap = unwrapped, joining: Joining | None = None,
    beside: Beside = nothing,
) -> None:
    """Run the node of a home until SIGTERM or SIGINT.

    Args:
        root: the home.
        environment: usually `os.environ`; goes before config.toml.
        password: opens the node's own keys, if they are sealed.
        versions: protocol versions to go on with (see `open_chain`).
        wrap: puts something around the core; only tests of networks with liars do.
        joining: how to join first, if the chain is far ahead; None for by blocks alone.
        beside: runs with the node once it is ready, such as a listener in a process of its own.

    Raises:
        Refused: HOME_MISSING, BAD_CONFIG, BAD_GENESIS, GENESIS_MISMATCH, KEY_NOT_FOUND, BAD_KEY_FILE, WRONG_PASSWORD,
            and all of `open_node`.
    """
    try:
        home = open_home(root)
        config = load_config(home.config, environment)
        configure_logging(config.log_level, config.log_format, TERMINAL)
        genesis, keys = load_genesis(home), load_keys(home, password)
        if keys.consensus is not None:
            check_present(home)
        trio.run(serve_node, home, config, genesis, keys, versions, wrap, joining, beside)
    except Refused as refused:
        raise advised(refused) from None
    except BaseExceptionGroup as group:
        error = _first_refusal(group)
        raise (advised(error) if isinstance(error, Refused) else error) from None


async def _look_out(
    party: Party, core: Core, network: Mesh, board: Board, overtaken: trio.MemorySendChannel[Height]
) -> None:
    overtaken.send_nowait(await watch(party, core, network, board))


async def serve_node(
    home: Home, config: NodeConfig, genesis: Genesis, keys: NodeKeys, versions: tuple[int, ...], wrap: Wrap,
    joining: Joining | None, beside: Beside = nothing,
) -> None:
    """Run a node with its API and metrics until the process is told to stop."""
    told = trio.Event()
    identity = Identity(config.moniker, peer_id_of(keys.node.public_key), genesis)
    own_key = None if keys.consensus is None else keys.consensus.public_key
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, told)
        front = Front(config, identity, nursery)
        if config.log_format == "console" and sys.stderr.isatty():
            nursery.start_soon(show_way, front.way)
        if joining is not None:
            party = Party(home, config, genesis, keys.node, own_key, joining.root)
            async with _unless(told):
                await _join(party, front)
        while not told.is_set():
            opened = open_node(home, config, genesis, keys, versions=versions, wrap=wrap, joining=joining)
            async with opened as running, _unless(told):
                height = await _live(running, front, config, beside)
            if not told.is_set():
                await change_over(home, genesis, height)
        nursery.cancel_scope.cancel()


async def _listen(told: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            _log.info("stopping", signal=signal.Signals(number).name)
            told.set()


@asynccontextmanager
async def _unless(told: trio.Event) -> AsyncIterator[None]:
    """Cut what is inside short when the process is told to stop."""

    async def cut_short(scope: trio.CancelScope) -> None:
        await told.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut_short, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()


async def _join(party: Party, front: Front) -> None:
    """Join by a snapshot, if that is worth it, while the API says so."""
    tip, place = await trio.to_thread.run_sync(prepare, party)
    if place is not None:
        await front.show_joining(tip)
        await join_first(party, place, front.board.tell)


async def _live(running: RunningNode, front: Front, config: NodeConfig, beside: Beside) -> Height:
    """Serve what runs until it is overtaken by a snapshot; return the height of that."""
    async with trio.open_nursery() as nursery:
        await front.show(running.service, running.core, running.network, nursery)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        _log.info("ready", moniker=config.moniker, node_id=running.network.peer_id.hex(),
                  chain_id=running.service.chain_id.hex(), height=running.core.chain.height,
                  p2p_port=running.network.port, api_port=front.api_port, metrics_port=front.metrics_port)
        own = "::1" if config.api_host == "::" else config.api_host
        nursery.start_soon(beside, f"http://[{own}]:{front.api_port}")
        height = await running.overtaken.receive()
        nursery.cancel_scope.cancel()
    return height


def load_genesis(home: Home) -> Genesis:
    """Read the genesis document of a home.

    Raises:
        Refused: BAD_GENESIS; GENESIS_MISMATCH if it is another one than the home was made with.
    """
    try:
        raw = home.genesis.read_bytes()
        expected = home.genesis_hash.read_text("ascii").strip()
    except OSError as error:
        raise Refused(Reason.BAD_GENESIS, f"{error.filename} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused(Reason.BAD_GENESIS, f"{home.genesis_hash} holds no chain id") from None
    try:
        genesis = genesis_from_json(raw)
    except Refused as refused:
        raise Refused(refused.reason, f"{home.genesis}: {refused.detail}") from None
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
    node = load_node_key(home.keys / f"{NODE_KEY}.json", password)
    if consensus is not None and consensus.public_key == node.public_key:
        raise Refused(
            Reason.BAD_KEY_FILE, f"{NODE_KEY}.json and {CONSENSUS_KEY}.json hold the same key: the node and the "
            "validator have keys of their own",
        )
    return NodeKeys(node, consensus)


def _first_refusal(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first refusal in a group, which is what the operator can act on; else the group itself."""
    refusals = group.subgroup(Refused)
    if refusals is None:
        return group
    found: BaseException = refusals
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
