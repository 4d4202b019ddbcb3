"""A node's part in gossip: who takes part, what may be passed on, and what becomes of it. Needs no libp2p itself.

Full nodes, sentries and seeds run libp2p (`node.gossiping`); seeds for the DHT alone. Validators do not: they are few,
connected with each other, and tell each other everything over STOQ already; libp2p would cost each of them 40 MB and
the votes a share of the processor. What enters at other nodes reaches them from the full nodes and sentries that they
are connected with, which pass on over STOQ what gossip brought them. A node without the extra `libp2p` does the same.
"""

import importlib
import importlib.util
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import msgspec
import trio

from apps.exempt import may_be_exempt
from apps.moves import check_alone
from apps.validity import stateless_check
from consensus.effects import Verifier
from consensus.types import Evidence
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from crypto.schemes import address_of
from crypto.work import meets
from node.config import NodeConfig
from node.events import EventFeed
from node.logs import logger
from node.peering import Peering
from p2p.gossip.topics import (
    Topic,
    block_announcement_codec,
    check_announced_evidence,
    check_block,
    check_learning,
    evidence_announcement_codec,
    gossiped_transactions_codec,
    learning_announcement_codec,
)
from p2p.mesh import Mesh
from p2p.network import Lanes, Network, NoLanes, PeerAddress, PeerId
from state.genesis import Genesis, genesis_hash
from state.params import ChainParams
from state.transaction import Decoded, decode_transaction, sign_digest, work_digest
from state.types import ChainId, Height

TOPICS_OF_ROLE: Final[Mapping[str, tuple[Topic, ...]]] = {"full": tuple(Topic), "sentry": tuple(Topic), "seed": ()}
"""Who runs libp2p, and what it takes part in."""
UNBOUNDED: Final = 2**62
_log = logger("p2p")


class Ears(Protocol):
    """Takes what gossip brought, through the same door as what came over STOQ. The implementation is the driver."""

    async def hear_transactions(self, raws: Sequence[bytes]) -> None:
        """Take transactions, waiting for room."""
        ...

    def hear_block(self, height: Height) -> None:
        """Take the word of somebody that it has a block."""
        ...

    def accuse(self, evidence: Evidence) -> None:
        """Take evidence."""
        ...


class GossipPeer(msgspec.Struct, frozen=True):
    """A peer that gossips with us."""

    node_id: str
    score: float


class HeardLearning(msgspec.Struct, frozen=True):
    """An announcement of federated learning that came by."""

    announcer: str
    task: str
    round: int
    stage: str
    content: str
    size: int


class GossipReport(msgspec.Struct, frozen=True):
    """What `nexus gossip show` shows. Counts since the start, by topic or cause."""

    running: bool
    peers: list[GossipPeer]
    sent: dict[str, int]
    delivered: dict[str, int]
    duplicates: dict[str, int]
    invalid: dict[str, int]
    drops: dict[str, int]
    refusals: dict[str, int]
    dht_peers: int
    learning: list[HeardLearning]


NOTHING: Final = GossipReport(False, [], {}, {}, {}, {}, {}, {}, 0, [])


class Gossiping(Protocol):
    """A node's gossip, running or not."""

    lanes: Lanes

    def over(self, mesh: Mesh) -> Network:
        """Return the network as the driver sees it, with gossip as one of its ways."""
        ...

    async def run(self, mesh: Mesh, ears: Ears, feed: EventFeed) -> None:
        """Hand over what comes, announce what is committed here, until cancelled."""
        ...

    def report(self) -> GossipReport:
        """Return what is going on."""
        ...

    async def find(self, peer_id: PeerId) -> tuple[PeerAddress, ...]:
        """Ask the DHT where a node is, and keep its record. Raises Refused(NOT_AVAILABLE)."""
        ...

    async def announce_learning(self, task: bytes, round: int, stage: int, content: bytes, size: int) -> None:
        """Announce something of federated learning. Raises Refused(NOT_AVAILABLE, BAD_ARGUMENT)."""
        ...


class NoGossip:
    """This node does not gossip: its peers tell it over STOQ."""

    lanes: Lanes = NoLanes()

    def over(self, mesh: Mesh) -> Network:
        """See `Gossiping`."""
        return mesh

    async def run(self, mesh: Mesh, ears: Ears, feed: EventFeed) -> None:
        """See `Gossiping`."""
        await trio.sleep_forever()

    def report(self) -> GossipReport:
        """See `Gossiping`."""
        return NOTHING

    async def find(self, peer_id: PeerId) -> tuple[PeerAddress, ...]:
        """See `Gossiping`."""
        raise _silent()

    async def announce_learning(self, task: bytes, round: int, stage: int, content: bytes, size: int) -> None:
        """See `Gossiping`."""
        raise _silent()


Open = Callable[
    [SecretKey, NodeConfig, Peering, "ContentRules", tuple[Topic, ...]], AbstractAsyncContextManager[Gossiping]
]


@asynccontextmanager
async def open_gossiping(
    config: NodeConfig, key: SecretKey, genesis: Genesis, peering: Peering, verifier: Verifier
) -> AsyncIterator[Gossiping]:
    """Run what a node's role asks for while the context lasts; open it before the network.

    libp2p is imported here, by name, and only where it is used: a validator does not pay for it.

    Args:
        config: its role decides.
        key: the node key.
        genesis: of the chain.
        peering: of this node.
        verifier: of evidence.
    """
    topics = TOPICS_OF_ROLE.get(config.role)
    if topics is None:
        yield NoGossip()
        return
    if importlib.util.find_spec("libp2p") is None:
        _log.warning("libp2p is not installed: this node gossips over STOQ alone, hop by hop, and has no DHT",
                     remedy="pip install 'nexus-node[libp2p]'")
        yield NoGossip()
        return
    opened: Open = importlib.import_module("node.gossiping").opened
    rules = ContentRules(genesis_hash(genesis), genesis.chain, verifier)
    async with opened(key, config, peering, rules, topics) as gossiping:
        yield gossiping


class ContentRules:
    """Which messages may be passed on: synchronous functions of the bytes and of what genesis fixed, nothing else.

    libp2p keeps a verdict by message id, and whoever forwards what is wrong loses score. So nothing here may depend
    on the height, the state, the time or the forwarder.

    Args:
        chain_id: ours.
        params: of genesis; of them only the least difficulty counts.
        verifier: of evidence.

    Attributes:
        refusals: how often each reason was given.
    """

    def __init__(self, chain_id: ChainId, params: ChainParams, verifier: Verifier) -> None:
        self.chain_id = chain_id
        self.refusals: Counter[Reason] = Counter()
        self._least_work = params.difficulty
        self._params = msgspec.structs.replace(params, max_block_gas=UNBOUNDED)  # upgrades may move that bound
        self._verifier = verifier

    def validators(self, topics: Sequence[Topic]) -> dict[str, Callable[[bytes], bool]]:
        """Return the rule of each topic."""
        rules: dict[Topic, Callable[[bytes], None]] = {
            Topic.TRANSACTIONS: self.check_transactions,
            Topic.BLOCKS: lambda raw: check_block(block_announcement_codec.decode(raw), self.chain_id),
            Topic.EVIDENCE: lambda raw: check_announced_evidence(
                evidence_announcement_codec.decode(raw), self.chain_id, self._verifier
            ),
            Topic.LEARNING: lambda raw: check_learning(learning_announcement_codec.decode(raw), self.chain_id),
        }
        return {str(topic): self._counting(rules[topic]) for topic in topics}

    def check_transactions(self, raw: bytes) -> None:
        """Check a batch: each transaction decodes, is of this chain and well formed, shows the least work, and every
        witness that reveals its key holds under it, and so does as much of its proofs as needs no state.

        Raises:
            Refused: MALFORMED, NOT_CANONICAL, TOO_LARGE; as `stateless_check`; BAD_KEY, BAD_SIGNATURE,
                INSUFFICIENT_WORK; as `check_alone`.
        """
        batch = gossiped_transactions_codec.decode(raw)
        if not batch.transactions:
            raise Refused(Reason.MALFORMED, "a batch of nothing")
        for one in batch.transactions:
            self._check_transaction(decode_transaction(one))

    def _check_transaction(self, decoded: Decoded) -> None:
        body = decoded.transaction.body
        stateless_check(decoded, self.chain_id, self._params, decoded.body.version)
        if self._least_work and not may_be_exempt(decoded) and not meets(work_digest(body), self._least_work):
            raise Refused(Reason.INSUFFICIENT_WORK, f"the hashcash needs {self._least_work} leading zero bits")
        for witness in decoded.transaction.witnesses:
            if not witness.key:
                continue  # its key is on chain: for the mempool
            if address_of(witness.key) != witness.signer:
                raise Refused(Reason.BAD_KEY, "the key in a witness is not that of its signer")
            if not self._verifier.verify(witness.key, sign_digest(body), witness.signature):
                raise Refused(Reason.BAD_SIGNATURE, "a witness's signature does not verify")
        check_alone(decoded)

    def _counting(self, check: Callable[[bytes], None]) -> Callable[[bytes], bool]:
        def holds(raw: bytes) -> bool:
            try:
                check(raw)
            except Refused as refused:
                self.refusals[refused.reason] += 1
                return False
            return True

        return holds


def _silent() -> Refused:
    return Refused(
        Reason.NOT_AVAILABLE, "this node takes no part in gossip: full nodes, sentries and seeds with libp2p do"
    )
