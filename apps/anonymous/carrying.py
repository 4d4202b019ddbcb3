"""What of the anonymous module a chain that is started from this one's state begins with: all of it."""

from typing import Any, Final

from msgspec.structs import replace

from apps.anonymous.records import (
    ACCOUNT,
    COIN,
    COIN_KEY,
    COINS,
    HELD,
    IMAGE,
    IMAGES,
    PLACE_SIZE,
    RING_POOL,
    SLOT,
    SLOTS,
    SPENT,
    account_codec,
    coin_codec,
)
from apps.carrying import CarriedKind, as_amount, as_bytes, as_record, carrying
from apps.module import rebased
from state.types import HASH_SIZE


def _rebase(kept: Any, height: int) -> Any:
    return replace(kept, height=rebased(kept.height, height))


EXPORT: Final = carrying(
    CarriedKind(ACCOUNT, (HASH_SIZE,), as_record(account_codec, _rebase)),
    CarriedKind(SLOT, (PLACE_SIZE,), as_bytes(HASH_SIZE, HASH_SIZE)),
    CarriedKind(SLOTS, (0,), as_amount),
    CarriedKind(HELD, (0,), as_amount),
    CarriedKind(COIN, (PLACE_SIZE,), as_record(coin_codec, _rebase)),
    CarriedKind(COINS, (0,), as_amount),
    CarriedKind(COIN_KEY, (HASH_SIZE,), as_bytes(PLACE_SIZE, PLACE_SIZE)),
    CarriedKind(IMAGE, (HASH_SIZE,), as_bytes(PLACE_SIZE, PLACE_SIZE)),
    CarriedKind(SPENT, (PLACE_SIZE,), as_bytes(HASH_SIZE, HASH_SIZE)),
    CarriedKind(IMAGES, (0,), as_amount),
    CarriedKind(RING_POOL, (0, HASH_SIZE), as_amount),
)
