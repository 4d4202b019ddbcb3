"""Punishment: for signing twice and for absence; jail, tombstone, reputation."""

import pytest
from msgspec.structs import replace

from apps.chain import records as chain
from apps.registry import answer_query
from apps.slashing.messages import Unjail
from apps.slashing.records import Uptime, missed_at, with_miss
from apps.slashing.reputation import after_epoch, after_jail
from apps.staking.messages import Delegate, RotateKey, Unbond
from apps.staking.records import bonded, candidates, get_operator
from consensus.types import Evidence
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from state import ledger
from state.types import NATIVE, Amount
from tests.apps.staking_world import (
    EPOCH,
    NXS,
    OPERATORS,
    RULES,
    double_vote,
    miss,
    possession,
    powers,
    run_to,
    staking_world,
    voters,
)
from tests.apps.world import World, address

OP1, OP2, OP3 = (address(name) for name in OPERATORS)


@pytest.fixture
def world() -> World:
    return staking_world()


def unjail(world: World, who: str) -> str:
    """Try to unjail, and return why it failed. Free for an operator: it leaves a mark besides fee and nonce."""
    return world.one(world.call(who, Unjail())).reason


def test_an_equivocator_is_slashed_and_gone_two_heights_later(world: World) -> None:
    run_to(world, 2)
    supply = ledger.supply(world.records, NATIVE)
    result = world.block(evidence=(double_vote(world, "op3", 2),))
    assert {"chain/evidence", "staking/slash", "slashing/tombstone"} <= {event.name for event in result.events}
    assert [voters(world, height) for height in (4, 5)] == [powers(op1=1, op2=2, op3=3), powers(op1=1, op2=2)]
    assert bonded(world.records, OP3) == 3 * NXS * 95 // 100
    assert ledger.supply(world.records, NATIVE) == supply - 3 * NXS * 5 // 100
    found = get_operator(world.records, OP3)
    assert found.tombstoned and found.score == 0 and OP3 not in candidates(world.records)
    run_to(world, 10)
    assert voters(world, 12) == powers(op1=1, op2=2)
    assert unjail(world, "op3") == Reason.TOMBSTONED
    assert world.fails("alice", Delegate(OP3, Amount(NXS))) is Reason.TOMBSTONED
    world.does("op3", Unbond(OP3, Amount(NXS)))  # what is left can go


def refused(world: World, *evidence: Evidence) -> Reason:
    """Return why a block with these accusations is invalid."""
    with pytest.raises(Refused) as caught:
        world.execute(evidence=evidence)
    return caught.value.reason


def test_a_block_accuses_a_validator_once(world: World) -> None:
    run_to(world, 2)
    first, second = double_vote(world, "op2", 1), double_vote(world, "op2", 1, round=1)
    assert refused(world, first, second) is refused(world, second, first) is Reason.BAD_EVIDENCE
    assert refused(world, first, first) is Reason.BAD_EVIDENCE
    world.block(evidence=(first, double_vote(world, "op1", 1)))
    assert bonded(world.records, OP2) == 2 * NXS * 95 // 100


def test_who_is_out_is_never_accused_again(world: World) -> None:
    """The state grows by one offence for each operator, whatever it signed and whoever proposes."""
    run_to(world, 2)
    first = double_vote(world, "op2", 1)
    world.block(evidence=(first,))
    before = dict(world.records)
    for another in (
        double_vote(world, "op2", 1, round=1), double_vote(world, "op2", 2, at=2), double_vote(world, "op2", 3, at=2),
    ):
        assert refused(world, another) is Reason.BAD_EVIDENCE
        assert refused(world, double_vote(world, "op3", 1), another) is Reason.BAD_EVIDENCE
    assert world.records == before
    run_to(world, 2 * EPOCH + 1)
    assert refused(world, double_vote(world, "op2", 2, at=2)) is Reason.BAD_EVIDENCE  # nor in another epoch
    assert [key for key in world.records if key.startswith(chain.OFFENCE)] == [chain.OFFENCE + bytes(8)]
    assert bonded(world.records, OP2) == 2 * NXS * 95 // 100


def test_an_operator_is_accused_once_whichever_of_its_keys_signed_twice(world: World) -> None:
    world.does("op2", RotateKey(*possession("op2", 0)))
    run_to(world, EPOCH + 3)
    old, new = double_vote(world, "op2", 1), double_vote(world, "op2", EPOCH + 2)
    assert old.validator != new.validator
    assert refused(world, old, new) is refused(world, new, old) is Reason.BAD_EVIDENCE
    world.block(evidence=(new,))
    assert get_operator(world.records, OP2).tombstoned
    assert refused(world, old) is Reason.BAD_EVIDENCE


def test_a_key_that_is_no_operators_is_not_accused(world: World) -> None:
    run_to(world, 2)
    stranger = replace(double_vote(world, "op2", 1), validator=address("alice"))
    assert refused(world, stranger) is Reason.UNKNOWN_VALIDATOR


def test_the_last_validator_stays_whatever_it_did(world: World) -> None:
    run_to(world, 2)
    world.block(evidence=tuple(double_vote(world, name, 1) for name in ("op3", "op1", "op2")))
    assert voters(world, 5) == powers(op2=2)
    run_to(world, 9)
    assert voters(world, 11) == powers(op2=2)


def test_the_absent_are_jailed_and_come_back(world: World) -> None:
    run_to(world, 4)
    miss(world, "op1")
    miss(world, "op1")
    assert not get_operator(world.records, OP1).jailed  # two of four were signed: just enough
    shown = answer_query(world.records, "slashing/info", {"operator": encode_address(OP1)})
    assert (shown["missed"], shown["last_missed"], shown["jailed"]) == (2, 5, False)
    miss(world, "op1")  # height 7
    found = get_operator(world.records, OP1)
    assert found.jailed and found.jailed_until == 10 and not found.tombstoned
    assert found.score == after_jail(after_epoch(5_000, 0, 4))
    assert bonded(world.records, OP1) == NXS * 99 // 100
    assert [voters(world, height) for height in (8, 9)] == [powers(op1=1, op2=2, op3=3), powers(op2=2, op3=3)]
    assert unjail(world, "op1") == Reason.JAILED
    run_to(world, 9)
    assert unjail(world, "op1") == Reason.INSUFFICIENT_STAKE  # it was slashed below what an operator needs
    world.does("op1", Delegate(OP1, Amount(NXS)))
    world.does("op1", Unjail())
    assert unjail(world, "op1") == Reason.NOT_JAILED
    assert unjail(world, "alice") == Reason.UNKNOWN_VALIDATOR
    run_to(world, 16)
    assert voters(world, 18) == powers(op1=1, op2=2, op3=3)


def test_the_way_out_of_jail_is_free_although_the_slash_took_power(world: World) -> None:
    world.does("alice", Delegate(OP1, Amount(NXS)))
    run_to(world, 4)
    for _ in range(3):
        miss(world, "op1")
    world.does("alice", Delegate(OP1, Amount(1)))
    run_to(world, 9)
    world.does("op1", Delegate(OP1, Amount(NXS // 10)))
    free = world.one(world.call("op1", Unjail(), fee=0))
    assert (free.reason, free.fee) == ("", 0)
    assert not get_operator(world.records, OP1).jailed
    assert world.refuses(world.call("op1", Unjail(), fee=0)) is Reason.FEE_TOO_LOW


def test_old_misses_count_no_more(world: World) -> None:
    run_to(world, 2)
    for _ in range(6):
        miss(world, "op1")
        world.block()
    assert not get_operator(world.records, OP1).jailed


def test_absence_takes_at_most_a_third_of_the_power_in_an_epoch(world: World) -> None:
    run_to(world, 4)
    for _ in range(3):
        miss(world, "op1", "op2")
    jailed = [get_operator(world.records, operator).jailed for operator in (OP1, OP2)]
    assert sorted(jailed) == [False, True]
    assert not get_operator(world.records, OP3).jailed
    for _ in range(6):
        miss(world, "op3")  # half of the power
    assert not get_operator(world.records, OP3).jailed


def test_the_window_is_a_shifting_row_of_bits() -> None:
    known = with_miss(None, 10, 8, 3)
    assert (known, missed_at(known, 10, 8), missed_at(known, 17, 8), missed_at(known, 18, 8)) == (
        Uptime(known.height, b"\x01", 3, 1), 1, 1, 0,
    )  # fmt: skip
    again = with_miss(known, 12, 8, 3)
    assert (again.missed, again.in_epoch, missed_at(again, 12, 8)) == (b"\x05", 2, 2)
    later = with_miss(again, 10**12, 8, 4)
    assert (later.missed, later.in_epoch) == (b"\x01", 1)


def test_reputation_follows_the_commits(world: World) -> None:
    run_to(world, 3)
    miss(world, "op1")  # block 4 ends epoch 0
    scores = [get_operator(world.records, operator).score for operator in (OP1, OP2)]
    assert scores == [after_epoch(5_000, 1, 4), after_epoch(5_000, 0, 4)] == [5_312, 5_625]
    shown = answer_query(world.records, "staking/reputation", {"operator": encode_address(OP2)})
    assert shown["score"] == 5_625
    run_to(world, 8)
    assert get_operator(world.records, OP1).score == after_epoch(5_312, 0, 4)


def test_the_queries_of_rules(world: World) -> None:
    shown = answer_query(world.records, "slashing/params", {})
    assert shown["slash_double_sign"] == RULES.slash_double_sign
    assert answer_query(world.records, "staking/params", {})["unbonding"] == 6_000
    pool = answer_query(world.records, "staking/pool", {})
    assert pool == {"bonded": 6 * NXS, "candidates": 3, "fees": 0}


def test_a_rule_of_full_slashing_leaves_nothing(world: World) -> None:
    world = staking_world(replace(RULES, slash_double_sign=10_000))
    run_to(world, 2)
    world.block(evidence=(double_vote(world, "op2", 1),))
    assert bonded(world.records, OP2) == 0
    assert world.fails("op2", Unbond(OP2, Amount(1))) is Reason.INSUFFICIENT_STAKE
    run_to(world, 12)
