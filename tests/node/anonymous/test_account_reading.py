"""Accounts page by page as they were after one block; blocks for those who have to prove again; nodes that lie."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from apps.anonymous.queries import MAX_PAGE
from crypto.errors import Reason, Refused
from node.anonymous.index import AccountSet, SetAccount
from node.anonymous.insisting import Fate
from node.anonymous.reading import MOST_BLOCKS, read_accounts, read_renewed
from node.api.methods import GetBody, GetStatus, GetTransactionStatus, QueryModule
from node.cli import anonymity
from node.cli.anonymity import GONE, RemoteNode
from node.client import Client
from state.types import Height, TxId

ROWS = [bytes([number % 256, number // 256]) * 64 for number in range(2 * MAX_PAGE + 3)]


class Answer:
    """Anything with these fields."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class Answers:
    """A node that has ROWS, one account a block, and the last block at 600; `change` falsifies its pages."""

    def __init__(self, change: Callable[[Any], Any] = lambda page: page) -> None:
        self.asked: list[Any] = []
        self.gone = 0
        self.change = change
        self.statuses: list[str] = []

    def ask(self, ask: Any) -> Any:
        self.asked.append(ask)
        if isinstance(ask, GetStatus):
            return Answer(height=600 + len(self.asked))
        if isinstance(ask, GetBody):
            return Answer(transactions=[])
        if isinstance(ask, GetTransactionStatus):
            status = self.statuses.pop(0)
            return Answer(status=status, height="7" if status == "succeeded" else None, reason="")
        assert isinstance(ask, QueryModule) and ask.name == "anonymous/accounts" and ask.height != "latest"
        if self.gone:
            self.gone -= 1
            raise Refused(Reason.NOT_AVAILABLE, "")
        first = int(ask.parameters["from"])
        after = min(len(ROWS), first + int(ask.parameters["limit"]))
        rows = [
            {"id": "", "account": ROWS[slot].hex(), "slot": str(slot), "height": str(slot)}
            for slot in range(first, after)
        ]
        page = {"count": str(len(ROWS)), "next": str(after) if after < len(ROWS) else None, "accounts": rows}
        return Answer(value=self.change(page))


def read(node: Answers) -> AccountSet:
    return read_accounts(cast(Client, node))


def test_all_pages_after_one_block() -> None:
    node = Answers()
    found = read(node)
    assert found.accounts == tuple(SetAccount(row, Height(slot)) for slot, row in enumerate(ROWS))
    pages = [ask for ask in node.asked if isinstance(ask, QueryModule)]
    assert [int(ask.parameters["from"]) for ask in pages] == [0, MAX_PAGE, 2 * MAX_PAGE]
    assert {ask.height for ask in pages} == {str(found.height)}
    # nothing in what was asked depends on whose accounts they are
    assert {name for ask in pages for name in ask.parameters} == {"from", "limit"}


def test_a_state_that_is_no_longer_kept_is_read_anew() -> None:
    node = Answers()
    node.gone = 2
    assert len(read(node).accounts) == len(ROWS)
    node.gone = 3
    with pytest.raises(Refused) as refused:
        read(node)
    assert refused.value.reason is Reason.NOT_AVAILABLE


def with_row(**fields: Any) -> Callable[[Any], Any]:
    return lambda page: page | {"accounts": [page["accounts"][0] | fields, *page["accounts"][1:]]}


@pytest.mark.parametrize("change", [
    lambda page: {}, lambda page: None, lambda page: page | {"next": "0"}, lambda page: page | {"accounts": None},
    with_row(account="00"), with_row(account="zz" * 128), with_row(account=7), with_row(height=None),
    with_row(height="x"),
])  # fmt: skip
def test_pages_that_are_none(change: Callable[[Any], Any]) -> None:
    with pytest.raises(Refused) as refused:
        read(Answers(change))
    assert refused.value.reason is Reason.PROTOCOL_VIOLATION


def test_blocks_since() -> None:
    node = Answers()
    assert read_renewed(cast(Client, node), Height(3), Height(6)) == ()
    assert [ask.height for ask in node.asked] == ["4", "5", "6"]
    with pytest.raises(Refused) as refused:
        read_renewed(cast(Client, node), Height(0), Height(MOST_BLOCKS + 1))
    assert refused.value.reason is Reason.NOT_AVAILABLE


def test_when_a_payment_counts_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anonymity, "POLL", 0.0)
    node, txid = Answers(), TxId(bytes(32))
    remote = RemoteNode(cast(Client, node), lambda _text: None, 60.0)
    node.statuses = ["waiting", *["unknown"] * (GONE - 1), "waiting", "succeeded"]
    assert remote.settled(txid) == Fate("succeeded", Height(7))
    node.statuses = ["waiting", *["unknown"] * GONE]
    assert remote.settled(txid).status == "unknown"
    node.statuses = ["failed"]
    assert remote.settled(txid).status == "failed"
    node.statuses = ["waiting"]
    assert RemoteNode(cast(Client, node), lambda _text: None, -1.0).settled(txid).status == "waiting"
