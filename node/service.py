"""What the API may do: submit transactions, read the chain, follow events. No HTTP in it, and no JSON.

Everything here runs in the task that calls it, on the thread that owns the chain, and reads without waiting: so each
call sees one committed height from beginning to end. An answer that says "committed" is given after the block's batch
is on disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio

from apps.chain.records import is_recorded, load, offence_id, validators_at
from apps.execution import simulate
from apps.module import draft_after
from apps.receipts import ReceiptProof, prove_receipt
from apps.registry import answer_query
from apps.slashing.rules import is_punished
from consensus.effects import Step
from consensus.evidence import height_of
from consensus.light import LightBlock
from consensus.signing import SchemeVerifier
from consensus.types import Commit, Evidence, Header, ValidatorSet
from crypto.errors import Reason, Refused
from node.actions import SubmitResult
from node.chain import Chain
from node.core import Core
from node.events import EventFeed
from node.past import PastProofs
from node.progress import Board, Progress
from p2p.network import Network, PeerInfo
from p2p.wire import SyncedBlock
from state.changes import Reader
from state.columns import Location, Mention
from state.genesis import Genesis
from state.ledger import balance, nonce
from state.proof import StateProof
from state.receipt import Receipt
from state.transaction import OutPoint, Output, decode_transaction
from state.types import Address, Amount, AssetId, ChainId, Height, TxId

_SPENT: Final = (Reason.OUTPUT_NOT_FOUND, Reason.NONCE_TOO_LOW, Reason.MISSING_SIGNATURE, Reason.ACCOUNT_NOT_FOUND,
                 Reason.IMAGE_USED)  # fmt: skip
"""Why a transaction is refused that is in a block already."""


class Submitter(Protocol):
    """Hands transactions to the task that owns the node's core."""

    async def submit(self, raws: Sequence[bytes]) -> tuple[SubmitResult, ...]:
        """Return what became of each, in order."""
        ...

    def accuse(self, evidence: Evidence) -> None:
        """Hand over evidence that was checked."""
        ...


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How the node is doing. `version` is that of the next block, `validator` our consensus address or None.
    Times in ms since 1970.
    """

    moniker: str
    node_id: bytes
    chain_name: str
    chain_id: ChainId
    version: int
    height: Height
    block_id: bytes
    block_time: int
    state_root: bytes
    step: Step
    catching_up: bool
    best_height: Height
    seconds_left: int
    validator: Address | None
    peers: int
    external_address: str
    """`[ADDR]:PORT` where others are told to dial us; empty while that is not known."""
    mempool_transactions: int
    mempool_bytes: int
    started_at: int
    difficulty: int
    """Hashcash that a transaction needs whose anchor is the block at `height`."""
    joining: Progress | None = None
    """How far it is if it joins by a snapshot."""


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transaction's wire bytes; where it stands and how it ended, if it is in a block, else it waits."""

    raw: bytes
    location: Location | None
    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class ProvenReceipt:
    """A receipt with the proof that leads to `receipts_root` of the header at receipt.height + 1."""

    receipt: Receipt
    proof: ReceiptProof


class NodeService:
    """One running node, as its API sees it.

    Args:
        core: the node's logic; only read here.
        submitter: where submissions go.
        network: the peers.
        feed: events of committed blocks.
        moniker: what people call this node.
        started_at: ms since 1970.
        board: how far the node is if it joins by a snapshot beside its work.

    Attributes:
        feed: `with service.feed.subscribe() as events: async for event in events`.
        chain: for what has no method here.
        past: proofs of older states; to be closed before the database is.
    """

    def __init__(
        self, core: Core, submitter: Submitter, network: Network, feed: EventFeed, moniker: str, started_at: int,
        board: Board,
    ) -> None:
        self.feed = feed
        self.chain: Chain = core.chain
        self.past = PastProofs(core.chain)
        self._core = core
        self._submitter = submitter
        self._network = network
        self._moniker = moniker
        self._started_at = started_at
        self._board = board

    # ---- the node

    @property
    def genesis(self) -> Genesis:
        """The chain's first document."""
        return self.chain.genesis

    @property
    def chain_id(self) -> ChainId:
        """The genesis hash."""
        return self.chain.tip.chain_id

    @property
    def height(self) -> Height:
        """The last committed height."""
        return self.chain.height

    def status(self) -> NodeStatus:
        """Return how the node is doing."""
        tip = self.chain.tip
        return NodeStatus(
            moniker=self._moniker, node_id=self._network.peer_id, chain_name=self.genesis.name, chain_id=tip.chain_id,
            version=tip.version, height=tip.height, block_id=tip.block_id, block_time=tip.time,
            state_root=tip.state_root,
            step=self._core.agreement.engine.step, catching_up=self._core.catching_up,
            best_height=Height(max(self._core.catch_up.best, tip.height)),
            seconds_left=self._core.catch_up.seconds_left, validator=self._core.agreement.own_address,
            peers=len(self._network.peers()), external_address=self._network.external_address,
            mempool_transactions=len(self._core.mempool),
            mempool_bytes=self._core.mempool.bytes, started_at=self._started_at,
            difficulty=load(self.chain.store).difficulty, joining=self._board.progress,
        )

    def simulate(self, raw: bytes) -> Receipt:
        """Return the receipt that a transaction would get alone in the next block, whatever its signatures are.

        Raises:
            Refused: any reason of validity but BAD_SIGNATURE.
        """
        tip = self.chain.tip
        draft = draft_after(tip, tip.time + 1, tip.validators.validators[0].address)
        return simulate(self.chain.store, draft, decode_transaction(raw))

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return the live connections."""
        return self._network.peers()

    def pending(self, limit: int) -> tuple[TxId, ...]:
        """Return ids of transactions that wait for a block, in the order in which a block would take them."""
        return self._core.mempool.first(limit)

    # ---- submitting

    async def submit(self, raw: bytes) -> TxId:
        """Submit one signed transaction.

        Raises:
            Refused: any reason of admission.
        """
        (result,) = await self.submit_many([raw])
        if isinstance(result, Refused):
            raise result
        return result

    async def submit_many(self, raws: Sequence[bytes]) -> tuple[SubmitResult, ...]:
        """Submit signed transactions; each is accepted or refused by itself."""
        results = await self._submitter.submit(raws)
        return tuple(
            self._explained(raw, result) if isinstance(result, Refused) else result
            for raw, result in zip(raws, results, strict=True)
        )

    def _explained(self, raw: bytes, refused: Refused) -> Refused:
        """Say ALREADY_COMMITTED where what is spent or used only shows that the transaction is in a block."""
        if refused.reason in _SPENT:
            location = self.chain.store.location(decode_transaction(raw).txid)
            if location is not None:
                return Refused(Reason.ALREADY_COMMITTED, f"it is in block {location.height}")
        return refused

    async def wait_committed(self, txid: TxId, timeout: float) -> Receipt:
        """Wait until a transaction is in a block that is on disk.

        Args:
            txid: of a transaction that was accepted, or is known otherwise.
            timeout: seconds.

        Raises:
            Refused: TIMED_OUT.
        """
        with trio.move_on_after(timeout):
            while True:
                receipt = self.chain.store.receipt(txid)
                if receipt is not None:
                    return receipt
                await self.feed.committed(txid)
        prospect = "it may still come into one" if self.waits(txid) else "it does not wait here any more"
        raise Refused(Reason.TIMED_OUT, f"not in a block after {timeout:g} s; {prospect}")

    def report(self, evidence: Evidence) -> bool:
        """Take proof that a validator broke the rules, on its way into a block; return whether it is news.

        It is none if the offence is known, or the validator is out for ever already.

        Raises:
            Refused: UNKNOWN_VALIDATOR, BAD_EVIDENCE, BAD_SIGNATURE if it proves nothing; NOT_AVAILABLE if too old.
        """
        self.chain.check_evidence(evidence, SchemeVerifier())
        offences = {offence_id(other) for other in self._core.agreement.pool.pending()}
        if offence_id(evidence) in offences or is_recorded(self.chain.store, evidence):
            return False
        if is_punished(self.chain.store, evidence.validator):
            return False
        self.chain.check_accusation(evidence, Height(max(self.height, height_of(evidence)) + 1))
        self._submitter.accuse(evidence)
        return True

    # ---- state

    def reader(self, height: Height | None = None) -> Reader:
        """Return the state after a block, by default the last. Raises Refused(NOT_AVAILABLE)."""
        return self.chain.store if height is None or height == self.height else self.chain.store.reader_at(height)

    def balance(self, address: Address, asset: AssetId, height: Height | None = None) -> Amount:
        """Return what an account holds. Raises Refused(NOT_AVAILABLE)."""
        return balance(self.reader(height), address, asset)

    def nonce(self, address: Address) -> int:
        """Return the nonce that the state expects next."""
        return nonce(self.chain.store, address)

    def next_nonce(self, address: Address) -> int:
        """Return the nonce for the account's next call, behind those that wait in the mempool."""
        return self._core.mempool.pending_nonce(address, self.nonce(address))

    def query(self, path: str, parameters: Mapping[str, str], height: Height | None = None) -> Any:
        """Return the answer of a module's query, plain data. Raises Refused(NOT_AVAILABLE | BAD_ARGUMENT)."""
        return answer_query(self.reader(height), path, parameters)

    def outputs_of(
        self, owner: Address, limit: int, after: OutPoint | None = None
    ) -> list[tuple[OutPoint, Output]]:
        """Return unspent outputs of an owner, in order of outpoint, from behind `after` on."""
        return self.chain.store.outputs_of(owner, limit, after)

    async def prove(self, key: bytes, height: Height | None = None) -> tuple[Height, StateProof]:
        """Return a proof of a record, or of its absence, and the height after which it holds.

        Args:
            key: the raw record key.
            height: by default the last height whose state root stands in a committed header: the tip's minus one.

        Raises:
            Refused: NOT_AVAILABLE.
        """
        wanted = Height(self.height - 1) if height is None else height
        if wanted < 0:
            raise Refused(Reason.NOT_AVAILABLE, "there is no block yet, so no header holds a state root")
        store = self.chain.store
        if store.oldest_provable <= wanted or wanted > self.height:
            return wanted, store.prove(key, wanted)
        return wanted, await self.past.prove(key, wanted)

    # ---- blocks and transactions

    def block(self, height: Height) -> SyncedBlock:
        """Return a block and the commit for it. Raises Refused(NOT_AVAILABLE)."""
        earliest = self.chain.store.earliest
        if height < earliest:
            raise Refused(Reason.NOT_AVAILABLE, f"block {height} is not kept here: the oldest is {earliest}")
        return self.chain.block(height)

    def header(self, height: Height) -> Header:
        """Return a header. Raises Refused(NOT_AVAILABLE)."""
        return self.chain.header(height)

    def commit(self, height: Height) -> Commit:
        """Return the commit for a block. Raises Refused(NOT_AVAILABLE)."""
        return self.chain.commit_for(height)

    def validators(self, height: Height) -> ValidatorSet:
        """Return who votes on a height. Raises Refused(NOT_AVAILABLE)."""
        if not 0 <= height <= self.height + 2:
            raise Refused(Reason.NOT_AVAILABLE, f"validators are known up to height {self.height + 2}")
        return validators_at(self.chain.store, height)

    def light_block(self, height: Height) -> LightBlock:
        """Return what a light client needs of a block. Raises Refused(NOT_AVAILABLE)."""
        return LightBlock(self.header(height), self.commit(height), self.validators(height))

    def transaction(self, txid: TxId) -> FoundTransaction:
        """Return a transaction, committed or waiting. Raises Refused(NOT_AVAILABLE)."""
        found = self.chain.store.transaction(txid)
        if found is not None:
            location, raw = found
            return FoundTransaction(raw, location, self.chain.store.receipt(txid))
        entry = self._core.mempool.by_txid(txid)
        if entry is None:
            raise Refused(Reason.NOT_AVAILABLE, f"no transaction {txid.hex()} is here")
        return FoundTransaction(entry.decoded.raw, None, None)

    def waits(self, txid: TxId) -> bool:
        """Tell whether a transaction waits for a block here."""
        return self._core.mempool.by_txid(txid) is not None

    def receipt(self, txid: TxId) -> Receipt:
        """Return how a committed transaction ended. Raises Refused(NOT_AVAILABLE)."""
        receipt = self.chain.store.receipt(txid)
        if receipt is None:
            raise Refused(Reason.NOT_AVAILABLE, f"no transaction {txid.hex()} is in a block")
        return receipt

    def proven_receipt(self, txid: TxId) -> ProvenReceipt:
        """Return a receipt and its proof. Raises Refused(NOT_AVAILABLE)."""
        receipt = self.receipt(txid)
        return ProvenReceipt(receipt, prove_receipt(self.chain.store.receipts(receipt.height), receipt.index))

    def transactions_of(self, address: Address, limit: int, before: Location | None = None) -> list[Mention]:
        """Return transactions that touched an address, newest first, older than `before`."""
        return self.chain.store.transactions_of(address, limit, before)
