"""Stake on a chain that goes on from another one: what was bonded is bonded, what was leaving still leaves."""

from typing import Any

import pytest
from msgspec.structs import replace

from apps.chain.records import validators_at
from apps.genesis import carried_records, init_genesis
from apps.registry import answer_query
from apps.staking.messages import Delegate, Redelegate, Unbond
from apps.supply import supply_differences
from consensus.types import EMPTY_COMMIT
from crypto.address import encode_address
from state import ledger
from state.genesis import Genesis, GenesisValidator
from state.params import ChainParams, SecurityParams, StakingParams
from state.types import NATIVE, Amount, Height
from tests.apps.world import GENESIS_ID, NO_PROOFS, World, address, make_genesis

EPOCH = 4
NXS = 10**6
SECURITY = SecurityParams(epoch_length=EPOCH, unbonding=20_000, evidence_age=20_000, trust_period=10_000)
STAKING = StakingParams(unbonding_blocks=6)


@pytest.fixture
def lived() -> World:
    """Stake that is bonded, on its way out, and on its way from one operator to another, in the midst of an epoch."""
    world = World(security=SECURITY, staking=STAKING)
    op1, op2 = address("op1"), address("op2")
    world.does("alice", Delegate(op2, Amount(10 * NXS)))
    world.does("bob", Delegate(op1, Amount(4 * NXS)))
    world.does("alice", Redelegate(op2, op1, Amount(3 * NXS)))
    world.does("alice", Unbond(op2, Amount(2 * NXS)))
    while world.height % EPOCH != 2 or world.height < 2 * EPOCH:
        world.block()
    return world


def exported(world: World) -> Genesis:
    document = make_genesis((), ChainParams(), NO_PROOFS, EPOCH, SECURITY, STAKING)
    validators = tuple(
        GenesisValidator(one.public_key, one.power, one.operator, "")
        for one in validators_at(world.records, world.height + 2).validators
    )
    carried = carried_records(sorted(world.records.items()), Height(world.height))
    return replace(document, name="second", validators=validators, carried=carried)


def begin_anew(world: World) -> None:
    state = {key: value for key, value in init_genesis(exported(world)) if value is not None}
    world.records.clear()
    world.records.update(state)
    world.height, world.tip, world.last_commit = 0, GENESIS_ID, EMPTY_COMMIT


def ask(world: World, name: str, **parameters: str) -> Any:
    return answer_query(world.records, f"staking/{name}", parameters)


def stakes(world: World) -> list[Any]:
    names = [encode_address(address(name)) for name in ("alice", "bob", "op1", "op2", "op3")]
    return [ask(world, "delegations", delegator=name) for name in names]


def powers(world: World) -> dict[bytes, int]:
    return {one.operator: one.power for one in validators_at(world.records, world.height + 2).validators}


def test_stakes_and_powers_are_the_same(lived: World) -> None:
    before, voting = stakes(lived), powers(lived)
    begin_anew(lived)
    assert stakes(lived) == before and any(before)
    assert powers(lived) == voting and len(set(voting.values())) == 3
    assert supply_differences(lived.records) == {}


def test_the_set_stays_over_the_next_epochs_and_stake_comes_home(lived: World) -> None:
    held = ledger.balance(lived.records, address("alice"), NATIVE)
    begin_anew(lived)
    voting = powers(lived)
    alice = encode_address(address("alice"))
    leaving = ask(lived, "unbonding", delegator=alice)
    assert [(one["amount"], bool(one["target"])) for one in leaving] == [(3 * NXS, True), (2 * NXS, False)]
    for _ in range(8 * EPOCH):
        lived.block(time=1_000_000_000 + 10_000 * lived.height)
        assert powers(lived) == voting
    assert ask(lived, "unbonding", delegator=alice) == []
    back = ledger.balance(lived.records, address("alice"), NATIVE) - held
    assert 2 * NXS <= back < 2 * NXS + NXS // 4  # with what the moving stake had earned


def test_it_can_be_exported_again(lived: World) -> None:
    begin_anew(lived)
    for _ in range(EPOCH + 1):
        lived.block()
    before = stakes(lived)
    begin_anew(lived)
    assert stakes(lived) == before
    assert carried_records(sorted(lived.records.items()), Height(0)) == exported(lived).carried
