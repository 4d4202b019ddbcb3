"""What a chain takes over from another one: exact, complete, counted from the new start; and what is refused."""

from typing import Any

import pytest
from msgspec.structs import replace

from apps.genesis import carried_records, init_genesis
from apps.staking.leaving import entries_of, entry_amount
from apps.staking.messages import Delegate, Redelegate, Unbond
from apps.staking.records import KEY, OPERATOR, POOL, get_operator, pool_of, position_of, power_of
from apps.supply import supply_differences
from apps.token.messages import Approve, Freeze, Issue, Lock, Unlock
from consensus.types import EMPTY_COMMIT
from crypto.errors import Reason, Refused
from state import ledger, records
from state.encoding import encode
from state.genesis import CarriedRecord, Genesis, GenesisBalance, GenesisValidator, genesis_hash
from state.genesis_json import genesis_from_json, genesis_to_json
from state.params import ChainParams
from state.records import asset_id, balance_key, lock_key, nonce_key, output_key, supply_key
from state.transaction import NO_SCRIPT, Memo, State
from state.types import NATIVE, Amount, Height, TxId
from tests.apps.staking_world import NXS, OPERATORS, RULES, SECURITY, miss, spare_key, staking_world
from tests.apps.world import CHAIN, GENESIS_ID, World, address, deposit, make_genesis

ALICE, BOB = address("alice"), address("bob")
OP1, OP2, OP3 = (address(name) for name in OPERATORS)
GOLD = asset_id(address("issuer"), "gold")


@pytest.fixture
def lived() -> World:
    """A state with something of every kind that the token and auth modules keep."""
    memo = Memo(NO_SCRIPT, ALICE, NATIVE, bytes(32), b"hi", Height(3), Height(50))
    gone = State(0, NO_SCRIPT, ALICE, NATIVE, bytes(32), (b"x",), Height(0), Height(2))
    world = World(more=(memo, gone))
    world.does("issuer", Issue("gold", 2, Amount(1000), True, True, True))
    world.does("issuer", deposit(GOLD, ("alice", 30), ("bob", 40)))
    world.does("issuer", Freeze(GOLD, BOB))
    world.does("alice", Lock(NATIVE, Amount(77), Height(40)), Approve(NATIVE, BOB, Amount(5)))
    return world


def exported(world: World) -> Genesis:
    """The document of a chain that goes on from here, with those of the first validators that are not in jail."""
    carried = carried_records(sorted(world.records.items()), Height(world.height))
    document = make_genesis((), ChainParams())
    validators = tuple(
        replace(one, power=power_of(pool_of(world.records, one.operator).amount)) for one in document.validators
        if not get_operator(world.records, one.operator).jailed
    )
    return replace(document, name="second", validators=validators, carried=carried)


def first_state(genesis: Genesis) -> dict[bytes, bytes]:
    return {key: value for key, value in init_genesis(genesis) if value is not None}


def test_money_is_taken_over_and_heights_are_rebased(lived: World) -> None:
    state = first_state(exported(lived))
    assert supply_differences(state) == {}
    for kind in ("token/balance", "token/allowance", "token/asset", "token/supply", "token/frozen", "auth"):
        prefix = kind.encode() + b"/"
        before = {key: value for key, value in lived.records.items() if key.startswith(prefix)}
        assert before and before == {key: value for key, value in state.items() if key.startswith(prefix)}
    assert state[b"chain/fees"] == lived.records[b"chain/fees"]
    (lock,) = [records.decode_lock(value) for key, value in state.items() if key.startswith(b"token/lock/")]
    assert (lock.amount, lock.release_height) == (77, 40 - lived.height)
    memo = records.decode_output(state[output_key(TxId(CHAIN), 0)])
    assert isinstance(memo, Memo) and (memo.not_before, memo.not_after) == (0, 50 - lived.height)
    gone = records.decode_output(state[output_key(TxId(CHAIN), 1)])
    assert isinstance(gone, State) and (gone.not_before, gone.not_after) == (0, 0)
    assert sum(key.startswith(b"utxo/") for key in state) == 4
    assert not any(key.startswith(b"chain/anchor/") for key in state)


def test_the_document_says_the_same_in_both_forms(lived: World) -> None:
    genesis = exported(lived)
    again = genesis_from_json(genesis_to_json(genesis))
    assert again == genesis and genesis_hash(again) == genesis_hash(genesis)


def test_an_export_of_the_first_state_is_the_same(lived: World) -> None:
    genesis = exported(lived)
    assert carried_records(sorted(first_state(genesis).items()), Height(0)) == genesis.carried


def changed(genesis: Genesis, **records: Any) -> Genesis:
    """Return the document with records added or replaced, by the hexadecimal text of their keys."""
    carried = {record.key: record.value for record in genesis.carried}
    carried |= {bytes.fromhex(key[1:]): value for key, value in records.items()}
    return replace(genesis, carried=tuple(CarriedRecord(key, carried[key]) for key in sorted(carried)))


@pytest.mark.parametrize(("key", "value"), [
    (b"chain/params", encode(ChainParams())),
    (b"chain/anchor/" + bytes(32), bytes(8)),
    (b"nobody/has/this", b"x"),
    (b"token/balance/" + bytes(5), encode(1)),
    (balance_key(ALICE, NATIVE), encode(0)),
    (balance_key(ALICE, NATIVE), encode(-1)),
    (balance_key(ALICE, NATIVE), b"\xd3" + bytes(7) + b"\x01"),
    (balance_key(ALICE, NATIVE), b""),
    (nonce_key(ALICE), encode("x")),
    (lock_key(ALICE, bytes(32)), encode(1)),
    (balance_key(address("new"), NATIVE), encode(1)),
    (supply_key(GOLD), encode(1)),
], ids=lambda value: repr(value)[:24])
def test_wrong_records_are_refused(lived: World, key: bytes, value: bytes) -> None:
    genesis = changed(exported(lived), **{"k" + key.hex(): value})
    with pytest.raises(Refused) as caught:
        init_genesis(genesis)
    assert caught.value.reason is Reason.BAD_GENESIS


def test_wrong_documents_are_refused(lived: World) -> None:
    genesis = exported(lived)
    wrong = (
        replace(genesis, carried=genesis.carried[::-1]),
        replace(genesis, carried=(*genesis.carried, genesis.carried[-1])),
        replace(genesis, carried=tuple(one for one in genesis.carried if one.key != balance_key(ALICE, NATIVE))),
        replace(genesis, balances=(GenesisBalance(ALICE, "nxs", Amount(1)),)),
    )
    for document in wrong:
        with pytest.raises(Refused) as caught:
            init_genesis(document)
        assert caught.value.reason is Reason.BAD_GENESIS


def hexed(key: bytes) -> str:
    return "k" + key.hex()


def disagreements(genesis: Genesis) -> dict[str, tuple[str, Genesis]]:
    """Documents whose validators are not those of the carried stake, and the field that is wrong in each."""
    first, second, third = genesis.validators
    state = {record.key: record.value for record in genesis.carried}
    found, other = get_operator(state, first.operator), get_operator(state, second.operator)

    def with_validators(*validators: GenesisValidator) -> Genesis:
        return replace(genesis, validators=validators)

    def with_operator(**changes: Any) -> Genesis:
        return changed(genesis, **{hexed(OPERATOR + first.operator): encode(replace(found, **changes))})

    def without(key: bytes) -> Genesis:
        return replace(genesis, carried=tuple(one for one in genesis.carried if one.key != key))

    return {
        "more power": ("validators[2].power", with_validators(first, second, replace(third, power=third.power + 1))),
        "less power": ("validators[0].power", with_validators(replace(second, power=1), third)),
        "another key": (
            "validators[0].public_key", with_validators(replace(first, public_key=spare_key(0).public_key), second)
        ),
        "keys swapped": ("validators[0].public_key", with_validators(
            replace(first, public_key=second.public_key), replace(second, public_key=first.public_key)
        )),
        "no operator": ("validators[0].operator", with_validators(replace(first, operator=ALICE), second)),
        "its record is missing": ("validators[0].operator", without(OPERATOR + first.operator)),
        "its key is nobody's": ("validators[0].public_key", without(KEY + found.address)),
        "its key is another's": (
            "validators[0].public_key", changed(genesis, **{hexed(KEY + found.address): second.operator})
        ),
        "the record has another key": ("validators[0].public_key", with_operator(public_key=other.public_key)),
        "in jail": ("validators[0].operator", with_operator(jailed_until=Height(1))),
        "tombstoned": ("validators[0].operator", with_operator(tombstoned=True)),
        "its stake is missing": ("validators[0].power", without(POOL + first.operator)),
    }


@pytest.mark.parametrize("name", [
    "more power", "less power", "another key", "keys swapped", "no operator", "its record is missing",
    "its key is nobody's", "its key is another's", "the record has another key", "in jail", "tombstoned",
    "its stake is missing",
])
def test_validators_that_are_not_those_of_the_carried_stake_are_refused(lived: World, name: str) -> None:
    field, document = disagreements(exported(lived))[name]
    with pytest.raises(Refused) as caught:
        init_genesis(document)
    assert caught.value.reason is Reason.BAD_GENESIS
    assert caught.value.detail.startswith(f"{field}: ")


def test_a_chain_may_begin_without_some_of_the_operators(lived: World) -> None:
    genesis = exported(lived)
    state = first_state(replace(genesis, validators=genesis.validators[1:]))
    assert supply_differences(state) == {}
    assert pool_of(state, OP1) == pool_of(lived.records, OP1)


def test_the_new_chain_goes_on_from_there(lived: World) -> None:
    old = lived.height
    state = first_state(exported(lived))
    lived.records.clear()
    lived.records.update(state)
    lived.height, lived.tip, lived.last_commit = 0, GENESIS_ID, EMPTY_COMMIT
    (identity,) = ledger.lock_ids(lived.records, ALICE)
    assert lived.fails("alice", Unlock(identity)) is Reason.LOCKED
    while lived.height < 40 - old - 1:
        lived.block()
    lived.does("alice", Unlock(identity))
    assert lived.height == 40 - old


def test_stake_is_taken_over_and_what_is_on_its_way_waits_anew() -> None:
    world = staking_world()
    world.does("alice", Delegate(OP1, Amount(9 * NXS)), Delegate(OP2, Amount(5 * NXS)), Delegate(OP3, Amount(4 * NXS)))
    world.does("alice", Unbond(OP1, Amount(NXS)), Redelegate(OP2, OP3, Amount(2 * NXS)))
    while world.height < 5:
        world.block()
    world.does("alice", Unbond(OP1, Amount(3 * NXS)))  # a second epoch
    for _ in range(3):
        miss(world, "op1")
    jailed = get_operator(world.records, OP1)
    assert jailed.jailed
    genesis = replace(exported(world), security=SECURITY, staking=RULES)
    state = first_state(genesis)
    assert supply_differences(state) == {}
    assert carried_records(sorted(state.items()), Height(0)) == genesis.carried
    for operator in (OP1, OP2, OP3):
        assert pool_of(state, operator) == pool_of(world.records, operator)
    assert get_operator(state, OP1).jailed_until == jailed.jailed_until - world.height
    assert [entry_amount(state, one) for _, one in entries_of(state, ALICE)] == [
        entry_amount(world.records, one) for _, one in entries_of(world.records, ALICE)
    ]
    world.records.clear()
    world.records.update(state)
    world.height, world.tip, world.last_commit = 0, GENESIS_ID, EMPTY_COMMIT
    held, staked = ledger.balance(world.records, ALICE, NATIVE), position_of(world.records, ALICE, OP3).shares
    world.block(evidence=())
    world.does("alice", Unbond(OP2, Amount(NXS)))
    while world.height < 9:  # the wait of what set out in epoch 0, by time too
        assert len(entries_of(world.records, ALICE)) == 4
        world.block()
    world.block()
    assert entries_of(world.records, ALICE) == []
    assert ledger.balance(world.records, ALICE, NATIVE) > held + 4 * NXS
    assert position_of(world.records, ALICE, OP3).shares == staked + 2 * NXS
