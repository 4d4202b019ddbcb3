"""Puts a core together out of a chain, a log and a key: the same for a process and for the simulator."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from consensus.effects import Verifier
from consensus.engine import Engine
from consensus.types import ConsensusParams
from crypto.schemes import address_of
from node.admission import Admission
from node.agreement import Agreement, Memory
from node.chain import Chain
from node.config import NodeConfig
from node.consensus_log import LogFile
from node.core import Core
from node.document import Document
from node.evidence_pool import EvidencePool
from node.last_sign import open_guard
from node.mempool import Limits, Mempool
from node.signatures import Holds, SignatureCache
from node.snapshots import EmptyShelf, Shelf
from node.sync import CatchUp
from node.vote_archive import VoteArchive
from p2p.address import parse_peer_address
from p2p.network import PeerId
from state.transaction import Decoded, sign_digest
from state.types import Address

RELAY_DELAY: Final = 25
"""ms that submitted transactions wait for company before they go to the peers."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What an operator may set of the core.

    Attributes:
        limits: of the mempool.
        relay_delay: ms that submitted transactions wait for company.
        forward: pass on what any peer sends.
        settled: pass on what comes from anybody but these, who tell each other themselves; None for nobody's.
    """

    limits: Limits
    relay_delay: int
    forward: bool = False
    settled: frozenset[PeerId] | None = None

    def passes_on(self, sender: PeerId) -> bool:
        """Return whether what a peer sends goes on to the others."""
        return self.forward or (self.settled is not None and sender not in self.settled)


def core_settings(config: NodeConfig) -> CoreSettings:
    """Return the part of a node's settings that the core reads."""
    limits = Limits(config.mempool_transactions, config.mempool_bytes, max(1, config.mempool_transactions // 10))
    settled = frozenset(parse_peer_address(text).peer_id for text in config.persistent_peers)
    speaks = config.role in ("validator", "guarded")
    return CoreSettings(limits, RELAY_DELAY, config.role in ("full", "sentry"), settled if speaks else None)


@dataclass(frozen=True, slots=True)
class Files:
    """What a node keeps beside the chain.

    Attributes:
        log: of the height in progress.
        last_sign: what our consensus key signed last; not read without one.
        evidence: proofs of double signing that are not on chain yet.
        archive: votes of past heights; the two take turns.
        shelf: snapshots that peers may have.
    """

    log: LogFile
    last_sign: Document
    evidence: Document
    archive: tuple[LogFile, LogFile]
    shelf: Shelf = field(default_factory=EmptyShelf)


def compose(chain: Chain, files: Files, verifier: Verifier, own_key: bytes | None, settings: CoreSettings) -> Core:
    """Return a core that has not started.

    Args:
        chain: opened.
        files: of this node alone.
        verifier: checks every signature: of votes, commits, evidence and transactions.
        own_key: our public consensus key, or None for a node that only follows.
        settings: of the core.

    Raises:
        Refused: BAD_SIGN_STATE, SIGN_STATE_EXPORTED.
    """
    own_address = None if own_key is None else Address(address_of(own_key))
    chain_id, is_new = chain.tip.chain_id, chain.height == 0
    guard = None if own_address is None else open_guard(files.last_sign, own_address, chain_id, is_new)
    params = ConsensusParams(*msgspec.structs.astuple(chain.genesis.timing))
    engine = Engine(chain_id, params, verifier, own_address)
    mempool = Mempool(settings.limits)
    signatures = SignatureCache(_holds(verifier))
    catch_up = CatchUp()
    memory = Memory(files.log, guard, EvidencePool(files.evidence, chain, verifier), VoteArchive(files.archive))
    agreement = Agreement(chain, engine, memory, mempool, signatures, verifier, catch_up)
    admission = Admission(mempool, signatures, lambda: chain.view)
    return Core(
        agreement, admission, mempool, catch_up, verifier, settings.relay_delay, settings.passes_on, files.shelf
    )


def _holds(verifier: Verifier) -> Holds:
    def holds(decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
        message = sign_digest(decoded.transaction.body)
        return all(
            verifier.verify(key, message, witness.signature)
            for key, witness in zip(keys, decoded.transaction.witnesses, strict=True)
        )

    return holds
