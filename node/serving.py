"""Answers to what peers ask on SYNC: where we stand, transactions of proposals, committed blocks, snapshots."""

from collections.abc import Iterator

from crypto.errors import Reason, Refused
from node.candidates import Candidates
from node.chain import Chain
from node.snapshots import Shelf
from p2p.wire import (
    HEADERS_IN_FRAME,
    MAX_ASKED_BLOCKS,
    MAX_ASKED_HEADERS,
    ChainStatus,
    GetBlocks,
    GetChunk,
    GetHeaders,
    GetLightBlock,
    GetManifest,
    GetSnapshots,
    GetStatus,
    GetTransactions,
    Headers,
    Snapshots,
    answer_transactions,
    block_frames,
    piece_frames,
    request_codec,
)
from state.encoding import encode
from state.types import Height


def answers(
    payload: bytes, chain: Chain, candidates: Candidates, shelf: Shelf, moniker: str, port: int
) -> Iterator[bytes]:
    """Yield the frames that answer a request, each read when it is wanted.

    Raises:
        Refused: MALFORMED, NOT_CANONICAL or TOO_LARGE for the request; NOT_AVAILABLE if there is nothing to answer.
    """
    match request_codec.decode(payload):
        case GetStatus():
            tip = chain.tip
            earliest = chain.store.earliest
            served = earliest if earliest <= tip.height else Height(0)
            yield encode(ChainStatus(tip.version, tip.height, tip.block_id, served, moniker[:64], port))
        case GetTransactions(wtxids):
            found = (candidates.body(wtxid) for wtxid in wtxids)
            yield from answer_transactions(decoded.raw for decoded in found if decoded is not None)
        case GetBlocks(first, last):
            earliest = chain.store.earliest
            if not earliest <= first <= chain.height:
                raise Refused(Reason.NOT_AVAILABLE, f"there are blocks {earliest} to {chain.height}")
            for height in range(first, min(last, chain.height, first + MAX_ASKED_BLOCKS - 1) + 1):
                yield from block_frames(*chain.block(Height(height)))
        case GetSnapshots():
            yield encode(Snapshots(shelf.offers()))
        case GetLightBlock(height):
            yield from piece_frames(encode(chain.light_block(height or chain.height)))
        case GetManifest(height):
            yield from piece_frames(shelf.manifest(height))
        case GetChunk(height, index):
            yield from piece_frames(shelf.chunk(height, index))
        case GetHeaders(first, last):
            if not 1 <= first <= chain.height:
                raise Refused(Reason.NOT_AVAILABLE, f"there are headers up to {chain.height}")
            stop = min(last, chain.height, first + MAX_ASKED_HEADERS - 1) + 1
            for start in range(first, stop, HEADERS_IN_FRAME):
                heights = range(start, min(start + HEADERS_IN_FRAME, stop))
                yield encode(Headers(tuple(chain.header(Height(height)) for height in heights)))
