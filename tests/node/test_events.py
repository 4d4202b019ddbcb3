import pytest
import trio
from msgspec.structs import replace

from crypto.errors import Reason, Refused
from node.events import BlockCommitted, EventFeed
from state.receipt import Receipt
from state.types import Amount, BlockId, Height, TxId, WtxId
from tests.node.test_sync import header


def event(height: int, *txids: bytes) -> BlockCommitted:
    receipts = tuple(
        Receipt(TxId(txid), WtxId(txid), Height(height), index, "", "", Amount(0), 0, 0, ())
        for index, txid in enumerate(txids)
    )
    return BlockCommitted(Height(height), BlockId(bytes(32)), replace(header(height)), receipts, ())


async def test_every_subscriber_sees_every_block_in_order() -> None:
    feed = EventFeed()
    with feed.subscribe() as one, feed.subscribe() as other:
        for height in range(5):
            feed.publish(event(height))
        for subscription in (one, other):
            assert [(await anext(subscription)).height for _ in range(5)] == list(range(5))
    assert len(feed) == 0


async def test_a_slow_subscriber_is_let_go_by_name_and_alone() -> None:
    feed = EventFeed()
    with feed.subscribe(2) as slow, feed.subscribe(9) as quick:
        for height in range(4):
            feed.publish(event(height))
        assert len(feed) == 1
        assert [(await anext(slow)).height for _ in range(2)] == [0, 1]
        with pytest.raises(Refused) as caught:
            await anext(slow)
        assert caught.value.reason is Reason.SLOW_READER
        assert [(await anext(quick)).height for _ in range(4)] == [0, 1, 2, 3]


async def test_who_waits_for_a_transaction_is_woken_by_its_block(autojump_clock: trio.testing.MockClock) -> None:
    feed = EventFeed()
    seen: list[str] = []

    async def wait(name: str, txid: bytes) -> None:
        await feed.committed(TxId(txid))
        seen.append(name)

    async with trio.open_nursery() as nursery:
        for name in ("a", "b"):
            nursery.start_soon(wait, name, b"x" * 32)
        nursery.start_soon(wait, "c", b"y" * 32)
        await trio.testing.wait_all_tasks_blocked()
        feed.publish(event(1, b"x" * 32))
        await trio.sleep(1)
        assert sorted(seen) == ["a", "b"]
        feed.publish(event(2, b"y" * 32))
    assert seen[-1] == "c"


async def test_who_gave_up_is_forgotten() -> None:
    feed = EventFeed()
    for _ in range(3):
        with trio.move_on_after(0.01):
            await feed.committed(TxId(b"x" * 32))
    assert not feed.awaited
