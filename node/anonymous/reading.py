"""From a node's API into a wallet's index: all accounts, and in time whole blocks. It never asks for one account.

Pages are asked for as they were after one block. Otherwise a payment between two pages could move an account of ours
from one that is still to come into one that we have.
"""

from typing import Any, Final

import msgspec

from apps.anonymous.queries import MAX_PAGE
from crypto.errors import Reason, Refused
from node.anonymous.choosing import Renewed, renewed_by
from node.anonymous.index import AccountSet, SetAccount, Tell, no_words
from node.api.methods import GetBody, GetStatus, QueryModule
from node.client import Client
from state.transaction import ACCOUNT_SIZE, AccountPayment, decode_transaction
from state.types import Height

PAGE: Final = MAX_PAGE
"""Accounts in one answer."""
TRIES: Final = 3
"""Times that a reading begins anew because the node no longer keeps the state that it began with."""
MOST_BLOCKS: Final = 64
"""Blocks that are read to see what became of a set."""


class _Row(msgspec.Struct, frozen=True):
    id: str
    account: str
    slot: int
    height: int


class _Page(msgspec.Struct, frozen=True):
    count: int
    next: int | None
    accounts: list[_Row]


def read_accounts(client: Client, tell: Tell = no_words) -> AccountSet:
    """Return all accounts after the node's last block.

    Raises:
        Refused: of the client; PROTOCOL_VIOLATION for an answer that is none.
    """
    for _ in range(TRIES - 1):
        try:
            return _read_at(client, Height(int(client.ask(GetStatus()).height)), tell)
        except Refused as refused:
            if refused.reason is not Reason.NOT_AVAILABLE:
                raise
    return _read_at(client, Height(int(client.ask(GetStatus()).height)), tell)


def _read_at(client: Client, height: Height, tell: Tell) -> AccountSet:
    found: list[SetAccount] = []
    start: int | None = 0
    while start is not None:
        asked = QueryModule(
            name="anonymous/accounts", parameters={"from": str(start), "limit": str(PAGE)}, height=str(height)
        )
        page = _page(client.ask(asked).value)
        if page.next is not None and page.next <= start:
            raise Refused(Reason.PROTOCOL_VIOLATION, "the node's pages of accounts do not go on")
        found += map(_account, page.accounts)
        start = page.next
        if start is not None:
            tell(f"{len(found)} of {page.count} accounts read")
    return AccountSet(height, tuple(found))


def _page(value: Any) -> _Page:
    try:
        return msgspec.convert(value, _Page, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(Reason.PROTOCOL_VIOLATION, f"the node gives no page of accounts: {error}") from None


def _account(row: _Row) -> SetAccount:
    try:
        account = bytes.fromhex(row.account)
    except ValueError:
        account = b""
    if len(account) != ACCOUNT_SIZE:
        raise Refused(Reason.PROTOCOL_VIOLATION, "the node gives an account that is none")
    return SetAccount(account, Height(row.height))


def read_renewed(client: Client, above: Height, height: Height) -> tuple[Renewed, ...]:
    """Return the anonymous payments in the blocks above one up to another, in order.

    Raises:
        Refused: of the client; NOT_AVAILABLE for more than MOST_BLOCKS.
    """
    if height - above > MOST_BLOCKS:
        raise Refused(Reason.NOT_AVAILABLE, f"{height - above} blocks since")
    found = []
    for number in range(above + 1, height + 1):
        for raw in client.ask(GetBody(height=str(number))).transactions:
            payload = decode_transaction(raw).body.payload
            if isinstance(payload, AccountPayment):
                found.append(renewed_by(payload))
    return tuple(found)
