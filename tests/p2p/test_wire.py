"""Wire messages: round trips, sizes, cutting and joining, and hostile bytes."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.types import EMPTY_COMMIT, Block, Header, Vote, VoteKind
from crypto.errors import Reason, Refused
from p2p.address import format_peer_address, parse_peer_address, peer_id_of
from p2p.network import PeerAddress, PeerId
from p2p.wire import (
    BATCH_BYTES,
    MAX_BATCH_COUNT,
    BlockAssembly,
    BlockEnd,
    BlockHead,
    ChainStatus,
    GetBlocks,
    GetStatus,
    GetTransactions,
    TransactionBatch,
    Transactions,
    VoteMessage,
    answer_codec,
    batch_codec,
    block_frames,
    consensus_message_codec,
    request_codec,
    split_transactions,
    transaction_frames,
    wtxid_requests,
)
from state.encoding import MAX_FRAME, encode
from state.types import Address, BlockId, ChainId, Height, Round, WtxId

H = b"\x07" * 32
HEADER = Header(
    1, ChainId(H), Height(5), 1000, Address(H), BlockId(H), H, H, H, H, H, H, H, H,
)
VOTE = Vote(VoteKind.PREVOTE, Height(5), Round(0), BlockId(H), 1, b"s" * 1281)
CODECS = [consensus_message_codec, batch_codec, request_codec, answer_codec]
EXAMPLES = [
    (consensus_message_codec, VoteMessage(VOTE)),
    (batch_codec, TransactionBatch((b"a", b"bb"))),
    (request_codec, GetStatus()),
    (request_codec, GetTransactions((WtxId(H),))),
    (request_codec, GetBlocks(Height(1), Height(9))),
    (answer_codec, ChainStatus(1, Height(9), BlockId(H), Height(1), "moniker", 26656)),
    (answer_codec, Transactions((b"a",))),
    (answer_codec, BlockHead(HEADER, EMPTY_COMMIT, (), 3)),
    (answer_codec, BlockEnd(EMPTY_COMMIT)),
]


@pytest.mark.parametrize(("codec", "message"), EXAMPLES)
def test_round_trip_and_second_encoder(codec, message) -> None:  # type: ignore[no-untyped-def]
    raw = encode(message)
    assert codec.decode(raw) == message
    assert msgpack.packb(msgpack.unpackb(raw)) == raw


@pytest.mark.parametrize(("codec", "message"), EXAMPLES)
def test_truncated_lengthened_and_changed_bytes_are_refused_or_another_value(codec, message) -> None:  # type: ignore[no-untyped-def]
    raw = encode(message)
    for end in range(len(raw)):
        with pytest.raises(Refused):
            codec.decode(raw[:end])
    with pytest.raises(Refused):
        codec.decode(raw + b"\x00")
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 0x55]) + raw[place + 1 :]
        try:
            assert codec.decode(changed) != message
        except Refused as refused:
            assert refused.reason in (Reason.MALFORMED, Reason.NOT_CANONICAL)


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=200))
def test_random_bytes_are_refused_or_canonical(codec, raw: bytes) -> None:  # type: ignore[no-untyped-def]
    try:
        assert encode(codec.decode(raw)) == raw
    except Refused as refused:
        assert refused.reason in (Reason.MALFORMED, Reason.NOT_CANONICAL)


@pytest.mark.parametrize(
    ("codec", "raw", "reason"),
    [
        (request_codec, b"\x91\x09", Reason.MALFORMED),
        (request_codec, b"\x92\x01\x00", Reason.MALFORMED),
        (request_codec, encode((2, ())), Reason.MALFORMED),
        (request_codec, encode((2, (b"short",))), Reason.MALFORMED),
        (request_codec, encode((3, -1, 5)), Reason.MALFORMED),
        (request_codec, b"\x93\x03\xcc\x01\x05", Reason.NOT_CANONICAL),
        (batch_codec, encode((1, (b"",))), Reason.MALFORMED),
        (batch_codec, encode((1, (b"x" * 70_000,))), Reason.MALFORMED),
        (batch_codec, encode((1, (b"x",) * (MAX_BATCH_COUNT + 1))), Reason.MALFORMED),
        (batch_codec, bytes(MAX_FRAME + 1), Reason.TOO_LARGE),
        (answer_codec, encode((1, 1, 9, H, 1, "m" * 65, 0)), Reason.MALFORMED),
    ],
)
def test_wrong_messages_are_named(codec, raw: bytes, reason: Reason) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Refused) as refused:
        codec.decode(raw)
    assert refused.value.reason is reason


@given(st.lists(st.integers(1, 65_536), max_size=60))
@settings(max_examples=40, deadline=None)
def test_batches_fit_a_frame_and_keep_order(sizes: list[int]) -> None:
    transactions = [bytes(size) for size in sizes]
    parts = list(split_transactions(transactions))
    assert [raw for part in parts for raw in part] == transactions
    for frame in transaction_frames(transactions):
        assert len(frame) <= MAX_FRAME - 5
        batch_codec.decode(frame)


def test_many_small_transactions_are_cut_by_count() -> None:
    parts = list(split_transactions([b"x"] * (2 * MAX_BATCH_COUNT + 1)))
    assert [len(part) for part in parts] == [MAX_BATCH_COUNT, MAX_BATCH_COUNT, 1]
    assert BATCH_BYTES < MAX_FRAME


def test_requests_for_many_wtxids() -> None:
    wtxids = [WtxId(number.to_bytes(32, "big")) for number in range(20_000)]
    asked = [request_codec.decode(raw) for raw in wtxid_requests(wtxids)]
    assert [wtxid for ask in asked if isinstance(ask, GetTransactions) for wtxid in ask.wtxids] == wtxids


def test_blocks_larger_than_a_frame_travel_in_parts() -> None:
    block = Block(HEADER, tuple(bytes([number % 256]) * 60_000 for number in range(100)), EMPTY_COMMIT, ())
    small = Block(HEADER, (), EMPTY_COMMIT, ())
    assembly = BlockAssembly()
    got = []
    for frame in [*block_frames(block, EMPTY_COMMIT), *block_frames(small, EMPTY_COMMIT)]:
        assert len(frame) <= MAX_FRAME - 5
        synced = assembly.feed(frame)
        if synced is not None:
            got.append(synced.block)
            assert assembly.complete
    assert got == [block, small]


HEAD, BODY, END = encode(BlockHead(HEADER, EMPTY_COMMIT, (), 1)), encode(Transactions((b"a",))), encode(
    BlockEnd(EMPTY_COMMIT)
)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([BODY], Reason.PROTOCOL_VIOLATION),
        ([END], Reason.PROTOCOL_VIOLATION),
        ([HEAD, HEAD], Reason.PROTOCOL_VIOLATION),
        ([HEAD, END], Reason.PROTOCOL_VIOLATION),
        ([HEAD, BODY, BODY], Reason.TOO_LARGE),
        ([HEAD, encode(ChainStatus(1, Height(0), BlockId(H), Height(0), "", 0))], Reason.PROTOCOL_VIOLATION),
        ([HEAD, b"\xc0"], Reason.MALFORMED),
    ],
)
def test_parts_out_of_order_are_refused(frames: list[bytes], reason: Reason) -> None:
    assembly = BlockAssembly()
    for frame in frames[:-1]:
        assembly.feed(frame)
    with pytest.raises(Refused) as refused:
        assembly.feed(frames[-1])
    assert refused.value.reason is reason


def test_peer_addresses() -> None:
    address = PeerAddress(PeerId(bytes(range(32))), "fe80::1%1", 26656)
    assert parse_peer_address(format_peer_address(address)) == address
    assert len(peer_id_of(b"key")) == 32
    good = format_peer_address(address)
    for wrong in ("", good[1:], good.replace("[", ""), good.replace("26656", "0"), good.replace("26656", "70000"),
                  good.replace("fe80::1%1", "127.0.0.1"), good.replace("fe80::1%1", "::g"), good + "x"):
        with pytest.raises(Refused) as refused:
            parse_peer_address(wrong)
        assert refused.value.reason is Reason.BAD_CONFIG
