"""Records of the anonymous module. Numbers inside keys and places as values are 8 bytes, big-endian.

    key                         value
    anonymous/account/ id       KeptAccount; the id is H(anonymous-account, its 128 bytes)
    anonymous/slot/ slot        id of the account that is there: slots run from 0 without a gap
    anonymous/slots             number of slots
    anonymous/held              turnstile of the accounts: unxs that went in less what came out, fees included
    anonymous/coin/ number      KeptCoin; ring coins are never removed
    anonymous/coins             number of ring coins
    anonymous/coinkey/ key      number of the ring coin with this key: no key comes twice
    anonymous/image/ image      place of the key image among all
    anonymous/spent/ place      the key image of this place
    anonymous/images            number of key images: of ring coins that were spent
    anonymous/pool/ asset       turnstile of an asset's ring coins
"""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from crypto.errors import Reason, Refused
from crypto.hashing import Label, hasher
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.ledger import read_number, write_number
from state.transaction import ACCOUNT_SIZE, NOTE_SIZE, RingCoin
from state.types import Amount, AssetField, AssetId, Hash32, Height, HeightField, Unsigned

ACCOUNT: Final = b"anonymous/account/"
SLOT: Final = b"anonymous/slot/"
SLOTS: Final = b"anonymous/slots"
HELD: Final = b"anonymous/held"
COIN: Final = b"anonymous/coin/"
COINS: Final = b"anonymous/coins"
COIN_KEY: Final = b"anonymous/coinkey/"
IMAGE: Final = b"anonymous/image/"
SPENT: Final = b"anonymous/spent/"
IMAGES: Final = b"anonymous/images"
RING_POOL: Final = b"anonymous/pool/"
PLACE_SIZE: Final = 8
"""Bytes of a slot, a number or a place."""

account_id: Final = hasher(Label.ANONYMOUS_ACCOUNT)
"""Returns the id of an account, given its 128 bytes."""


class KeptAccount(Record, frozen=True):
    """An account: its bytes, its slot, and the height of the block that renewed it last."""

    account: Annotated[bytes, Meta(min_length=ACCOUNT_SIZE, max_length=ACCOUNT_SIZE)]
    slot: Unsigned
    height: HeightField


class KeptCoin(Record, frozen=True):
    """A ring coin, and the height of the block that made it."""

    asset: AssetField
    key: Hash32
    commitment: Hash32
    height: HeightField
    note: Annotated[bytes, Meta(min_length=NOTE_SIZE, max_length=NOTE_SIZE)]


account_codec: Final = Codec(KeptAccount)
coin_codec: Final = Codec(KeptCoin)


class Slotted(NamedTuple):
    """The account that a slot holds, with its id."""

    id: bytes
    kept: KeptAccount


def place_bytes(place: int) -> bytes:
    """Return how keys and values write a slot, a number or a place."""
    return place.to_bytes(PLACE_SIZE, "big")


# ---- accounts


def find_account(reader: Reader, name: bytes) -> KeptAccount | None:
    """Return the account of this id, or None."""
    value = reader.get(ACCOUNT + name)
    return None if value is None else account_codec.decode(value)


def known_account(reader: Reader, name: bytes) -> KeptAccount:
    """Return the account of this id. Raises Refused(ACCOUNT_NOT_FOUND)."""
    found = find_account(reader, name)
    if found is None:
        raise Refused(Reason.ACCOUNT_NOT_FOUND, f"there is no anonymous account {name.hex()} now")
    return found


def count_accounts(reader: Reader) -> int:
    """Return how many accounts there are: their slots are 0 up to this, not included."""
    return read_number(reader, SLOTS)


def account_at(reader: Reader, slot: int) -> Slotted | None:
    """Return the account in a slot, or None behind the last one."""
    name = reader.get(SLOT + place_bytes(slot))
    return None if name is None else Slotted(name, known_account(reader, name))


def check_free(reader: Reader, account: bytes) -> None:
    """Check that no account has these bytes. Raises Refused(ACCOUNT_EXISTS)."""
    if reader.get(ACCOUNT + account_id(account)) is not None:
        raise Refused(Reason.ACCOUNT_EXISTS, f"there is an anonymous account {account_id(account).hex()} already")


def put_account(state: Overlay, account: bytes, slot: int, height: Height) -> bytes:
    """Write an account into a slot, whatever the slot held; return its id."""
    name = account_id(account)
    state.put(ACCOUNT + name, encode(KeptAccount(account, slot, height)))
    state.put(SLOT + place_bytes(slot), name)
    return name


def append_account(state: Overlay, account: bytes, height: Height) -> bytes:
    """Add an account behind the last one; return its id."""
    slot = count_accounts(state)
    write_number(state, SLOTS, slot + 1)
    return put_account(state, account, slot, height)


def forget_account(state: Overlay, name: bytes) -> None:
    """Remove an account whose slot is about to hold another one."""
    state.delete(ACCOUNT + name)


def remove_account(state: Overlay, name: bytes) -> None:
    """Remove an account; the account in the last slot moves into the hole, unchanged otherwise.

    Raises:
        Refused: ACCOUNT_NOT_FOUND.
    """
    gone = known_account(state, name)
    forget_account(state, name)
    last = count_accounts(state) - 1
    end = SLOT + place_bytes(last)
    if gone.slot != last:
        moving = state.get(end) or b""
        moved = known_account(state, moving)
        put_account(state, moved.account, gone.slot, moved.height)
    state.delete(end)
    write_number(state, SLOTS, last)


def held(reader: Reader) -> Amount:
    """Return how many unxs are in accounts: what went in less what came out."""
    return read_number(reader, HELD)


def add_held(state: Overlay, amount: int) -> None:
    """Count what enters the accounts (above 0) or leaves them (below). Raises Refused(TURNSTILE_OVERDRAWN)."""
    total = held(state) + amount
    if total < 0:
        raise Refused(Reason.TURNSTILE_OVERDRAWN, f"{-amount} unxs would leave the accounts, which hold {held(state)}")
    write_number(state, HELD, total)


# ---- ring coins


def count_coins(reader: Reader) -> int:
    """Return how many ring coins there are: their numbers are 0 up to this, not included."""
    return read_number(reader, COINS)


def find_coin(reader: Reader, number: int) -> KeptCoin | None:
    """Return the ring coin of a number, or None."""
    value = reader.get(COIN + place_bytes(number))
    return None if value is None else coin_codec.decode(value)


def known_coin(reader: Reader, number: int) -> KeptCoin:
    """Return the ring coin of a number. Raises Refused(COIN_NOT_FOUND)."""
    found = find_coin(reader, number)
    if found is None:
        raise Refused(Reason.COIN_NOT_FOUND, f"there is no ring coin {number}, there are {count_coins(reader)}")
    return found


def check_new_key(reader: Reader, key: bytes) -> None:
    """Check that no ring coin ever had this key. Raises Refused(COIN_KEY_USED)."""
    if reader.get(COIN_KEY + key) is not None:
        raise Refused(Reason.COIN_KEY_USED, f"a ring coin has the key {key.hex()} already")


def add_coin(state: Overlay, coin: RingCoin, height: Height) -> int:
    """Add a ring coin whose key is new; return its number."""
    number = count_coins(state)
    write_number(state, COINS, number + 1)
    kept = KeptCoin(coin.asset, coin.key, coin.commitment, height, coin.note)
    state.put(COIN + place_bytes(number), encode(kept))
    state.put(COIN_KEY + coin.key, place_bytes(number))
    return number


def count_images(reader: Reader) -> int:
    """Return how many key images there are: their places are 0 up to this, not included."""
    return read_number(reader, IMAGES)


def image_place(reader: Reader, image: bytes) -> int | None:
    """Return the place of a key image, or None if it was never shown."""
    value = reader.get(IMAGE + image)
    return None if value is None else int.from_bytes(value, "big")


def check_new_image(reader: Reader, image: bytes) -> None:
    """Check that a key image was never shown. Raises Refused(IMAGE_USED)."""
    if reader.get(IMAGE + image) is not None:
        raise Refused(Reason.IMAGE_USED, f"the key image {image.hex()} was shown before: the coin is spent")


def image_at(reader: Reader, place: int) -> bytes | None:
    """Return the key image of a place, or None."""
    return reader.get(SPENT + place_bytes(place))


def add_image(state: Overlay, image: bytes) -> int:
    """Add a key image that is new; return its place."""
    place = count_images(state)
    write_number(state, IMAGES, place + 1)
    state.put(IMAGE + image, place_bytes(place))
    state.put(SPENT + place_bytes(place), image)
    return place


def ring_pool(reader: Reader, asset: AssetId) -> Amount:
    """Return how much of an asset is in ring coins: what went in less what came out."""
    return read_number(reader, RING_POOL + asset)


def add_ring_pool(state: Overlay, asset: AssetId, amount: int) -> None:
    """Count what enters ring coins (above 0) or leaves them (below). Raises Refused(TURNSTILE_OVERDRAWN)."""
    total = ring_pool(state, asset) + amount
    if total < 0:
        raise Refused(
            Reason.TURNSTILE_OVERDRAWN, f"{-amount} would leave the ring coins, which hold {ring_pool(state, asset)}"
        )
    write_number(state, RING_POOL + asset, total)
