"""Anonymous accounts and ring coins in a chain that goes on from another one's state."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from apps.anonymous.records import (
    ACCOUNT,
    COIN,
    COIN_KEY,
    COINS,
    HELD,
    IMAGE,
    IMAGES,
    SLOT,
    SLOTS,
    SPENT,
    account_at,
    account_codec,
    account_id,
    coin_codec,
    place_bytes,
)
from apps.genesis import carried_records, init_genesis
from apps.supply import supply_differences
from crypto.errors import Reason, Refused
from state.encoding import encode
from state.genesis import CarriedRecord
from state.records import encode_amount
from state.types import Height
from tests.apps.crowd import FEE, Crowd
from tests.apps.ringing import RingVault
from tests.apps.test_carrying import changed, exported, first_state
from tests.apps.world import World

MODULE = b"anonymous/"


@pytest.fixture(scope="module")
def lived() -> World:
    """A state with something of every kind that the anonymous module keeps."""
    world = World()
    crowd, vault = Crowd(world), RingVault(world)
    world.block(crowd.pay("m0", FEE))
    members = vault.fill()
    world.block(vault.pay([(3, members)], [vault.new(5 * FEE), vault.new(4 * FEE + 3000)]))
    return world


def test_everything_is_taken_over(lived: World) -> None:
    state = first_state(exported(lived))
    assert supply_differences(state) == {}
    before = {key: value for key, value in lived.records.items() if key.startswith(MODULE)}
    after = {key: value for key, value in state.items() if key.startswith(MODULE)}
    assert before.keys() == after.keys()
    for prefix in (ACCOUNT, SLOT, SLOTS, HELD, COIN, COINS, COIN_KEY, IMAGE, SPENT, IMAGES, b"anonymous/pool/"):
        assert any(key.startswith(prefix) for key in after)
    for key, value in after.items():
        if key.startswith(ACCOUNT):
            assert account_codec.decode(value).height == 0
        elif key.startswith(COIN):
            assert coin_codec.decode(value).height == 0
        else:
            assert before[key] == value
    assert carried_records(sorted(state.items()), Height(0)) == exported(lived).carried


def first(world: World) -> tuple[bytes, bytes]:
    """Id and record of the account in slot 0, as the new chain has it."""
    found = account_at(first_state(exported(world)), 0)
    assert found is not None
    return found.id, encode(found.kept)


WRONG: dict[str, Callable[[World], dict[bytes, bytes]]] = {
    "slots too many": lambda _: {SLOTS: encode_amount(11)},
    "slots too few": lambda _: {SLOTS: encode_amount(9)},
    "a slot that leads nowhere": lambda _: {SLOT + place_bytes(0): bytes(32)},
    "an account in two slots": lambda world: {SLOT + place_bytes(1): first(world)[0]},
    "an account in no slot": lambda world: {ACCOUNT + bytes(32): first(world)[1]},
    "an account of another id": lambda world: {
        ACCOUNT + bytes(32): encode(replace(account_codec.decode(first(world)[1]), slot=10)),
        SLOT + place_bytes(10): bytes(32), SLOTS: encode_amount(11),
    },
    "coins too many": lambda _: {COINS: encode_amount(14)},
    "coins too few": lambda _: {COINS: encode_amount(12)},
    "a key of no coin": lambda _: {COIN_KEY + bytes(32): place_bytes(0)},
    "a commitment that is none": lambda world: {COIN + place_bytes(0): encode(replace(
        coin_codec.decode(first_state(exported(world))[COIN + place_bytes(0)]), commitment=b"\xff" * 32))},
    "a key of another coin": lambda world: {COIN_KEY + coin_codec.decode(
        world.records[COIN + place_bytes(0)]).key: place_bytes(1)},
    "an image too many": lambda _: {IMAGE + bytes(32): place_bytes(1)},
    "an image of another place": lambda world: {
        IMAGE + world.records[SPENT + place_bytes(0)]: place_bytes(1)
    },
    "an image that is forgotten": lambda _: {SPENT + place_bytes(0): bytes(32)},
    "more in the accounts than there is": lambda _: {HELD: encode_amount(1)},
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_of_one_piece_is_refused(lived: World, what: str) -> None:
    records = {"k" + key.hex(): value for key, value in WRONG[what](lived).items()}
    with pytest.raises(Refused) as caught:
        init_genesis(changed(exported(lived), **records))
    assert caught.value.reason is Reason.BAD_GENESIS


def test_an_account_that_is_none_is_refused(lived: World) -> None:
    _, record = first(lived)
    kept = account_codec.decode(record)
    bad = replace(kept, account=b"\xff" * 128)
    genesis = exported(lived)
    records = {one.key: one.value for one in genesis.carried}
    del records[ACCOUNT + account_id(kept.account)]
    records |= {ACCOUNT + account_id(bad.account): encode(bad), SLOT + place_bytes(0): account_id(bad.account)}
    carried = tuple(CarriedRecord(key, records[key]) for key in sorted(records))
    with pytest.raises(Refused) as caught:
        init_genesis(replace(genesis, carried=carried))
    assert caught.value.reason is Reason.BAD_GENESIS
