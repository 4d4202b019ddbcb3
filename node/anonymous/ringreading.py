"""From a node's API into a wallet's index of ring coins: all coins and all images, page by page, from where it ended.

It asks for what it has not seen yet by number, and for nothing else: the node learns that somebody has such a wallet
and how long it did not look, not which coins are its own.
"""

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import msgspec

from apps.anonymous.queries import MAX_PAGE
from apps.parameters import asset_parameter
from crypto.errors import Reason, Refused
from node.anonymous.index import Tell, no_words
from node.anonymous.ringindex import NotedCoin, RingIndex
from node.anonymous.ringkeys import PublicCoin
from node.api.methods import Ask, GetStatus, QueryModule
from state.types import HASH_SIZE, Height

P = TypeVar("P")
R = TypeVar("R")


class Answers(Protocol):
    """A node, as far as it is asked: `node.client.Client` is one."""

    def ask(self, ask: Ask[R], /) -> R:
        """Return the answer. Raises Refused."""
        ...


class _Coin(msgspec.Struct, frozen=True):
    number: int
    asset: str
    key: str
    commitment: str
    height: int
    note: str


class _Coins(msgspec.Struct, frozen=True):
    count: int
    coins: list[_Coin]


class _Images(msgspec.Struct, frozen=True):
    count: int
    images: list[str]


def scan_rings(client: Answers, index: RingIndex, tell: Tell = no_words) -> int:
    """Take in everything since the last scan; return how many new coins are the wallet's.

    It may be broken off between two pages and goes on there. 256 coins come with a page.

    Raises:
        Refused: of the client; PROTOCOL_VIOLATION for an answer that is none, or contradicts what it said before.
    """
    height = Height(int(client.ask(GetStatus()).height))
    images = _images(client, 0, 1).count
    if images < index.images:
        raise Refused(Reason.PROTOCOL_VIOLATION, "the node knows of fewer key images than there were")
    found = 0
    for page in _coin_pages(client, len(index.coins)):
        found += index.take_coins(map(_noted, page.coins))
        tell(f"{len(index.coins)} of {page.count} ring coins read")
    while index.images < images:
        shown = _images(client, index.images, MAX_PAGE).images[: images - index.images]
        if not shown:
            raise Refused(Reason.PROTOCOL_VIOLATION, "the node's pages of key images do not go on")
        index.take_images(map(_hash, shown))
        tell(f"{index.images} of {images} key images read")
    index.settle(height)
    return found


def _coin_pages(client: Answers, first: int) -> Iterator[_Coins]:
    while True:
        page = _ask(client, "anonymous/coins", first, MAX_PAGE, _Coins)
        if page.count < first:
            raise Refused(Reason.PROTOCOL_VIOLATION, "the node knows of fewer ring coins than there were")
        if not page.coins:
            return
        yield page
        first += len(page.coins)


def _images(client: Answers, first: int, limit: int) -> _Images:
    return _ask(client, "anonymous/images", first, limit, _Images)


def _ask(client: Answers, name: str, first: int, limit: int, kind: type[P]) -> P:
    asked: Ask[Any] = QueryModule(name=name, parameters={"from": str(first), "limit": str(limit)})
    try:
        return msgspec.convert(client.ask(asked).value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(Reason.PROTOCOL_VIOLATION, f"the node gives no page of {name}: {error}") from None


def _noted(row: _Coin) -> NotedCoin:
    try:
        asset, note = asset_parameter({"asset": row.asset}), bytes.fromhex(row.note)
    except (Refused, ValueError):
        raise Refused(Reason.PROTOCOL_VIOLATION, "the node gives a ring coin that is none") from None
    return NotedCoin(PublicCoin(row.number, asset, _hash(row.key), _hash(row.commitment), row.height), note)


def _hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_SIZE:
        raise Refused(Reason.PROTOCOL_VIOLATION, "the node gives bytes of a wrong length")
    return value
