"""Between a node's API and peers of stock libp2p: what may be asked, and what is said when it may not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import json

from crypto.errors import Reason, Refused
from node.api.methods import METHODS
from node.client import AsyncClient

pytest.importorskip("libp2p")

from node.interop.gateway import OPEN, Gateway, load_seed
from tests.node.served import Served, served_node


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with served_node(tmp_path) as running:
        yield running


async def reason_of(gateway: Gateway, question: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        await gateway.answer(question)
    return caught.value.reason


async def test_answers_are_those_of_the_api(served: Served) -> None:
    gateway = Gateway(served.client)
    answer = json.decode(await gateway.answer(b'{"method": "genesis"}'))
    assert answer["result"]["chain_id"] == served.node.service.chain_id.hex()
    assert await reason_of(gateway, b'{"method": "header", "params": {"height": "900"}}') is Reason.NOT_AVAILABLE


async def test_what_is_no_question_is_refused_by_name(served: Served) -> None:
    gateway = Gateway(served.client)
    for nonsense in (b"", b"[]", b"\xff", b'{"method": 5}', b'{"method": "header", "more": 1}', b"[" * 4000):
        assert await reason_of(gateway, nonsense) is Reason.MALFORMED
    assert await reason_of(gateway, b'{"method": "header", "params": {"height": 5}}') is Reason.MALFORMED


async def test_what_changes_or_shows_the_node_cannot_be_asked(served: Served) -> None:
    gateway = Gateway(served.client)
    closed = {method.name for method in METHODS} - OPEN
    assert closed >= {"submit", "report_evidence", "simulate", "peers", "mempool", "status"}
    for name in closed:
        assert await reason_of(gateway, json.encode({"method": name})) is Reason.UNKNOWN_METHOD
    assert all(method.verb == "GET" or method.name == "query" for method in METHODS if method.name in OPEN)


async def test_a_node_that_is_away_is_not_named_to_strangers() -> None:
    async with AsyncClient("http://[::1]:1") as client:
        with pytest.raises(Refused) as caught:
            await Gateway(client).answer(b'{"method": "genesis"}')
    assert caught.value.reason is Reason.NOT_AVAILABLE
    assert "::1" not in caught.value.detail


def test_the_key_stays_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "open_listener.key"
    seed = load_seed(path)
    assert load_seed(path) == seed and path.stat().st_mode & 0o077 == 0
    path.write_text("12")
    with pytest.raises(Refused) as caught:
        load_seed(path)
    assert caught.value.reason is Reason.BAD_KEY_FILE
