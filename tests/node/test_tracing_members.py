"""What a lying node can say of the members of an anonymous payment."""

from typing import Any

import pytest

from crypto.errors import Reason
from node.anonymous.tracing import NOBODY, Members
from node.api.methods import QueryModule
from node.cli.tracing import members_of
from state.records import asset_text
from state.transaction import ACCOUNT_KEY_SIZE, AccountPayment, Ring, RingPayment, Transfer
from state.types import NATIVE
from tests.crypto.refusals import reason_of

NAMES = tuple(bytes([number]) * 32 for number in range(9))
ACCOUNTS = AccountPayment(NAMES, bytes(ACCOUNT_KEY_SIZE), ())
RINGS = RingPayment((Ring(NATIVE, tuple(range(11)), bytes(32), bytes(32)),), (), ())
COIN = {"asset": asset_text(NATIVE), "key": "00" * 32, "commitment": "00" * 32, "height": "3", "note": ""}


class Node:
    """Says the same to every question."""

    def __init__(self, told: Any) -> None:
        self.told = told
        self.asked: list[tuple[str, str]] = []

    def ask(self, question: QueryModule) -> Any:
        self.asked.append((question.name, question.height))
        return self

    @property
    def value(self) -> Any:
        return self.told


@pytest.mark.parametrize("told", [{}, [], None, {"account": []}, {"account": {}}, {"account": {"account": "zz"}}])
def test_accounts_that_are_none(told: Any) -> None:
    assert reason_of(members_of, Node(told), ACCOUNTS, None) is Reason.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    "told", [{}, None, {"coins": None}, {"coins": [None]}, {"coins": [{**COIN, "height": "x"}]},
             {"coins": [{**COIN, "note": "z"}]}, {"coins": [{"asset": COIN["asset"]}]}],
)  # fmt: skip
def test_ring_coins_that_are_none(told: Any) -> None:
    assert reason_of(members_of, Node(told), RINGS, None) is Reason.PROTOCOL_VIOLATION


def test_an_account_of_another_id_is_not_taken_and_coins_are() -> None:
    node = Node({"account": {"account": "00" * 128}})
    assert members_of(node, ACCOUNTS, None) == NOBODY  # type: ignore[arg-type]
    assert node.asked == [("anonymous/account", "latest")] * 9
    found = members_of(Node({"coins": [COIN]}), RINGS, None)  # type: ignore[arg-type]
    assert (set(found.coins), found.accounts) == (set(range(11)), {})
    assert {coin.height for coin in found.coins.values()} == {3}


def test_others_hide_nobody() -> None:
    node = Node({})
    assert members_of(node, Transfer((), ()), None) == Members({}, {})  # type: ignore[arg-type]
    assert node.asked == []
