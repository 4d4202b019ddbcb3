"""Answers to what peers ask on SYNC: where we stand, transactions of blocks in progress, committed blocks."""

from collections.abc import Iterator

from crypto.errors import Reason, Refused
from node.candidates import Candidates
from node.chain import Chain
from p2p.wire import (
    MAX_ASKED_BLOCKS,
    ChainStatus,
    GetBlocks,
    GetStatus,
    GetTransactions,
    answer_transactions,
    block_frames,
    request_codec,
)
from state.encoding import encode
from state.types import Height


def answers(payload: bytes, chain: Chain, candidates: Candidates, moniker: str, port: int) -> Iterator[bytes]:
    """Yield the frames that answer a request, each read when it is wanted.

    Raises:
        Refused: MALFORMED, NOT_CANONICAL or TOO_LARGE for the request; NOT_AVAILABLE if there is nothing to answer.
    """
    match request_codec.decode(payload):
        case GetStatus():
            tip = chain.tip
            earliest = Height(min(1, tip.height))
            yield encode(ChainStatus(tip.version, tip.height, tip.block_id, earliest, moniker[:64], port))
        case GetTransactions(wtxids):
            found = (candidates.body(wtxid) for wtxid in wtxids)
            yield from answer_transactions(decoded.raw for decoded in found if decoded is not None)
        case GetBlocks(first, last):
            if not 1 <= first <= chain.height:
                raise Refused(Reason.NOT_AVAILABLE, f"there are blocks 1 to {chain.height}")
            for height in range(first, min(last, chain.height, first + MAX_ASKED_BLOCKS - 1) + 1):
                yield from block_frames(*chain.block(Height(height)))
