"""The committed chain as consensus and admission see it: the store, the tip, and execution on top of both."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from apps.chain.accusations import check_accusation
from apps.chain.records import add_recent_block, params, validators_at
from apps.chain.tip import genesis_tip, tip_after
from apps.chain.upgrade import scheduled
from apps.execution import Selection, execute_block, select_transactions
from apps.genesis import init_genesis
from apps.module import draft_after, draft_of
from apps.prooftask import ProofCheck, proofs_hold
from apps.slashing.rules import check_accused
from apps.validity import SignatureCheck, View, view_after
from consensus.block import make_header
from consensus.effects import Verifier
from consensus.evidence import height_of, verify_evidence
from consensus.light import LightBlock
from consensus.types import Block, Commit, Evidence, Header, Tip, commit_codec, header_codec
from crypto.errors import Reason, Refused
from p2p.wire import SyncedBlock
from state.blockrows import BlockBytes
from state.chainstore import ChainOptions, ChainStore
from state.changes import Overlay
from state.encoding import MAX_FRAME, Codec, encode
from state.genesis import Genesis, genesis_hash
from state.receipt import BlockResult
from state.store import Store
from state.transaction import Decoded
from state.types import Address, Height
from state.version import SUPPORTED_VERSIONS

WTXID_BYTES: Final = 34
"""Of one wtxid in a proposal: 32 bytes behind their type and length."""
PROPOSAL_REST: Final = 8192
"""Bytes of a proposal besides wtxids, commit and evidence: a header, a signature, lengths."""
evidence_codec: Codec[tuple[Evidence, ...]] = Codec(tuple[Evidence, ...])
NO_EVIDENCE: Final = encode(())


@dataclass(frozen=True, slots=True)
class Executed:
    """A block with its decoded transactions and what executing it on the tip gave."""

    block: Block
    transactions: tuple[Decoded, ...]
    result: BlockResult


class Chain:
    """The committed chain. Made by `open_chain`.

    Attributes:
        store: what is on disk.
        genesis: the chain's first document.
        tip: what consensus needs to know of it.
        view: what admission needs to know of it: the state as the next block will see it.
        versions: protocol versions that this program knows.
    """

    def __init__(self, store: ChainStore, genesis: Genesis, tip: Tip, versions: tuple[int, ...]) -> None:
        self.store = store
        self.genesis = genesis
        self.tip = tip
        self.versions = versions
        self.view = _view(store, tip)
        self._listeners: list[Callable[[Height], None]] = []

    def listen(self, listener: Callable[[Height], None]) -> None:
        """Call something with the height of every block from now on, the moment it is on disk: nothing follows yet."""
        self._listeners.append(listener)

    @property
    def height(self) -> Height:
        """The last committed height."""
        return self.tip.height

    def check_version(self) -> None:
        """Check that this program knows the rules of the next block. Raises Refused(UPGRADE_NEEDED)."""
        if self.tip.version in self.versions:
            return
        plan = scheduled(self.store)
        release = "a release that knows it" if plan is None else f"the release {plan.name!r}"
        raise Refused(
            Reason.UPGRADE_NEEDED, f"from height {self.height + 1} on the chain follows protocol version "
            f"{self.tip.version}, and this program knows {', '.join(map(str, self.versions))}: it stops after block "
            f"{self.height}; install {release} and start again with the same home",
        )

    # ---- executing

    def execute(
        self, block: Block, transactions: tuple[Decoded, ...], is_verified: SignatureCheck, verifier: Verifier,
        find_faults: ProofCheck = proofs_hold,
    ) -> Executed:
        """Execute the block after the tip, whose header and last commit were checked. Changes nothing.

        Raises:
            Refused: any reason of validity, with the place of the first invalid transaction; BAD_EVIDENCE.
        """
        for evidence in block.evidence:
            self.check_evidence(evidence, verifier)
        result = execute_block(self.store, draft_of(block), transactions, is_verified, find_faults)
        return Executed(block, transactions, result)

    def check_evidence(self, evidence: Evidence, verifier: Verifier) -> None:
        """Check the signatures in evidence against the validators of its own height.

        Raises:
            Refused: BAD_EVIDENCE, BAD_SIGNATURE, UNKNOWN_VALIDATOR; NOT_AVAILABLE if it is older than the window.
        """
        verify_evidence(self.tip.chain_id, validators_at(self.store, height_of(evidence)), evidence, verifier)

    def key_of_accused(self, evidence: Evidence) -> bytes:
        """Return the consensus key that signed what it proves. Raises Refused(UNKNOWN_VALIDATOR, NOT_AVAILABLE)."""
        for validator in validators_at(self.store, height_of(evidence)).validators:
            if validator.address == evidence.validator:
                return validator.public_key
        raise Refused(Reason.UNKNOWN_VALIDATOR, "the accused is not in the validator set of that height")

    def check_accusation(self, evidence: Evidence, height: Height) -> Address:
        """Check that a block of this height, the next one or a later one, may hold the evidence, by the present state.

        The tip counts as a recent block: it is one as soon as the next block begins.

        Returns:
            The operator that it accuses: a block accuses each of them once.

        Raises:
            Refused: BAD_EVIDENCE; UNKNOWN_VALIDATOR against a key that is no operator's.
        """
        state = Overlay(self.store)
        add_recent_block(state, self.tip.height, self.tip.block_id, self.view.params.anchor_window)
        check_accusation(state, evidence, height)
        return check_accused(state, evidence)

    def build(
        self, time: int, proposer: Address, last_commit: Commit, evidence: tuple[Evidence, ...],
        candidates: Iterable[Decoded], is_verified: SignatureCheck, find_faults: ProofCheck = proofs_hold,
    ) -> tuple[Executed, Selection]:
        """Make the block after the tip out of candidates, already executed.

        Args:
            time: this node's clock in ms; raised above the tip's if need be.
            proposer: our consensus address.
            last_commit: the commit for the tip.
            evidence: whom to accuse.
            candidates: in order of preference.
            is_verified: as for `execute`.
            find_faults: verifies zero-knowledge proofs, or knows that they hold.

        Raises:
            Refused: BAD_EVIDENCE.
        """
        time = max(time, self.tip.time + 1)
        draft = replace(draft_after(self.tip, time, proposer, evidence), last_commit=last_commit)
        limits = self.view.params
        selection = select_transactions(
            self.store, draft, candidates, is_verified, max_bytes=limits.max_block_bytes,
            max_gas=limits.max_block_gas, max_count=wtxid_room(last_commit, evidence), find_faults=find_faults,
        )
        wtxids = [decoded.wtxid for decoded in selection.transactions]
        header = make_header(
            self.tip, time=time, proposer=proposer, wtxids=wtxids, last_commit=last_commit, evidence=evidence
        )
        transactions = tuple(decoded.raw for decoded in selection.transactions)
        block = Block(header, transactions, last_commit, evidence)
        return Executed(block, selection.transactions, selection.result), selection

    # ---- committing

    def commit(self, executed: Executed, commit: Commit) -> Tip:
        """Write the block in one synced batch and move the tip.

        Args:
            executed: the block after the tip, executed on it.
            commit: the verified commit for it.
        """
        block, result = executed.block, executed.result
        state_root = self.store.commit_block(_to_bytes(block, commit), result)
        self.tip = tip_after(
            self.store, block.header, commit, state_root=state_root, receipts_root=result.receipts_root,
            needs_proof_block=bool(block.transactions or block.evidence),
        )
        self.view = _view(self.store, self.tip)
        for listener in self._listeners:
            listener(self.height)
        return self.tip

    # ---- reading

    def header(self, height: Height) -> Header:
        """Return a committed header. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return header_codec.decode(self.store.header(height))

    def commit_for(self, height: Height) -> Commit:
        """Return the commit for a committed block. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return commit_codec.decode(self.store.commit(height))

    def light_block(self, height: Height) -> LightBlock:
        """Return what a light client needs of a block. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return LightBlock(self.header(height), self.commit_for(height), validators_at(self.store, height))

    def block(self, height: Height) -> SyncedBlock:
        """Return a committed block and the commit for it. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return _from_bytes(self.store.block(height))


def open_chain(
    store: Store, genesis: Genesis, options: ChainOptions | None = None, versions: tuple[int, ...] = SUPPORTED_VERSIONS
) -> Chain:
    """Open the chain in a store, or begin it.

    Args:
        store: stays open when the chain is dropped.
        genesis: checked.
        options: what the store keeps.
        versions: protocol versions to go on with; others than the program's own are for tests of upgrades.

    Raises:
        Refused: GENESIS_MISMATCH, WRONG_VERSION, CORRUPT_DATABASE, BAD_GENESIS.
    """
    chain_store = ChainStore.open(store, genesis, init_genesis, options)
    chain_id = genesis_hash(genesis)
    if not chain_store.height:
        tip = genesis_tip(chain_store, chain_id, genesis.time, chain_store.state_root)
        return Chain(chain_store, genesis, tip, versions)
    row, height = chain_store.block_row(chain_store.height), chain_store.height
    try:
        header, commit = header_codec.decode(row.header), commit_codec.decode(row.commit)
    except Refused as refused:
        raise Refused(Reason.CORRUPT_DATABASE, f"block {height}: {refused.detail}") from None
    tip = tip_after(
        chain_store, header, commit, state_root=chain_store.state_root, receipts_root=chain_store.receipts_root,
        needs_proof_block=bool(row.transactions or row.evidence not in (b"", NO_EVIDENCE)),
    )
    if tip.chain_id != chain_id:
        raise Refused(Reason.CORRUPT_DATABASE, "the last block is of another chain")
    return Chain(chain_store, genesis, tip, versions)


def wtxid_room(last_commit: Commit, evidence: tuple[Evidence, ...]) -> int:
    """Return how many transactions a proposal can name besides these: all of it has to fit into one frame."""
    return max(0, MAX_FRAME - PROPOSAL_REST - len(encode(last_commit)) - len(encode(evidence))) // WTXID_BYTES


def _view(store: ChainStore, tip: Tip) -> View:
    return view_after(store, params(store), tip.chain_id, tip.height, tip.block_id)


def _to_bytes(block: Block, commit: Commit) -> BlockBytes:
    return BlockBytes(
        block.header.height, encode(block.header), encode(block.last_commit), encode(block.evidence), encode(commit),
        block.transactions,
    )


def _from_bytes(stored: BlockBytes) -> SyncedBlock:
    try:
        header = header_codec.decode(stored.header)
        last_commit = commit_codec.decode(stored.last_commit)
        evidence = evidence_codec.decode(stored.evidence)
        commit = commit_codec.decode(stored.commit)
    except Refused as refused:
        raise Refused(Reason.CORRUPT_DATABASE, f"block {stored.height}: {refused.detail}") from None
    return SyncedBlock(Block(header, stored.transactions, last_commit, evidence), commit)
