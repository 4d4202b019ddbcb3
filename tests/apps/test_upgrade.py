"""How validators agree on a protocol version: who counts, when it is in force, and what is refused on the way."""

from typing import Any

import pytest
from msgspec.structs import replace

from apps.chain.messages import PlanUpgrade, WithdrawUpgrade
from apps.chain.tip import genesis_tip, tip_after
from apps.chain.upgrade import LEAD, approvals, scheduled, version_at
from apps.registry import answer_query
from apps.token.messages import Transfer
from apps.validity import view_after
from consensus.block import check_header, make_header
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from state.records import key_owner_key, public_key_key
from state.types import NATIVE, Amount, Height
from tests.apps.world import CHAIN, FEE, World, address, fake_key

OPERATORS = ("op1", "op2", "op3")
"""Their validators have the powers 1, 2 and 3: more than two thirds need op3 and op2."""


@pytest.fixture
def world() -> World:
    world = World()
    for name in OPERATORS:
        world.does("alice", Transfer(NATIVE, address(name), Amount(100 * FEE)))
        world.records[public_key_key(address(name))] = fake_key(name)
        world.records[key_owner_key(address(name))] = address(name)
    return world


def plan(height: int, version: int = 2, name: str = "nexus 2.0") -> PlanUpgrade:
    return PlanUpgrade(version, Height(height), name)


def pay(world: World, **changes: Any) -> Any:
    return world.call("alice", Transfer(NATIVE, address("bob"), Amount(1)), **changes)


def ask(world: World) -> dict[str, Any]:
    answer = answer_query(world.records, "chain/upgrade", {})
    assert isinstance(answer, dict)
    return answer


def test_more_than_two_thirds_schedule_a_plan(world: World) -> None:
    one, other = plan(30), plan(30, name="another")
    world.does("op3", one)
    world.does("op1", one)
    assert scheduled(world.records) is None  # 4 of 6
    world.does("op2", other)
    assert scheduled(world.records) is None
    world.does("op2", one)
    assert scheduled(world.records) == one
    assert ask(world) == {
        "version": 1, "scheduled": {"version": 2, "height": 30, "name": "nexus 2.0"},
        "approvals": [
            {"operator": encode_address(address(name)), "version": 2, "height": 30, "name": "nexus 2.0"}
            for name in sorted(OPERATORS, key=address)
        ],
    }  # fmt: skip


def test_an_approval_can_be_withdrawn_and_replaced(world: World) -> None:
    world.does("op3", plan(30))
    world.does("op2", plan(30))
    world.does("op2", WithdrawUpgrade())
    assert scheduled(world.records) is None
    assert approvals(world.records) == {address("op3"): plan(30)}
    assert world.fails("op2", WithdrawUpgrade()) is Reason.BAD_ARGUMENT
    world.does("op3", plan(40, version=7))
    world.does("op2", plan(40, version=7))
    assert scheduled(world.records) == plan(40, version=7)
    world.does("op3", WithdrawUpgrade())
    world.does("op2", WithdrawUpgrade())
    assert not any(key.startswith((b"chain/upgrade", b"chain/approvals")) for key in world.records)


def test_refusals(world: World) -> None:
    assert world.fails("alice", plan(30)) is Reason.UNKNOWN_VALIDATOR
    assert world.fails("alice", WithdrawUpgrade()) is Reason.UNKNOWN_VALIDATOR
    assert world.fails("op3", plan(30, version=1)) is Reason.BAD_ARGUMENT
    assert world.fails("op3", plan(world.height + LEAD)) is Reason.BAD_ARGUMENT
    assert world.fails("op3", plan(30, version=256)) is Reason.MALFORMED
    assert world.fails("op3", plan(30, name="")) is Reason.MALFORMED
    world.does("op3", plan(world.height + 1 + LEAD))
    assert approvals(world.records)


def test_a_plan_is_fixed_shortly_before_its_height(world: World) -> None:
    height = world.height + LEAD + 4
    world.does("op3", plan(height))
    world.does("op2", plan(height))
    world.does("op1", plan(height))
    world.does("op1", WithdrawUpgrade())
    assert world.fails("op3", WithdrawUpgrade()) is Reason.TOO_LATE
    assert world.fails("op2", plan(height + 20)) is Reason.TOO_LATE
    assert scheduled(world.records) == plan(height)


def test_the_version_changes_at_its_height(world: World) -> None:
    height = world.height + LEAD + 2
    world.does("op3", plan(height))
    world.does("op2", plan(height))
    while world.height < height - 2:
        world.one(pay(world))
    assert version_at(world.records, world.height + 1) == 1
    assert world.refuses(pay(world, version=2)) is Reason.WRONG_VERSION
    world.one(pay(world))
    assert (world.height, version_at(world.records, world.height), version_at(world.records, height)) == (
        height - 1, 1, 2,
    )  # fmt: skip
    view = view_after(world.records, world.params, CHAIN, Height(world.height), world.tip)
    assert (view.height, view.version) == (height, 2)
    assert world.refuses(pay(world)) is Reason.WRONG_VERSION
    result = world.block(pay(world, version=2))
    assert [event.name for event in result.events if event.name == "chain/upgrade"] == ["chain/upgrade"]
    assert ask(world) == {"version": 2, "scheduled": {}, "approvals": []}
    assert world.refuses(pay(world)) is Reason.WRONG_VERSION
    receipt = world.one(world.call("op3", plan(world.height + 20), version=2))
    assert receipt.reason == Reason.BAD_ARGUMENT.value


def test_headers_follow(world: World) -> None:
    height = world.height + LEAD + 2
    world.does("op3", plan(height))
    world.does("op2", plan(height))
    first = genesis_tip(world.records, CHAIN, 0, bytes(32))
    assert first.version == 1
    proposer = first.validators.validators[0].address
    header = make_header(first, time=1, proposer=proposer, wtxids=(), last_commit=first.commit)
    while world.height < height - 1:
        world.block()
    last = replace(header, height=Height(world.height))
    tip = tip_after(
        world.records, last, first.commit, state_root=bytes(32), receipts_root=bytes(32),
        needs_proof_block=False,
    )
    made = make_header(tip, time=2, proposer=proposer, wtxids=(), last_commit=first.commit)
    assert (header.version, tip.version, made.version) == (1, 2, 2)
    check_header(tip, made)
    with pytest.raises(Refused) as caught:
        check_header(tip, replace(made, version=1))
    assert caught.value.reason is Reason.WRONG_VERSION
