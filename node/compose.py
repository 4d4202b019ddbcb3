"""Puts a core together out of a chain, a log and a key: the same for a process and for the simulator."""

from dataclasses import dataclass

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
from node.evidence_pool import EvidencePool, PoolFile
from node.last_sign import SignFile, open_guard
from node.mempool import Limits, Mempool
from node.signatures import Holds, SignatureCache
from node.sync import CatchUp
from node.vote_archive import VoteArchive
from state.transaction import Decoded, sign_digest
from state.types import Address


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What an operator may set of the core. `relay_delay` in ms; `forward` passes on what peers send, too."""

    limits: Limits
    relay_delay: int
    forward: bool = False


def core_settings(config: NodeConfig) -> CoreSettings:
    """Return the part of a node's settings that the core reads."""
    limits = Limits(config.mempool_transactions, config.mempool_bytes, config.mempool_per_sender)
    return CoreSettings(limits, config.relay_delay, config.forward_transactions)


@dataclass(frozen=True, slots=True)
class Files:
    """What a node keeps beside the chain.

    Attributes:
        log: of the height in progress.
        last_sign: what our consensus key signed last; not read without one.
        evidence: proofs of double signing that are not on chain yet.
        archive: votes of past heights; the two take turns.
    """

    log: LogFile
    last_sign: SignFile
    evidence: PoolFile
    archive: tuple[LogFile, LogFile]


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
    admission = Admission(mempool, signatures, lambda: chain.view, settings.forward)
    return Core(agreement, admission, mempool, catch_up, verifier, settings.relay_delay)


def _holds(verifier: Verifier) -> Holds:
    def holds(decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
        message = sign_digest(decoded.transaction.body)
        return all(
            verifier.verify(key, message, witness.signature)
            for key, witness in zip(keys, decoded.transaction.witnesses, strict=True)
        )

    return holds
