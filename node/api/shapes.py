"""What the API answers: one struct for each answer, the same in REST, JSON-RPC and the client."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from node.api.text import AddressText, AssetText, Decimal, Hex32

OutputFilter = Literal["any", "coin", "memo", "state", "hiddencoin"]
"""One type of outputs, as an `OutputView` names it, or all."""
Index32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every answer: a JSON object. A reader skips fields that it does not know."""


class ErrorDetail(Shape, frozen=True):
    """Why a request was refused: `reason` is for programs and stays as it is, `detail` is for people."""

    reason: str
    detail: str


class ErrorAnswer(Shape, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetail


class JoiningView(Shape, frozen=True):
    """How far a node is that joins by a snapshot. Heights are 0 before they are known."""

    stage: str
    """peers, headers, chunks or checking."""
    snapshot_height: Decimal
    done: int
    """Chunks that are here."""
    total: int
    """Chunks of the snapshot; 0 before one is chosen."""
    bytes: Decimal
    """Of all its chunks."""
    seconds_left: int | None
    """Of the chunks, at the pace so far."""


class Status(Shape, frozen=True):
    """How a node is doing. Times in ms since 1970, sizes in bytes."""

    chain_id: Hex32
    chain_name: str
    moniker: str
    node_id: Hex32
    version: str
    protocol_version: int
    height: Decimal
    best_height: Decimal
    """The greatest height that a peer claims, or our own."""
    block_id: Hex32
    block_time: Decimal
    state_root: Hex32
    """After the block at `height`."""
    round: int
    step: str
    catching_up: bool
    seconds_left: int
    """Of catching up, at the pace so far; 0 if it is done, or not known yet."""
    validator: AddressText | None
    """Consensus address of this node if it has a consensus key."""
    voting_power: Decimal
    """Its power in the present validator set; 0 for a node that does not vote."""
    peers: int
    external_address: str
    """`[ADDR]:PORT` where others are told to dial this node; empty while that is not known."""
    mempool_transactions: int
    mempool_bytes: Decimal
    started_at: Decimal
    difficulty: int
    """Leading zero bits that the hashcash of a transaction needs whose anchor is `block_id`."""
    joining: JoiningView | None = None
    """Set while the node joins by a snapshot; if it does so before it runs, nothing but this question is answered."""


class ValidatorView(Shape, frozen=True):
    """One validator of a set. `public_key` is base64, scheme byte first."""

    index: Index32
    address: AddressText
    operator: AddressText
    power: Decimal
    public_key: bytes


class ValidatorsView(Shape, frozen=True):
    """The validators that vote on one height."""

    height: Decimal
    hash: Hex32
    total_power: Decimal
    validators: list[ValidatorView]


class HeaderView(Shape, frozen=True):
    """A block header. `state_root` and `receipts_root` are those after the previous block."""

    block_id: Hex32
    version: int
    chain_id: Hex32
    height: Decimal
    time: Decimal
    proposer: AddressText
    previous: Hex32
    last_commit_hash: Hex32
    transactions_root: Hex32
    state_root: Hex32
    receipts_root: Hex32
    validators_hash: Hex32
    next_validators_hash: Hex32
    evidence_root: Hex32
    beacon: Hex32


class HeadersView(Shape, frozen=True):
    """Headers of rising heights from `first` on, each in canonical bytes (consensus.types.Header)."""

    first: Decimal
    headers: list[bytes]


class CommitSignatureView(Shape, frozen=True):
    """One precommit, by index into the height's validators."""

    validator: Index32
    signature: bytes


class CommitView(Shape, frozen=True):
    """More than 2/3 of the power precommitted this block."""

    height: Decimal
    round: int
    block_id: Hex32
    signatures: list[CommitSignatureView]


class TransactionId(Shape, frozen=True):
    """Both names of one transaction."""

    txid: Hex32
    wtxid: Hex32


class BlockView(Shape, frozen=True):
    """A block without the bodies of its transactions. `size` counts the wire bytes of those."""

    header: HeaderView
    transactions: list[TransactionId]
    size: Decimal
    evidence: int
    commit: CommitView | None


class BodyView(Shape, frozen=True):
    """What a header commits to by roots: wire bytes of the block's transactions, its evidence in canonical bytes."""

    height: Decimal
    transactions: list[bytes]
    evidence: bytes


class LightBlockView(Shape, frozen=True):
    """Everything about a height that a light client checks, in canonical bytes (consensus.light.LightBlock)."""

    height: Decimal
    light_block: bytes


class EventView(Shape, frozen=True):
    """Something that a transaction or a block did; attributes keep their order."""

    name: str
    attributes: list[tuple[str, str]]


class ReceiptView(Shape, frozen=True):
    """How a transaction ended. `reason` is empty for success."""

    txid: Hex32
    wtxid: Hex32
    height: Decimal
    index: Index32
    reason: str
    detail: str
    fee: Decimal
    gas_wanted: Decimal
    gas_used: Decimal
    events: list[EventView]


class ReceiptAnswer(Shape, frozen=True):
    """A receipt, its canonical bytes, and its way to the receipts root in the header of height + 1."""

    receipt: ReceiptView
    raw: bytes
    proof_size: Index32
    """Number of receipts in the block."""
    proof_path: list[bytes]


class Reported(Shape, frozen=True):
    """Evidence was taken: the accused, and when. `known` if the node had it already."""

    validator: AddressText
    height: Decimal
    known: bool


class TransactionView(Shape, frozen=True):
    """A transaction. `height` is null while it waits in the mempool."""

    txid: Hex32
    wtxid: Hex32
    raw: bytes
    height: Decimal | None
    index: Index32 | None
    kind: str
    signers: list[AddressText]
    fee: Decimal
    expiry: Decimal
    body: dict[str, Any]
    """The payload for people: numbers as decimal text, bytes as hex."""


class TransactionStatus(Shape, frozen=True):
    """What became of a transaction; `unknown` says that it neither waits here nor is in a block that is here.

    `reason` and `detail` are the receipt's, empty but for `failed`. `blocks_above` counts the blocks on top of its own.
    """

    txid: Hex32
    status: Literal["unknown", "waiting", "succeeded", "failed"]
    height: Decimal | None
    index: Index32 | None
    reason: str
    detail: str
    blocks_above: Decimal


class AccountView(Shape, frozen=True):
    """An account. `nonce` is what its next call must carry, `pending_nonce` the same behind what waits here."""

    address: AddressText
    nonce: Decimal
    pending_nonce: Decimal
    scheme: str
    public_key: bytes
    balance: Decimal
    """Of the native token, in unxs."""


class BalanceView(Shape, frozen=True):
    """What an account holds of an asset, without its locks and coins, after the block at `height`."""

    address: AddressText
    asset: AssetText
    amount: Decimal
    frozen: bool
    height: Decimal


class AllowanceView(Shape, frozen=True):
    """What `spender` may still take from `owner`."""

    owner: AddressText
    spender: AddressText
    asset: AssetText
    amount: Decimal
    height: Decimal


class AssetView(Shape, frozen=True):
    """An asset as issued, and its supply. The native token has no issuer."""

    asset: AssetText
    symbol: str
    decimals: int
    issuer: AddressText | None
    mintable: bool
    burnable: bool
    freezable: bool
    supply: Decimal


class OutputView(Shape, frozen=True):
    """An unspent output. `raw` is its canonical encoding; asset is null for Memo and State, amount is
    known of a Coin alone."""

    txid: Hex32
    index: Index32
    kind: str
    owner: AddressText
    asset: AssetText | None
    amount: Decimal | None
    raw: bytes


class OutputsView(Shape, frozen=True):
    """Unspent outputs of one owner, by rising outpoint. `next` continues a list that was cut.

    A list of one kind may be cut before it has as many entries as asked for, and even when it is empty: it ends where
    `next` is null.

    `complete` is a node's word, from its own index. A light client proves each entry and says false: no proof shows
    that nothing was held back.
    """

    outputs: list[OutputView]
    height: Decimal
    next: str | None
    complete: bool


class StateVersion(Shape, frozen=True):
    """One State of a contract. `height` is null if the node did not see it made: in the genesis, or before its time.

    `variables` (in hex) and `output` are null if it is spent, and its transaction is not here any more.
    """

    nonce: Decimal
    txid: Hex32
    index: Index32
    height: Decimal | None
    unspent: bool
    variables: list[str] | None
    output: OutputView | None


class StateEnd(Shape, frozen=True):
    """The transaction that spent the last State of a contract and made no successor."""

    txid: Hex32
    height: Decimal


class StateHistory(Shape, frozen=True):
    """Versions of a contract by rising nonce, and how it ended if it did. `next` continues a list that was cut.

    `complete` says that none is missing between the nonce that was asked for and the last one here.
    """

    versions: list[StateVersion]
    ended: StateEnd | None
    complete: bool
    next: Decimal | None


class LockView(Shape, frozen=True):
    """An amount that its owner may take back from `release_height` on."""

    lock_id: Hex32
    asset: AssetText
    amount: Decimal
    release_height: Decimal


class LocksView(Shape, frozen=True):
    """The locks of one account, oldest first."""

    address: AddressText
    locks: list[LockView]
    height: Decimal


class ParamsView(Shape, frozen=True):
    """The chain's parameters: `chain` is part of the state, `consensus` is fixed at genesis (times in ms)."""

    chain: dict[str, Decimal]
    consensus: dict[str, Decimal]


class MempoolView(Shape, frozen=True):
    """What waits for a block."""

    transactions: int
    bytes: Decimal
    txids: list[Hex32]


class PeerView(Shape, frozen=True):
    """One live, authenticated connection. `rtt_us` in microseconds."""

    node_id: Hex32
    host: str
    port: int
    inbound: bool
    bytes_sent: Decimal
    bytes_received: Decimal
    rtt_us: Decimal


class PeersView(Shape, frozen=True):
    """Who this node is connected to."""

    peers: list[PeerView]


class ProofView(Shape, frozen=True):
    """A state proof (state.proof.StateProof, canonical bytes) against the state root in the header of height + 1."""

    height: Decimal
    key: str
    proof: bytes


class GenesisView(Shape, frozen=True):
    """The genesis document: as JSON for people, and the canonical bytes whose hash is the chain id."""

    chain_id: Hex32
    document: dict[str, Any]
    raw: bytes


class QueryAnswer(Shape, frozen=True):
    """What a module answered, its integers as decimal text."""

    name: str
    height: Decimal
    value: Any


class TransactionRef(Shape, frozen=True):
    """Where a transaction of an address is."""

    txid: Hex32
    height: Decimal
    index: Index32


class TransactionRefs(Shape, frozen=True):
    """Transactions that touched an address, newest first. `next` continues a list that was cut.

    `complete` as in OutputsView.
    """

    transactions: list[TransactionRef]
    next: str | None
    complete: bool


class Submission(Shape, frozen=True):
    """What became of one submitted transaction. `reason` is empty if it was accepted.

    `txid` is empty for bytes that are no transaction. `receipt` is there once it is in a block.
    """

    txid: str
    reason: str
    detail: str
    receipt: ReceiptView | None = None


class Submitted(Shape, frozen=True):
    """One entry for each submitted transaction, in their order."""

    results: list[Submission]


class Health(Shape, frozen=True):
    """The process lives. `ready` tells whether it has caught up and serves the last block."""

    ready: bool
    height: Decimal
