"""Stake: who may do what, where it goes, when it comes back, what it earns, who votes for it."""

from typing import Any

import pytest
from msgspec.structs import replace

from apps.chain import records as chain
from apps.registry import answer_query
from apps.staking import sets
from apps.staking.leaving import entries_of
from apps.staking.messages import (
    Claim,
    CreateValidator,
    Delegate,
    EditValidator,
    Redelegate,
    RotateKey,
    Unbond,
)
from apps.staking.pool import worth
from apps.staking.records import (
    bonded,
    candidates,
    commission_of,
    get_operator,
    operator_of_key,
    pool_of,
    position_of,
)
from apps.token.messages import Transfer
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import address_of, multisig_public_key
from state import ledger
from state.genesis import check_genesis
from state.params import ChainParams
from state.types import MAX_AMOUNT, NATIVE, UNXS_PER_NXS, Amount
from tests.apps.staking_world import (
    NXS,
    OPERATORS,
    RULES,
    create,
    double_vote,
    possession,
    powers,
    run_to,
    spare_key,
    staking_world,
    voters,
)
from tests.apps.world import FEE, START, World, address, make_genesis

ALICE, BOB = address("alice"), address("bob")
OP1, OP2, OP3 = (address(name) for name in OPERATORS)


@pytest.fixture
def world() -> World:
    return staking_world()


def money(world: World, who: str) -> int:
    return ledger.balance(world.records, address(who), NATIVE)


def stake(world: World, owner: str, operator: str) -> int:
    pool = pool_of(world.records, address(operator))
    return worth(pool, position_of(world.records, address(owner), address(operator)).shares)


# ---- genesis


def test_genesis_powers_are_the_operators_own_stake(world: World) -> None:
    for power, name in enumerate(OPERATORS, start=1):
        assert stake(world, name, name) == bonded(world.records, address(name)) == power * NXS
    assert ledger.supply(world.records, NATIVE) == 6 * START + 6 * NXS
    first = chain.validators_at(world.records, 1).validators[0]
    assert operator_of_key(world.records, first.address) == first.operator


def test_an_operator_has_one_validator_at_genesis_and_its_stake_fits_the_supply() -> None:
    genesis = make_genesis((), ChainParams())
    one, other, *rest = genesis.validators
    wrong = (
        (one, replace(other, operator=one.operator), *rest),
        (replace(one, power=MAX_AMOUNT // UNXS_PER_NXS), other, *rest),
    )
    for validators in wrong:
        with pytest.raises(Refused) as caught:
            check_genesis(replace(genesis, validators=validators))
        assert caught.value.reason is Reason.BAD_GENESIS


# ---- delegate and unbond


def test_stake_comes_back_when_blocks_and_time_have_passed(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(10 * NXS)))
    assert (stake(world, "alice", "op1"), money(world, "alice")) == (10 * NXS, START - 10 * NXS - FEE)
    world.does("alice", Unbond(OP1, Amount(4 * NXS)))  # in block 2, of epoch 0, which ends with block 4 at 5 s
    held = money(world, "alice")
    assert stake(world, "alice", "op1") == 6 * NXS
    (shown,) = answer_query(world.records, "staking/unbonding", {"delegator": encode_address(ALICE)})
    assert (shown["amount"], shown["height"], shown["time"], shown["target"]) == (4 * NXS, 9, 0, "")
    run_to(world, 8)
    (shown,) = answer_query(world.records, "staking/unbonding", {"delegator": encode_address(ALICE)})
    assert shown["time"] == 4_000 + 6_000
    world.block()  # height 9, at 9 s: the blocks have passed, the time has not
    assert money(world, "alice") == held
    result = world.block()
    assert money(world, "alice") == held + 4 * NXS
    assert [event.name for event in result.events].count("staking/unbonded") == 1
    assert not entries_of(world.records, ALICE)
    assert not any(key.startswith((b"staking/leaving", b"staking/cohorts")) for key in world.records)


def test_time_alone_is_not_enough(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(10 * NXS)))
    world.does("alice", Unbond(OP1, Amount(10 * NXS)))
    run_to(world, 4)
    held = money(world, "alice")
    for step in range(4):
        world.block(time=10**9 + step)
        assert money(world, "alice") == held
    world.block(time=10**9 + 9)  # height 9
    assert money(world, "alice") == held + 10 * NXS


def test_what_cannot_be_delegated_or_taken_back(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(NXS)))
    for message, reason in (
        (Delegate(OP1, Amount(0)), Reason.AMOUNT_OUT_OF_RANGE),
        (Delegate(BOB, Amount(1)), Reason.UNKNOWN_VALIDATOR),
        (Delegate(OP1, Amount(START)), Reason.INSUFFICIENT_FUNDS),
        (Unbond(OP1, Amount(0)), Reason.AMOUNT_OUT_OF_RANGE),
        (Unbond(OP1, Amount(NXS + 1)), Reason.INSUFFICIENT_STAKE),
        (Unbond(OP2, Amount(1)), Reason.INSUFFICIENT_STAKE),
        (Unbond(BOB, Amount(1)), Reason.UNKNOWN_VALIDATOR),
        (Redelegate(OP1, OP1, Amount(1)), Reason.BAD_ARGUMENT),
        (Redelegate(OP1, BOB, Amount(1)), Reason.UNKNOWN_VALIDATOR),
        (Redelegate(OP2, OP1, Amount(1)), Reason.INSUFFICIENT_STAKE),
        (Claim(OP2), Reason.NO_STAKE),
        (Claim(BOB), Reason.UNKNOWN_VALIDATOR),
        (EditValidator("x", 0), Reason.UNKNOWN_VALIDATOR),
        (RotateKey(*possession("alice", 0)), Reason.UNKNOWN_VALIDATOR),
    ):
        assert world.fails("alice", message) is reason, message


def test_amounts_on_their_way_are_few_and_those_of_one_epoch_are_one(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(NXS)))
    world.does("alice", Unbond(OP1, Amount(1)), Unbond(OP1, Amount(2)), Unbond(OP1, Amount(3)))
    ((_, entry),) = entries_of(world.records, ALICE)
    assert (entry.epoch, entry.position.shares) == (0, 6)


# ---- operators


def test_a_new_validator_votes_two_blocks_after_the_epochs_end(world: World) -> None:
    world.does("alice", create("alice"))
    world.does("bob", Delegate(ALICE, Amount(7 * NXS + 999_999)))
    run_to(world, 4)
    assert voters(world, 5) == powers(op1=1, op2=2, op3=3)
    assert voters(world, 6) == powers(op1=1, op2=2, op3=3, alice=12)
    assert len(chain.priorities(world.records)) == 3
    run_to(world, 5)
    assert len(chain.priorities(world.records)) == 4
    found = answer_query(world.records, "staking/validators", {})
    assert [(row["moniker"], row["power"]) for row in found] == [("alice", 12), ("v3", 3), ("v2", 2), ("v1", 1)]


def test_who_cannot_become_an_operator(world: World) -> None:
    key, proof = possession("alice", 0)
    joint = multisig_public_key(1, [spare_key(0).public_key, spare_key(1).public_key])
    first = chain.validators_at(world.records, 1).validators[0].public_key
    good = CreateValidator(key, proof, "alice", 0, Amount(NXS))
    for changes, reason in (
        ({"proof": possession("bob", 0)[1]}, Reason.BAD_SIGNATURE),
        ({"public_key": spare_key(1).public_key}, Reason.BAD_SIGNATURE),
        ({"public_key": joint}, Reason.BAD_KEY),
        ({"public_key": b"\x09" + key[1:]}, Reason.BAD_KEY),
        ({"public_key": first}, Reason.KEY_IN_USE),
        ({"amount": Amount(NXS - 1)}, Reason.INSUFFICIENT_STAKE),
        ({"amount": Amount(START)}, Reason.INSUFFICIENT_FUNDS),
        ({"moniker": "two\nlines"}, Reason.BAD_ARGUMENT),
        ({"moniker": " x"}, Reason.BAD_ARGUMENT),
    ):
        assert world.fails("alice", replace(good, **changes)) is reason, changes
    world.does("alice", good)
    assert world.fails("alice", replace(good, public_key=spare_key(1).public_key)) is Reason.VALIDATOR_EXISTS
    assert world.fails("bob", create("bob", 0)) is Reason.KEY_IN_USE


def test_the_strongest_vote_and_an_operator_needs_stake_of_its_own() -> None:
    world = staking_world(replace(RULES, max_validators=2))
    run_to(world, 4)
    assert voters(world, 6) == powers(op2=2, op3=3)
    world.does("alice", Delegate(OP1, Amount(8 * NXS)))
    world.does("op3", Unbond(OP3, Amount(2 * NXS + 1)))
    run_to(world, 8)
    assert voters(world, 10) == powers(op1=9, op2=2)


def test_a_chain_without_candidates_keeps_its_set(world: World) -> None:
    for power, name in enumerate(OPERATORS, start=1):
        world.does(name, Unbond(address(name), Amount(power * NXS)))
    run_to(world, 8)
    assert voters(world, 10) == powers(op1=1, op2=2, op3=3)
    before = chain.fee_pool(world.records)
    world.does("alice", Transfer(NATIVE, BOB, Amount(1)))
    world.block()
    assert chain.fee_pool(world.records) == before + FEE  # nobody has stake that could earn


def test_a_full_list_of_candidates_takes_the_stronger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "MAX_CANDIDATES", 3)
    assert world.fails("alice", create("alice", amount=NXS)) is Reason.INSUFFICIENT_STAKE
    world.does("alice", create("alice", amount=4 * NXS))
    names = {row["moniker"] for row in answer_query(world.records, "staking/validators", {})}
    assert names == {"alice", "v2", "v3"}
    world.does("bob", Delegate(OP1, Amount(NXS)))  # as strong as the weakest is not enough
    assert OP1 not in set(candidates(world.records))
    world.does("bob", Delegate(OP1, Amount(2 * NXS)))
    assert OP1 in set(candidates(world.records))


def test_a_commission_rises_slowly_and_falls_at_will(world: World) -> None:
    world.does("op1", EditValidator("one", 100))
    assert world.fails("op1", EditValidator("one", 150)) is Reason.COMMISSION_STEP
    world.does("op1", EditValidator("uno", 20))
    run_to(world, 4)
    assert world.fails("op1", EditValidator("uno", 121)) is Reason.COMMISSION_STEP
    world.does("op1", EditValidator("uno", 120))
    assert get_operator(world.records, OP1).commission == 120


def test_a_key_is_changed_once_in_a_period_and_the_old_one_stays_the_operators(world: World) -> None:
    world.block()
    old = get_operator(world.records, OP3)
    evidence = double_vote(world, "op3", 1)
    world.does("op3", RotateKey(*possession("op3", 0)))
    assert world.fails("op3", RotateKey(*possession("op3", 1))) is Reason.ROTATED_RECENTLY
    run_to(world, 5)
    keys = [
        {one.public_key for one in chain.validators_at(world.records, height).validators} for height in (5, 6)
    ]
    assert old.public_key in keys[0] and spare_key(0).public_key not in keys[0]
    assert old.public_key not in keys[1] and spare_key(0).public_key in keys[1]
    assert operator_of_key(world.records, old.address) == OP3
    assert operator_of_key(world.records, address_of(spare_key(0).public_key)) == OP3
    world.block(evidence=(evidence,))  # by the old key
    assert get_operator(world.records, OP3).tombstoned
    assert world.fails("op3", RotateKey(*possession("op3", 1))) is Reason.TOMBSTONED
    run_to(world, 12)
    assert world.fails("alice", replace(create("alice"), public_key=old.public_key)) is Reason.KEY_IN_USE


# ---- rewards


def test_rewards_are_split_by_power_commission_and_stake(world: World) -> None:
    world.does("op3", EditValidator("three", 100))
    world.does("alice", Delegate(OP3, Amount(3 * NXS)))
    run_to(world, 5)
    assert voters(world, 6) == powers(op1=1, op2=2, op3=6)
    run_to(world, 7)
    before, due = pool_of(world.records, OP3).unpaid, commission_of(world.records, OP3)
    world.block(world.call("bob", Delegate(OP1, Amount(1))))
    share = (chain.fee_pool(world.records)) * 6 // 9
    commission = commission_of(world.records, OP3)
    world.block()
    assert commission_of(world.records, OP3) - commission == share * 100 // 10_000
    assert pool_of(world.records, OP3).unpaid - before >= share * 9_900 // 10_000
    assert due <= commission
    shown = answer_query(world.records, "staking/rewards", {"delegator": encode_address(ALICE)})
    held = money(world, "alice")
    world.does("alice", Claim(OP3))
    gained = money(world, "alice") - held + FEE
    assert gained >= shown["total"] > 0
    own = answer_query(world.records, "staking/rewards", {"delegator": encode_address(OP3)})["rewards"][0]
    assert own["commission"] == commission_of(world.records, OP3) > 0
    world.does("op3", Claim(OP3))
    assert commission_of(world.records, OP3) == 0


def test_inflation_pays_for_time_but_not_for_standing_still() -> None:
    world = staking_world(replace(RULES, inflation=1_000))
    world.block()
    before = int(ledger.supply(world.records, NATIVE))
    world.block(time=2_000)
    year = 365 * 86_400_000
    minted = int(before) * 1_000 * 1_000 // (10_000 * year)
    assert ledger.supply(world.records, NATIVE) == before + minted
    before += minted
    world.block(time=10**12)
    assert ledger.supply(world.records, NATIVE) == before + before * 1_000 * 60_000 // (10_000 * year)


# ---- redelegation


def test_redelegated_stake_counts_at_once_and_can_move_on_when_it_has_matured(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(10 * NXS)))
    world.does("alice", Redelegate(OP1, OP2, Amount(10 * NXS)))
    assert (bonded(world.records, OP1), bonded(world.records, OP2)) == (NXS, 12 * NXS)
    assert world.fails("alice", Unbond(OP2, Amount(NXS))) is Reason.INSUFFICIENT_STAKE
    run_to(world, 4)
    assert voters(world, 6) == powers(op1=1, op2=12, op3=3)
    run_to(world, 8)
    rewards: Any = answer_query(world.records, "staking/rewards", {"delegator": encode_address(ALICE)})
    assert rewards["rewards"][0]["operator"] == encode_address(OP2) and rewards["total"] > 0
    held = money(world, "alice")
    run_to(world, 10)
    assert stake(world, "alice", "op2") == 10 * NXS
    assert money(world, "alice") >= held + rewards["total"]
    assert not any(key.startswith((b"staking/moving", b"staking/targets")) for key in world.records)
    world.does("alice", Unbond(OP2, Amount(10 * NXS)))


def test_stake_that_moves_answers_for_both(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(100 * NXS)))
    world.does("bob", Delegate(OP2, Amount(50 * NXS)))
    world.does("alice", Redelegate(OP1, OP2, Amount(100 * NXS)))
    supply = ledger.supply(world.records, NATIVE)
    world.block(evidence=(double_vote(world, "op1", 2),))
    assert ledger.supply(world.records, NATIVE) == supply - 5 * NXS - NXS // 20
    ((_, _entry),) = entries_of(world.records, ALICE)
    (shown,) = answer_query(world.records, "staking/unbonding", {"delegator": encode_address(ALICE)})
    assert shown["amount"] in (95 * NXS, 95 * NXS - 1)
    assert (stake(world, "bob", "op2"), bonded(world.records, OP2)) == (50 * NXS, 147 * NXS)
    world.block(evidence=(double_vote(world, "op2", 3),))
    (shown,) = answer_query(world.records, "staking/unbonding", {"delegator": encode_address(ALICE)})
    assert 95 * NXS * 95 // 100 - 2 <= shown["amount"] <= 95 * NXS * 95 // 100
    assert 0 <= 50 * NXS * 95 // 100 - stake(world, "bob", "op2") <= 1


def test_stake_that_left_answers_for_what_it_backed_alone(world: World) -> None:
    world.does("alice", Delegate(OP3, Amount(100 * NXS)))
    world.does("alice", Unbond(OP3, Amount(100 * NXS)))  # votes up to height 5
    run_to(world, 6)
    before = dict(world.records)
    for fault, loss in ((5, 5 * NXS), (6, 0)):
        world.records.clear()
        world.records.update(before)
        result = world.execute(evidence=(double_vote(world, "op3", fault),))
        (event,) = [event for event in result.events if event.name == "staking/slash"]
        assert int(dict(event.attributes)["away"]) == loss
