"""What of the anonymous module a chain that is started from this one's state begins with: all of it.

Records point at each other, so each is not enough by itself: what is carried over has to be of one piece, or a chain
would begin on which a slot, a number or a place leads nowhere.
"""

from collections.abc import Iterable, Mapping
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
    account_at,
    account_codec,
    account_id,
    coin_codec,
    count_accounts,
    count_coins,
    count_images,
    image_at,
    image_place,
    known_coin,
    place_bytes,
)
from apps.carrying import CarriedKind, as_amount, as_bytes, as_record, carrying
from apps.module import rebased
from crypto.elgamal import decode_account
from crypto.errors import Reason, Refused
from crypto.group import default
from crypto.ristretto import decode_nonzero
from state.types import HASH_SIZE, Height


def _rebase(kept: Any, height: int) -> Any:
    return replace(kept, height=rebased(kept.height, height))


_TABLE: Final = carrying(
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


def export(records: Iterable[tuple[bytes, bytes]], height: Height) -> Iterable[tuple[bytes, bytes]]:
    """Return all records of the module, heights counted from `height`.

    Raises:
        Refused: as the kinds of records; MALFORMED if they are not of one piece, BAD_POINT.
    """
    kept = dict(_TABLE(records, height))
    _check_accounts(kept)
    _check_coins(kept)
    _check_images(kept)
    return kept.items()


def _check_accounts(kept: Mapping[bytes, bytes]) -> None:
    count = count_accounts(kept)
    if not _number(kept, ACCOUNT) == _number(kept, SLOT) == count:
        raise Refused(Reason.MALFORMED, f"there are {count} slots, {_number(kept, ACCOUNT)} anonymous accounts")
    for slot in range(count):
        found = account_at(kept, slot)
        if found is None or found.kept.slot != slot or account_id(found.kept.account) != found.id:
            raise Refused(Reason.MALFORMED, f"slot {slot} holds no anonymous account")
        decode_account(default(), found.kept.account)


def _check_coins(kept: Mapping[bytes, bytes]) -> None:
    count = count_coins(kept)
    if not _number(kept, COIN) == _number(kept, COIN_KEY) == count:
        raise Refused(Reason.MALFORMED, f"there are to be {count} ring coins, there are {_number(kept, COIN)}")
    for number in range(count):
        coin = known_coin(kept, number)
        if kept.get(COIN_KEY + coin.key) != place_bytes(number):
            raise Refused(Reason.MALFORMED, f"the key of ring coin {number} does not lead to it")
        for point in (coin.key, coin.commitment):
            decode_nonzero(default(), point)


def _check_images(kept: Mapping[bytes, bytes]) -> None:
    count = count_images(kept)
    if not _number(kept, IMAGE) == _number(kept, SPENT) == count:
        raise Refused(Reason.MALFORMED, f"there are to be {count} key images, there are {_number(kept, IMAGE)}")
    for place in range(count):
        image = image_at(kept, place)
        if image is None or image_place(kept, image) != place:
            raise Refused(Reason.MALFORMED, f"the key image of place {place} does not lead to it")


def _number(kept: Mapping[bytes, bytes], prefix: bytes) -> int:
    return sum(key.startswith(prefix) for key in kept)


EXPORT: Final = export
