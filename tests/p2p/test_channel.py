"""Frames and credits without a network."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from p2p.stoq.channel import CREDIT, CREDIT_STEP, Inbox, Outbox, framed
from state.encoding import MAX_FRAME


@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=30), st.lists(st.integers(1, 5000), min_size=1))
@settings(max_examples=60, deadline=None)
def test_frames_come_out_as_they_went_in_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    outbox, inbox = Outbox(1 << 30, CREDIT), Inbox()
    for payload in payloads:
        assert outbox.offer(framed(payload))
    out: list[bytes] = []
    turn = 0
    while data := outbox.take(cuts[turn % len(cuts)]):
        turn += 1
        alone = inbox.whole(data)
        if alone is not None:
            out.append(alone)
            continue
        inbox.feed(data)
        while (whole := inbox.pop()) is not None:
            out.append(whole)
    assert out == payloads and outbox.waiting == 0


def test_credit_stops_the_sender_and_taking_frees_it() -> None:
    outbox, inbox = Outbox(1 << 30, CREDIT), Inbox()
    frame = framed(bytes(MAX_FRAME))
    for _ in range(8):
        assert outbox.offer(frame)
    sent = received = 0
    while received < 8:
        while data := outbox.take(1 << 16):
            inbox.feed(data)
            sent += len(data)
        assert sent <= received * len(frame) + CREDIT
        payload = inbox.pop()
        assert payload is not None, "a whole frame must always fit into the credit"
        received += 1
        limit = inbox.taken(len(payload))
        if limit is not None:
            outbox.grant(limit)
    assert outbox.waiting == 0


def test_a_full_outbox_says_no_but_an_empty_one_takes_any_frame() -> None:
    outbox = Outbox(10, CREDIT)
    assert outbox.offer(framed(bytes(100)))
    assert not outbox.offer(framed(b"x"))
    assert len(outbox.take(1000)) == 104
    assert outbox.offer(framed(b"x"))


def test_a_frame_that_comes_whole_counts_as_one_that_comes_in_pieces() -> None:
    inbox, frame = Inbox(), framed(bytes(MAX_FRAME))
    for _ in range(CREDIT // len(frame)):
        assert inbox.whole(frame) == bytes(MAX_FRAME)
    with pytest.raises(Refused) as refused:
        inbox.whole(frame)
    assert refused.value.reason is Reason.PROTOCOL_VIOLATION
    inbox = Inbox(max_frame=100)
    for data in (b"", b"\0\0\0", framed(b"x")[:4], framed(b"xy")[:5], framed(b"x") * 2, framed(bytes(101))):
        assert inbox.whole(data) is None
    inbox.feed(framed(b"first")[:6])
    assert inbox.whole(framed(b"second")) is None
    inbox.feed(framed(b"first")[6:] + framed(b"second"))
    assert (inbox.pop(), inbox.pop(), inbox.pop()) == (b"first", b"second", None)


def test_broken_rules_are_named() -> None:
    inbox = Inbox()
    inbox.feed(bytes(CREDIT))
    with pytest.raises(Refused) as refused:
        inbox.feed(b"x")
    assert refused.value.reason is Reason.PROTOCOL_VIOLATION
    for size in (0, MAX_FRAME + 1, 0xFFFF_FFFF):
        inbox = Inbox()
        inbox.feed(size.to_bytes(4, "big"))
        with pytest.raises(Refused) as refused:
            inbox.pop()
        assert refused.value.reason is Reason.PROTOCOL_VIOLATION
    outbox = Outbox(10, CREDIT)
    outbox.grant(CREDIT + CREDIT_STEP)
    with pytest.raises(Refused) as refused:
        outbox.grant(CREDIT)
    assert refused.value.reason is Reason.PROTOCOL_VIOLATION
    for payload in (b"", bytes(MAX_FRAME + 1)):
        with pytest.raises(Refused) as refused:
            framed(payload)
        assert refused.value.reason is Reason.TOO_LARGE
