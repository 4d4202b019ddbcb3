"""The node's messages to its peers: what is inside the frames of each channel.

    CONSENSUS     one ConsensusMessage a frame: ProposalMessage | VoteMessage | RoundStatusMessage | SightingsMessage
                    | OfferMessage | EvidenceMessage | WishesMessage
    TRANSACTIONS  one TransactionBatch a frame
    SYNC          a Request, answered by any number of Answer frames:
                    GetStatus        -> ChainStatus
                    GetTransactions  -> Transactions*           (those that the peer has, in the order asked)
                    GetBlocks        -> (BlockHead Transactions* BlockEnd)*   in rising order of height
                    GetSnapshots     -> Snapshots
                    GetLightBlock    -> Piece*                  (of the encoded LightBlock)
                    GetManifest      -> Piece*                  (of the encoded Manifest)
                    GetChunk         -> Piece*                  (of the chunk)
                    GetHeaders       -> Headers*                in rising order of height

Every message is a canonical MessagePack array whose first element is its tag within its union. A block may be larger
than a frame, so it travels in parts; `block_frames` cuts it and `BlockAssembly` puts it together again. What else may
be larger travels in pieces: `piece_frames` and `PieceAssembly`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from consensus.relay import RoundStatus
from consensus.sightings import Sightings
from consensus.types import MAX_VALIDATORS, Block, Commit, Evidence, Header, Proposal, SignedOffer, Vote
from crypto.errors import Reason, Refused
from state.encoding import MAX_FRAME, Codec, Record, encode
from state.pages import PAGE_RECORDS
from state.snapshot import MAX_LIMIT
from state.transaction import MAX_TRANSACTION
from state.types import AddressField, BlockIdField, HeightField, Unsigned, WtxId, WtxIdField

MAX_BATCH_COUNT: Final = 4096
"""Transactions in one frame."""
MAX_ASKED_TRANSACTIONS: Final = 8192
"""Wtxids in one GetTransactions."""
MAX_ASKED_BLOCKS: Final = 256
"""Heights in one GetBlocks."""
MAX_MONIKER: Final = 64
MAX_BLOCK_BYTES: Final = 16 << 20
"""Transaction bytes of one block that a receiver is ready to hold."""
MAX_BLOCK_TRANSACTIONS: Final = 25_000
MAX_ASKED_HEADERS: Final = 4096
"""Heights in one GetHeaders."""
HEADERS_IN_FRAME: Final = 256
MAX_OFFERS: Final = 16
"""Snapshots that a peer speaks of."""
MAX_PIECE: Final = 256 << 10
"""Bytes in one frame of something that is cut in pieces."""
BATCH_BYTES: Final = MAX_FRAME - 8192
"""Transaction bytes that surely fit in one frame with their own headers."""

TransactionBytes = Annotated[bytes, Meta(min_length=1, max_length=MAX_TRANSACTION)]
TransactionList = Annotated[tuple[TransactionBytes, ...], Meta(max_length=MAX_BATCH_COUNT)]


# ---- CONSENSUS


class ProposalMessage(Record, frozen=True, tag=1):
    """A proposal, from its proposer or passed on."""

    proposal: Proposal


class VoteMessage(Record, frozen=True, tag=2):
    """A vote, from its validator or passed on."""

    vote: Vote


class RoundStatusMessage(Record, frozen=True, tag=3):
    """What the sender holds of its height, so that the receiver can pass on what it lacks."""

    status: RoundStatus


class SightingsMessage(Record, frozen=True, tag=4):
    """Whose votes the sender saw at a height, so that the receiver can pass on what contradicts them."""

    seen: Sightings


class OfferMessage(Record, frozen=True, tag=5):
    """What another proposal of a round signed than the one that the receiver saw."""

    offer: SignedOffer


class EvidenceMessage(Record, frozen=True, tag=6):
    """Proof that a validator signed two things, for the next block. The receiver checks it itself."""

    evidence: Evidence


class WishesMessage(Record, frozen=True, tag=7):
    """Whose votes and proposals the receiver is to pass on to the sender at once; before the first one, everybody's."""

    validators: Annotated[tuple[AddressField, ...], Meta(max_length=MAX_VALIDATORS)]


# ---- TRANSACTIONS


class TransactionBatch(Record, frozen=True, tag=1):
    """Wire bytes of transactions that the sender holds valid. The receiver checks each one itself."""

    transactions: TransactionList


# ---- SYNC: requests


class GetStatus(Record, frozen=True, tag=1):
    """Ask where the peer's chain stands."""


class GetTransactions(Record, frozen=True, tag=2):
    """Ask for transactions by wtxid: from the mempool, the current proposals or recent blocks."""

    wtxids: Annotated[tuple[WtxIdField, ...], Meta(min_length=1, max_length=MAX_ASKED_TRANSACTIONS)]


class GetBlocks(Record, frozen=True, tag=3):
    """Ask for the blocks `first` .. `last` (inclusive), at most MAX_ASKED_BLOCKS; the answer may stop earlier."""

    first: HeightField
    last: HeightField


class GetSnapshots(Record, frozen=True, tag=4):
    """Ask which snapshots the peer serves."""


class GetLightBlock(Record, frozen=True, tag=5):
    """Ask for a header, the commit for it and the validators of its height; 0 asks for the newest."""

    height: HeightField


class GetManifest(Record, frozen=True, tag=6):
    """Ask for the manifest of a snapshot."""

    height: HeightField


class GetChunk(Record, frozen=True, tag=7):
    """Ask for a chunk of a snapshot, by its number."""

    height: HeightField
    index: Annotated[int, Meta(ge=0, le=2**24 - 1)]


class GetHeaders(Record, frozen=True, tag=8):
    """Ask for the headers `first` .. `last` (inclusive), at most MAX_ASKED_HEADERS; the answer may stop earlier."""

    first: HeightField
    last: HeightField


# ---- SYNC: answers


class ChainStatus(Record, frozen=True, tag=1):
    """Where the sender's chain stands. `earliest` is the first height whose block it can serve (0: none)."""

    protocol_version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    height: HeightField
    block_id: BlockIdField
    earliest: HeightField
    moniker: Annotated[str, Meta(max_length=MAX_MONIKER)]
    port: Annotated[int, Meta(ge=0, le=65535)]


class Transactions(Record, frozen=True, tag=2):
    """Wire bytes of transactions: answers to GetTransactions, and the body parts of a block."""

    transactions: TransactionList


class BlockHead(Record, frozen=True, tag=3):
    """First part of a block. `count` transactions follow in Transactions parts, then BlockEnd."""

    header: Header
    last_commit: Commit
    evidence: Annotated[tuple[Evidence, ...], Meta(max_length=64)]
    count: Annotated[int, Meta(ge=0, le=MAX_BLOCK_TRANSACTIONS)]


class BlockEnd(Record, frozen=True, tag=4):
    """Last part of a block: the commit that decided it."""

    commit: Commit


class SnapshotOffer(Record, frozen=True):
    """A snapshot: the state after block `height`. Offers of one height and limit are the same snapshot."""

    height: HeightField
    limit: Annotated[int, Meta(ge=PAGE_RECORDS, le=MAX_LIMIT)]
    chunks: Annotated[int, Meta(ge=0, le=2**24)]
    size: Unsigned
    """Bytes of all chunks."""


class Snapshots(Record, frozen=True, tag=5):
    """What the sender can serve, rising by height."""

    offers: Annotated[tuple[SnapshotOffer, ...], Meta(max_length=MAX_OFFERS)]


class Piece(Record, frozen=True, tag=6):
    """A run of bytes of something longer than a frame."""

    data: Annotated[bytes, Meta(min_length=1, max_length=MAX_PIECE)]


class Headers(Record, frozen=True, tag=7):
    """Headers of consecutive heights, rising."""

    headers: Annotated[tuple[Header, ...], Meta(min_length=1, max_length=HEADERS_IN_FRAME)]


Request = (
    GetStatus | GetTransactions | GetBlocks | GetSnapshots | GetLightBlock | GetManifest | GetChunk | GetHeaders
)
Answer = ChainStatus | Transactions | BlockHead | BlockEnd | Snapshots | Piece | Headers
ConsensusMessage = (
    ProposalMessage | VoteMessage | RoundStatusMessage | SightingsMessage | OfferMessage | EvidenceMessage
    | WishesMessage
)

consensus_message_codec: Final[Codec[ConsensusMessage]] = Codec(ConsensusMessage)  # type: ignore[arg-type]
batch_codec: Final = Codec(TransactionBatch)
request_codec: Final[Codec[Request]] = Codec(Request)  # type: ignore[arg-type]
answer_codec: Final[Codec[Answer]] = Codec(Answer)  # type: ignore[arg-type]


def split_transactions(transactions: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Cut a run of transactions into tuples that fit one frame each, in order."""
    part: list[bytes] = []
    size = 0
    for raw in transactions:
        cost = len(raw) + 5
        if part and (size + cost > BATCH_BYTES or len(part) == MAX_BATCH_COUNT):
            yield tuple(part)
            part, size = [], 0
        part.append(raw)
        size += cost
    if part:
        yield tuple(part)


def transaction_frames(transactions: Iterable[bytes]) -> Iterator[bytes]:
    """Return the encoded TransactionBatch frames for the TRANSACTIONS channel."""
    return (encode(TransactionBatch(part)) for part in split_transactions(transactions))


def answer_transactions(transactions: Iterable[bytes]) -> Iterator[bytes]:
    """Return the encoded Transactions frames that answer GetTransactions."""
    return (encode(Transactions(part)) for part in split_transactions(transactions))


def block_frames(block: Block, commit: Commit) -> Iterator[bytes]:
    """Return the encoded frames of one block and of the commit that decided it."""
    yield encode(BlockHead(block.header, block.last_commit, block.evidence, len(block.transactions)))
    yield from answer_transactions(block.transactions)
    yield encode(BlockEnd(commit))


class SyncedBlock(NamedTuple):
    """A block as a peer gave it. Nothing in it is verified."""

    block: Block
    commit: Commit


class BlockAssembly:
    """Puts the parts of blocks together again, with every size bounded."""

    def __init__(self) -> None:
        self._head: tuple[BlockHead, ...] = ()
        self._transactions: list[bytes] = []
        self._size = 0

    @property
    def complete(self) -> bool:
        """True between two blocks: an answer that ends elsewhere was cut short."""
        return not self._head

    def feed(self, frame: bytes) -> SyncedBlock | None:
        """Take the next frame of an answer to GetBlocks; return a block when it is whole.

        Raises:
            Refused: MALFORMED, NOT_CANONICAL or TOO_LARGE; PROTOCOL_VIOLATION if parts are out of order.
        """
        part = answer_codec.decode(frame)
        match part:
            case BlockHead() if not self._head:
                self._head = (part,)
                return None
            case Transactions() if self._head:
                self._add(self._head[0], part.transactions)
                return None
            case BlockEnd() if self._head and len(self._transactions) == self._head[0].count:
                return self._finish(self._head[0], part.commit)
        raise Refused(Reason.PROTOCOL_VIOLATION, f"a {type(part).__name__} does not follow here")

    def _add(self, head: BlockHead, transactions: Sequence[bytes]) -> None:
        self._size += sum(map(len, transactions))
        if self._size > MAX_BLOCK_BYTES or len(self._transactions) + len(transactions) > head.count:
            raise Refused(Reason.TOO_LARGE, "the block has more transactions than its head says, or than fit")
        self._transactions += transactions

    def _finish(self, head: BlockHead, commit: Commit) -> SyncedBlock:
        block = Block(head.header, tuple(self._transactions), head.last_commit, head.evidence)
        self._head, self._transactions, self._size = (), [], 0
        return SyncedBlock(block, commit)


def wtxid_requests(wtxids: Sequence[WtxId]) -> Iterator[bytes]:
    """Return encoded GetTransactions requests that together ask for all of `wtxids`."""
    for start in range(0, len(wtxids), MAX_ASKED_TRANSACTIONS):
        yield encode(GetTransactions(tuple(wtxids[start:start + MAX_ASKED_TRANSACTIONS])))


def piece_frames(data: bytes) -> Iterator[bytes]:
    """Return the encoded frames that carry `data`, one byte or more."""
    return (encode(Piece(data[start : start + MAX_PIECE])) for start in range(0, len(data), MAX_PIECE))


class PieceAssembly:
    """Puts pieces together again.

    Args:
        cap: bytes of the whole at most.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, frame: bytes) -> None:
        """Take the next frame of an answer.

        Raises:
            Refused: MALFORMED, NOT_CANONICAL; TOO_LARGE over the cap; PROTOCOL_VIOLATION for anything but a piece.
        """
        part = answer_codec.decode(frame)
        if not isinstance(part, Piece):
            raise Refused(Reason.PROTOCOL_VIOLATION, f"a {type(part).__name__} where a piece belongs")
        self._size += len(part.data)
        if self._size > self._cap:
            raise Refused(Reason.TOO_LARGE, f"the pieces are more than {self._cap} bytes together")
        self._pieces.append(part.data)

    def whole(self) -> bytes:
        """Return the bytes of all pieces."""
        return b"".join(self._pieces)
