"""The core under a clock that jumps: crashes at every action, withheld bodies, wrong blocks, and what is never done."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest

from apps.token.messages import Transfer
from consensus.types import Proposal, Vote
from crypto.errors import Reason, Refused
from node.actions import Action, Ask, Disconnect, SendAll
from node.core import MAX_BAD_SIGNATURES, Core
from node.wallet import ChainPoint, call, message
from p2p.network import Channel
from state.genesis import genesis_hash
from state.types import NATIVE, Address, Amount, BlockId, Height
from tests.node.lab import Lab
from tests.node.world import Machine, World

BOB = Address(b"\x07" * 32)


@cache
def lab() -> Lab:
    return Lab(Path("/nonexistent"), size=4)


def world(followers: int = 0) -> World:
    keys: list[bytes | None] = [key.public_key for key in lab().consensus_keys]
    made = World(lab().genesis, keys + [None] * followers)
    for machine in made.machines:
        made.start(machine)
    return made


@cache
def payment(nonce: int, sender: int = 0, registered: bool = False) -> bytes:
    chain_id = genesis_hash(lab().genesis)
    pay = message("token/transfer", Transfer(NATIVE, BOB, Amount(100)))
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    account = replace(lab().account(sender), registered=registered)
    return call(point, account, lab().wallet_keys[sender], nonce, [pay]).raw


def settled(made: World, height: int) -> bool:
    living = [machine for machine in made.machines if machine.alive]
    return len({machine.core.chain.tip.block_id for machine in living}) == 1 and all(
        machine.core.chain.height >= height for machine in living
    )


def check_nobody_signed_twice(made: World) -> None:
    """Every vote or proposal of one validator for one place is the same, to the last byte of its signature."""
    seen: dict[tuple[object, ...], Vote | Proposal] = {}
    proposers: dict[tuple[int, int], Proposal] = {}
    for _, said in made.sent:
        if isinstance(said, Vote):
            place = (said.validator, said.height, said.round, said.kind)
            assert seen.setdefault(place, said) == said
        else:
            assert proposers.setdefault((said.height, said.round), said) == said


def test_four_cores_agree_and_leave_no_empty_blocks() -> None:
    made = world()
    made.submit(made.machines[1], [payment(0), payment(1)])
    made.run(lambda: settled(made, 2))
    until = made.now + 5000
    made.run(lambda: made.now >= until)
    assert [machine.core.chain.height for machine in made.machines] == [2, 2, 2, 2]
    check_nobody_signed_twice(made)


def test_a_submission_reaches_all_by_one_push() -> None:
    made = world()
    batches = []

    def count(machine: Machine, action: Action) -> bool:
        if isinstance(action, SendAll) and action.channel is Channel.TRANSACTIONS:
            batches.append(machine.name)
        return False

    made.on_action = count
    made.submit(made.machines[1], [payment(0)])
    made.run(lambda: settled(made, 2))
    assert batches == [made.machines[1].name]


@pytest.mark.parametrize("at", range(1, 40))
def test_a_crash_at_any_action_signs_nothing_twice(at: int) -> None:
    """Machine 0 dies when it is about to carry out its `at`-th action: what it logged is there, what it said is not."""
    made = world()
    victim = made.machines[0]
    actions = 0

    def crash(machine: Machine, _action: Action) -> bool:
        nonlocal actions
        actions += machine is victim
        return machine is victim and actions == at

    made.on_action = crash
    made.submit(made.machines[1], [payment(0)])
    made.run(lambda: settled(made, 1) or not victim.alive)
    if not victim.alive:
        made.start(victim)
    made.submit(made.machines[2], [payment(1)])
    made.run(lambda: settled(made, 3))
    check_nobody_signed_twice(made)
    assert not made.halted


def test_all_die_at_once_and_go_on() -> None:
    made = world()
    made.submit(made.machines[0], [payment(0)])
    made.run(lambda: any(machine.core.chain.height for machine in made.machines))
    for machine in made.machines:
        made.crash(machine, torn=5)
    for machine in made.machines:
        made.start(machine)
    made.run(lambda: settled(made, 2))
    check_nobody_signed_twice(made)


def test_three_of_four_go_on_and_the_fourth_catches_up() -> None:
    made = world()
    made.crash(made.machines[3])
    for nonce in range(30):
        made.submit(made.machines[nonce % 3], [payment(nonce)])
        made.run(partial(settled, made, nonce + 1), limit=120_000)
    made.start(made.machines[3])
    made.run(lambda: settled(made, 30))
    assert made.machines[3].core.agreement.counters.synced > 0
    assert not made.machines[3].core.catching_up


def test_two_of_four_do_nothing() -> None:
    made = world()
    made.crash(made.machines[2])
    made.crash(made.machines[3])
    made.submit(made.machines[0], [payment(0)])
    until = made.now + 30_000
    made.run(lambda: made.now >= until)
    assert [machine.core.chain.height for machine in made.machines[:2]] == [0, 0]
    made.start(made.machines[2])
    made.run(lambda: settled(made, 2))
    check_nobody_signed_twice(made)


def test_bodies_that_do_not_come_are_asked_for() -> None:
    made = world()
    asked: list[Action] = []

    def listen(_machine: Machine, action: Action) -> bool:
        if isinstance(action, Ask):
            asked.append(action)
        return False

    made.on_action = listen
    made.drops = {Channel.TRANSACTIONS}
    made.submit(made.machines[0], [payment(0)])
    # the others have nothing to do but see that machine 0 votes; when it proposes, they lack the body
    made.run(lambda: settled(made, 2) and not made.machines[0].core.mempool.has_work)
    assert asked
    assert made.machines[3].core.chain.store.get(b"token/balance/" + BOB) is not None


def test_a_follower_follows_and_says_nothing() -> None:
    made = world(followers=1)
    made.submit(made.machines[4], [payment(0)])
    made.run(lambda: settled(made, 2))
    follower = made.machines[4].name
    signed_by_others = {said.signature for name, said in made.sent if name != follower}
    assert {said.signature for name, said in made.sent if name == follower} <= signed_by_others


def test_a_damaged_log_stops_the_start() -> None:
    made = world()
    made.submit(made.machines[0], [payment(0)])
    victim = made.machines[0]
    made.run(lambda: len(victim.log.synced) > 3000)
    made.crash(victim)
    content = bytearray(victim.log.content)
    content[10] ^= 1
    victim.log.content = bytes(content)
    with pytest.raises(Refused) as caught:
        made.start(victim)
    assert caught.value.reason is Reason.CORRUPT_LOG


def test_admission_names_what_it_refuses_and_remembers_only_what_lies_in_the_bytes() -> None:
    made = world()
    core: Core = made.machines[0].core
    flipped = bytearray(payment(0))
    flipped[-200] ^= 1
    results = made.submit(made.machines[0], [payment(0)[:-1], bytes(flipped), payment(3), payment(0)])
    assert [one.reason if isinstance(one, Refused) else None for one in results] == [
        Reason.MALFORMED, Reason.BAD_SIGNATURE, None, None
    ]
    (again,) = made.submit(made.machines[0], [bytes(flipped)])
    assert isinstance(again, Refused) and again.reason is Reason.BAD_SIGNATURE
    assert core.admission.refusals == {Reason.MALFORMED: 1, Reason.BAD_SIGNATURE: 2}
    made.run(lambda: settled(made, 2))
    (late,) = made.submit(made.machines[0], [payment(0)])
    assert isinstance(late, Refused) and late.reason is Reason.NONCE_TOO_LOW


def push(made: World, sender: Machine, raws: list[bytes]) -> list[Reason]:
    """Hand transactions to machine 0 as if a peer had sent them; return why it let the peer go, if it did."""
    disconnected: list[Reason] = []

    def listen(_machine: Machine, action: Action) -> bool:
        if isinstance(action, Disconnect):
            disconnected.append(action.reason)
        return False

    made.on_action = listen
    made.receive(made.machines[0], sender, raws)
    return disconnected


def bad_signatures(raw: bytes, number: int) -> list[bytes]:
    """Return variants of a transaction that differ in a byte of the signature."""
    return [raw[:-at] + bytes([raw[-at] ^ 1]) + raw[len(raw) - at + 1 :] for at in range(300, 300 + number)]


def test_a_peer_is_let_go_for_what_no_key_can_mend() -> None:
    made = world()
    _, honest, one, other = made.machines
    assert push(made, honest, [payment(0), payment(0)]) == []  # known twice is nobody's fault
    assert push(made, one, [b"\x00"]) == [Reason.MALFORMED]
    assert push(made, other, bad_signatures(payment(1), 1)) == [Reason.BAD_SIGNATURE]


def test_a_peer_may_bring_some_bad_signatures_under_a_registered_key() -> None:
    made = world()
    made.submit(made.machines[0], [payment(0)])
    made.run(lambda: settled(made, 2))
    raw = payment(1, registered=True)
    assert push(made, made.machines[1], bad_signatures(raw, MAX_BAD_SIGNATURES)) == []
    assert push(made, made.machines[1], bad_signatures(raw, 1)) == [Reason.BAD_SIGNATURE]
