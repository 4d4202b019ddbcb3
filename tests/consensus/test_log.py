"""The log's records: what a crash may leave is cut, what is damaged is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.log import (
    BlockEntry,
    HeightEntry,
    LogEntry,
    ProposalEntry,
    VoteEntry,
    decode_entries,
    encode_entry,
    entries_of,
)
from consensus.types import NIL, VoteKind
from crypto.errors import Reason, Refused
from state.types import Height
from tests.consensus.parts import genesis_tip, make_validators, offered, signed_vote

TIP = genesis_tip(make_validators([10] * 4))
PROPOSAL = offered(TIP, 0, wtxids=["one", "two"])
ENTRIES: tuple[LogEntry, ...] = (
    HeightEntry(Height(1)),
    ProposalEntry(PROPOSAL),
    VoteEntry(signed_vote(TIP, 1, VoteKind.PREVOTE, 0, PROPOSAL.block_id)),
    BlockEntry(PROPOSAL, (b"first body", b"second body")),
    VoteEntry(signed_vote(TIP, 1, VoteKind.PRECOMMIT, 0, NIL)),
    HeightEntry(Height(2)),
)
RECORDS = [encode_entry(entry) for entry in ENTRIES]
RAW = b"".join(RECORDS)
LAST = len(RAW) - len(RECORDS[-1])


def test_round_trip() -> None:
    assert decode_entries(RAW) == (ENTRIES, len(RAW))
    assert decode_entries(b"") == ((), 0)
    assert entries_of(ENTRIES, 1) == ENTRIES[:-1]


@pytest.mark.parametrize("keep", range(3, len(RECORDS)))
def test_cut_at_every_byte_of_a_record_leaves_the_whole_ones(keep: int) -> None:
    start = len(b"".join(RECORDS[:keep]))
    for size in range(start, start + len(RECORDS[keep])):
        assert decode_entries(RAW[:size]) == (ENTRIES[:keep], start)


def test_a_last_record_with_any_bit_flipped_is_cut() -> None:
    for at in range(LAST, len(RAW)):
        damaged = bytearray(RAW)
        damaged[at] ^= 1
        assert decode_entries(bytes(damaged)) == (ENTRIES[:-1], LAST)


def test_zeros_after_the_end_are_cut() -> None:
    assert decode_entries(RAW + b"\0" * 5000) == (ENTRIES, len(RAW))


def test_damage_at_any_byte_before_the_last_record_is_refused() -> None:
    for at in range(LAST):
        damaged = bytearray(RAW)
        damaged[at] ^= 0x10
        with pytest.raises(Refused) as refused:
            decode_entries(bytes(damaged))
        assert refused.value.reason is Reason.CORRUPT_LOG


def test_a_whole_record_that_is_no_entry_is_refused() -> None:
    alien = encode_entry(("no", "entry"))  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        decode_entries(alien)
    assert refused.value.reason is Reason.CORRUPT_LOG


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_noise_gives_entries_or_a_named_refusal(noise: bytes) -> None:
    try:
        entries, good = decode_entries(RAW + noise)
    except Refused as error:
        assert error.reason is Reason.CORRUPT_LOG
    else:
        assert entries[: len(ENTRIES)] == ENTRIES and good >= len(RAW)
