"""A protocol version comes into force: who knows it goes on, who does not stops before it, and can come after."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from apps.chain.messages import PlanUpgrade
from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.actions import Action, Halt
from node.chain import Chain, open_chain
from node.wallet import Account, ChainPoint, call, message
from state.genesis import genesis_hash
from state.types import NATIVE, Address, Amount, BlockId, Height
from tests.node.lab import Lab
from tests.node.world import Machine, World

OLD, NEW = (1,), (1, 2)
HEIGHT = 30
PLAN = PlanUpgrade(2, Height(HEIGHT), "nexus 2.0")
BOB = Address(b"\x07" * 32)


@cache
def lab() -> Lab:
    return Lab(Path("/nonexistent"), size=4)


def point(version: int = 1) -> ChainPoint:
    chain_id = genesis_hash(lab().genesis)
    return ChainPoint(chain_id, BlockId(chain_id), Height(0), version=version)


def payment(nonce: int, to: Address = BOB, version: int = 1) -> bytes:
    account = replace(lab().account(0), registered=bool(nonce))
    pay = message("token/transfer", Transfer(NATIVE, to, Amount(10**7)))
    return call(point(version), account, lab().wallet_keys[0], nonce, [pay]).raw


def stored_height(machine: Machine) -> int:
    return open_chain(machine.store, lab().genesis).height


def reached(machines: list[Machine], height: int) -> bool:
    return all(machine.core.chain.height >= height for machine in machines)


class Story:
    """A network of these programs whose validators planned version 2. One that halts is gone, as its process would be.

    Attributes:
        stopped: who halted, and why.
    """

    def __init__(self, versions: tuple[tuple[int, ...], ...], followers: int = 0) -> None:
        keys: list[bytes | None] = [key.public_key for key in lab().consensus_keys]
        self.world = World(lab().genesis, keys + [None] * followers)
        self.nonce = 0
        self.stopped: dict[int, Refused] = {}
        self.world.on_action = self.watch
        for machine, known in zip(self.world.machines, versions, strict=True):
            machine.versions = known
        for machine in self.world.machines:
            self.world.start(machine)
        for key in lab().consensus_keys[1:]:
            self.pay(Address(key.address))
        for key in lab().consensus_keys[1:]:
            operator = Account(Address(key.address), key.public_key)
            self.submit(call(point(), operator, key, 0, [message("chain/plan_upgrade", PLAN)]).raw)

    def watch(self, machine: Machine, action: Action) -> bool:
        if isinstance(action, Halt):
            self.stopped[self.world.machines.index(machine)] = action.refused
        return isinstance(action, Halt)

    @property
    def chain(self) -> Chain:
        """Of the last machine: it knows both versions."""
        return self.world.machines[-1].core.chain

    def submit(self, raw: bytes) -> None:
        target = self.chain.height + 2 if self.version == 2 else min(self.chain.height + 2, HEIGHT - 1)
        (result,) = self.world.submit(self.world.machines[-1], [raw])
        assert not isinstance(result, Refused), result
        self.world.run(lambda: self.chain.height >= target)

    @property
    def version(self) -> int:
        return self.chain.tip.version

    def pay(self, to: Address = BOB) -> None:
        self.nonce += 1
        self.submit(payment(self.nonce - 1, to, self.version))

    def pay_until(self, height: int) -> None:
        while self.chain.height < height:
            self.pay()


def test_three_new_programs_go_on_and_the_old_one_stops_before() -> None:
    story = Story((OLD, NEW, NEW, NEW))
    old, *new = story.world.machines
    story.pay_until(HEIGHT + 3)
    assert {place: refused.reason for place, refused in story.stopped.items()} == {0: Reason.UPGRADE_NEEDED}
    assert stored_height(old) == HEIGHT - 1
    story.world.run(lambda: reached(new, HEIGHT + 3))
    versions = [story.chain.header(Height(height)).version for height in range(1, HEIGHT + 3)]
    assert versions == [1] * (HEIGHT - 1) + [2] * 3
    (result,) = story.world.submit(new[0], [payment(story.nonce, version=1)])
    assert isinstance(result, Refused) and result.reason is Reason.WRONG_VERSION


def test_the_old_program_stops_again_and_the_new_one_catches_up() -> None:
    story = Story((OLD, NEW, NEW, NEW))
    old = story.world.machines[0]
    story.pay_until(HEIGHT + 2)
    assert not old.alive
    with pytest.raises(Refused) as caught:
        story.world.start(old)
    assert caught.value.reason is Reason.UPGRADE_NEEDED
    old.alive, old.versions = [], NEW
    story.world.start(old)
    story.world.run(lambda: reached([old], HEIGHT + 2))
    story.pay_until(HEIGHT + 4)
    story.world.run(lambda: len({machine.core.chain.height for machine in story.world.machines}) == 1)
    assert len({machine.core.chain.store.state_root for machine in story.world.machines}) == 1


def test_a_full_node_that_catches_up_stops_there_too() -> None:
    story = Story((NEW, NEW, NEW, NEW, OLD, NEW), followers=2)
    late = story.world.machines[4]
    story.world.crash(late)
    story.pay_until(HEIGHT + 3)
    story.world.start(late)
    story.world.run(lambda: bool(story.stopped), limit=200_000)
    assert story.stopped[4].reason is Reason.UPGRADE_NEEDED
    assert stored_height(late) == HEIGHT - 1


def test_what_waits_is_dropped_when_the_version_changes() -> None:
    story = Story((NEW, NEW, NEW, NEW))
    story.pay_until(HEIGHT - 2)
    machine = story.world.machines[-1]
    ahead = payment(story.nonce + 5)
    (result,) = story.world.submit(machine, [ahead])
    assert not isinstance(result, Refused) and len(machine.core.mempool) == 1
    story.pay_until(HEIGHT - 1)
    story.world.run(lambda: reached(story.world.machines, HEIGHT - 1))
    assert [len(one.core.mempool) for one in story.world.machines] == [0] * 4


def test_with_two_old_programs_of_four_the_chain_waits_and_then_goes_on() -> None:
    story = Story((OLD, OLD, NEW, NEW))
    story.pay_until(HEIGHT - 1)
    story.world.run(lambda: story.stopped.keys() == {0, 1})
    until = story.world.now + 5_000
    story.world.later(until)
    story.world.submit(story.world.machines[-1], [payment(story.nonce, version=2)])
    story.world.run(lambda: story.world.now >= until)
    assert {machine.core.chain.height for machine in story.world.machines[2:]} == {HEIGHT - 1}
    for machine in story.world.machines[:2]:
        machine.versions = NEW
        story.world.start(machine)
    story.world.run(lambda: reached(story.world.machines, HEIGHT), limit=200_000)
