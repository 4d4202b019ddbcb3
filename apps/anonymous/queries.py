"""Queries of the anonymous module."""

from collections.abc import Mapping
from typing import Any, Final

from apps.anonymous.records import (
    HELD,
    RING_POOL,
    KeptAccount,
    KeptCoin,
    account_at,
    count_accounts,
    count_coins,
    count_images,
    find_account,
    held,
    image_at,
    image_place,
    known_coin,
    ring_pool,
)
from apps.parameters import asset_parameter, count_parameter, hash_parameter
from crypto.errors import Reason, Refused
from state.changes import Reader
from state.records import asset_text, decode_amount
from state.types import NATIVE, AssetId

MAX_PAGE: Final = 255
"""Rows in one answer: what a light client can have proven, at two records a row. Of coins about 750 kB."""


def pools(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """anonymous/pools {asset}: what accounts (unxs alone) and ring coins of the asset hold, by their turnstiles."""
    asset = asset_parameter(parameters)
    return {
        "asset": asset_text(asset),
        "accounts": held(reader) if asset == NATIVE else 0,
        "rings": ring_pool(reader, asset),
    }


def account(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """anonymous/account {id}: one account; null if there is none of this id now."""
    name = hash_parameter(parameters, "id")
    found = find_account(reader, name)
    return {"account": None if found is None else _account(name, found)}


def accounts(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """anonymous/accounts {from, limit}: accounts by slot; `next` is where to go on, null at the end."""
    slots, page = _page(parameters, count_accounts(reader))
    found = [account_at(reader, slot) for slot in slots]
    return page | {"accounts": [_account(one.id, one.kept) for one in found if one is not None]}


def coins(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """anonymous/coins {from, limit}: ring coins by number; `next` is where to go on, null at the end."""
    numbers, page = _page(parameters, count_coins(reader))
    return page | {"coins": [_coin(number, known_coin(reader, number)) for number in numbers]}


def images(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """anonymous/images {from, limit}: key images in the order in which they were shown; `next` is where to go on."""
    places, page = _page(parameters, count_images(reader))
    found = [image_at(reader, place) for place in places]
    return page | {"images": [image.hex() for image in found if image is not None]}


def image(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """anonymous/image {image}: the place of a key image among all; null if it was never shown."""
    asked = hash_parameter(parameters, "image")
    return {"image": asked.hex(), "place": image_place(reader, asked)}


def _page(parameters: Mapping[str, str], count: int) -> tuple[range, dict[str, Any]]:
    """Return which of `count` rows a page has, and what it says of the others."""
    first = count_parameter(parameters, "from") if "from" in parameters else 0
    limit = count_parameter(parameters, "limit") if "limit" in parameters else MAX_PAGE
    if not 0 < limit <= MAX_PAGE:
        raise Refused(Reason.BAD_ARGUMENT, f"limit is 1 to {MAX_PAGE}")
    after = min(first + limit, count)
    return range(first, after), {"count": count, "next": after if after < count else None}


def _account(name: bytes, kept: KeptAccount) -> dict[str, Any]:
    return {"id": name.hex(), "account": kept.account.hex(), "slot": kept.slot, "height": int(kept.height)}


def _coin(number: int, kept: KeptCoin) -> dict[str, Any]:
    return {
        "number": number, "asset": asset_text(kept.asset), "key": kept.key.hex(), "commitment": kept.commitment.hex(),
        "height": int(kept.height), "note": kept.note.hex(),
    }  # fmt: skip


def supply_of(records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
    """Add what the turnstiles count: nobody can add up accounts and ring coins themselves."""
    for key, value in records.items():
        if key == HELD:
            totals[NATIVE] = totals.get(NATIVE, 0) + decode_amount(value)
        elif key.startswith(RING_POOL):
            asset = AssetId(key[len(RING_POOL) :])
            totals[asset] = totals.get(asset, 0) + decode_amount(value)
