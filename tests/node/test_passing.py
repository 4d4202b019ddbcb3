"""Votes and proposals between nodes that are not all peers of each other: at once, by every shape of network.

Statuses are lost in these worlds, so nothing that comes here came by the look at who is stuck.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from apps.token.messages import Transfer
from crypto.errors import Refused
from crypto.schemes import address_of
from node.actions import Action, Send
from node.compose import CoreSettings
from node.mempool import Limits
from node.wallet import ChainPoint, call, message
from p2p.network import Channel, PeerId
from p2p.wire import (
    ConsensusMessage,
    ProposalMessage,
    RoundStatusMessage,
    VoteMessage,
    WishesMessage,
    consensus_message_codec,
)
from state.genesis import genesis_hash
from state.types import NATIVE, Address, Amount, BlockId, Height
from tests.node.lab import QUICK, Lab
from tests.node.world import Machine, World

BOB = Address(b"\x07" * 32)
BLOCKS = 12
Shape = Callable[[int, int], bool]


@cache
def lab(size: int) -> Lab:
    return Lab(Path("/nonexistent"), size=size, timing=replace(QUICK, block_interval=150))


@cache
def payment(size: int, nonce: int) -> bytes:
    chain_id = genesis_hash(lab(size).genesis)
    pay = message("token/transfer", Transfer(NATIVE, BOB, Amount(100)))
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    return call(point, lab(size).account(0), lab(size).wallet_keys[0], nonce, [pay]).raw


def line(one: int, other: int) -> bool:
    return abs(one - other) == 1


def ring(one: int, other: int) -> bool:
    return (one - other) % 5 in (1, 4)


def star(one: int, other: int) -> bool:
    return 0 in (one, other)


def follower_in_the_middle(one: int, other: int) -> bool:
    return 4 in (one, other)


def two_sentries(one: int, other: int) -> bool:
    """The first validator knows but two nodes that do not vote; they know everybody."""
    return 0 not in (one, other) or bool({4, 5} & {one, other})


def one_link_missing(one: int, other: int) -> bool:
    return {one, other} != {0, 1}


def everybody(_one: int, _other: int) -> bool:
    return True


class Net:
    """A world of a shape, with a payment every time that a block is there."""

    def __init__(self, size: int, shape: Shape, followers: int = 0) -> None:
        keys: list[bytes | None] = [key.public_key for key in lab(size).consensus_keys]
        self.size = size
        self.world = World(lab(size).genesis, keys + [None] * followers)
        self.world.linked = lambda one, other: shape(self._index(one), self._index(other))
        self.world.loses = self._loses
        self.world.on_action = self._count
        self.sends: Counter[type[ConsensusMessage]] = Counter()
        """Frames that went to one peer alone."""
        self.silent: set[tuple[PeerId, PeerId]] = set()
        """From whom to whom votes and proposals get lost."""
        self.paid = 0
        for machine in self.world.machines:
            machine.settings = CoreSettings(Limits(), relay_delay=5, forward=machine.key is None)
            self.world.start(machine)

    def _index(self, machine: Machine) -> int:
        return machine.name[0] - 1

    def _loses(self, sender: Machine, receiver: Machine, channel: Channel, payload: bytes) -> bool:
        said = consensus_message_codec.decode(payload) if channel is Channel.CONSENSUS else None
        silent = (sender.name, receiver.name) in self.silent and isinstance(said, VoteMessage | ProposalMessage)
        return silent or isinstance(said, RoundStatusMessage)

    def _count(self, _machine: Machine, action: Action) -> bool:
        if isinstance(action, Send) and action.channel is Channel.CONSENSUS:
            self.sends[type(consensus_message_codec.decode(action.payload))] += 1
        return False

    def make_blocks(self, blocks: int, at: int = 1) -> None:
        """Pay at one machine, block by block; everybody has to come along."""
        for _ in range(blocks):
            height = self.height
            (result,) = self.world.submit(self.world.machines[at], [payment(self.size, self.paid)])
            assert not isinstance(result, Refused)
            self.paid += 1
            self.world.run(partial(self._has, height + 1))

    def _has(self, height: int) -> bool:
        return all(one.core.chain.height >= height for one in self.world.machines if one.alive)

    @property
    def height(self) -> int:
        """How far the chain is."""
        return self.world.machines[1].core.chain.height

    def rounds(self, first: int) -> set[int]:
        """Return the rounds in which the blocks from a height on were decided."""
        chain = self.world.machines[1].core.chain
        return {chain.commit_for(Height(at)).round for at in range(first, chain.height + 1)}

    def unsigned(self, first: int) -> list[int]:
        """Return for each validator how many blocks from a height on lack its precommit for the one before."""
        chain = self.world.machines[1].core.chain
        commits = [chain.block(Height(at)).block.last_commit for at in range(first, chain.height + 1)]
        by_index = Counter(one.validator for commit in commits for one in commit.signatures)
        places = [chain.tip.validators.index_of(Address(address_of(key.public_key)))
                  for key in lab(self.size).consensus_keys]
        return [len(commits) - by_index[place or 0] for place in places]

    def synced(self) -> list[int]:
        """Return how many blocks each living machine took from others ready-made."""
        return [machine.core.agreement.counters.synced for machine in self.world.machines if machine.alive]


@pytest.mark.parametrize(
    ("size", "followers", "shape"),
    [
        (4, 0, line), (5, 0, ring), (5, 0, star), (4, 1, follower_in_the_middle), (4, 2, two_sentries),
        (4, 0, one_link_missing), (7, 0, line),
    ],
)
def test_everybody_signs_nearly_every_height_in_every_shape(size: int, followers: int, shape: Shape) -> None:
    net = Net(size, shape, followers)
    net.make_blocks(12)
    first, synced = net.height + 1, net.synced()
    net.make_blocks(BLOCKS)
    assert max(net.unsigned(first)) <= 1
    assert net.synced() == synced
    assert net.rounds(first) == {0}


def test_where_all_are_peers_nobody_passes_on_anything() -> None:
    net = Net(4, everybody)
    net.make_blocks(3)
    begun = net.sends.copy()
    net.make_blocks(BLOCKS)
    assert net.sends == begun
    assert begun[WishesMessage] <= 3 * 12


def test_each_message_crosses_each_link_of_a_line_once() -> None:
    net = Net(4, line)
    net.make_blocks(4)
    begun, first = net.sends.copy(), net.height + 1
    net.make_blocks(BLOCKS)
    heights = net.height + 1 - first
    # of the votes at the ends two of three links are passed on, of those in the middle one: 6 for each kind
    assert net.sends[VoteMessage] - begun[VoteMessage] == 2 * 6 * heights


def test_a_sentry_that_falls_silent_is_replaced_by_the_other_one() -> None:
    net = Net(4, two_sentries, followers=2)
    net.make_blocks(4)
    validator, sentries = net.world.machines[0], net.world.machines[4:]
    busy = [sentry for sentry in sentries if sentry.core.agreement.passing.passed > 0]
    net.silent.update((sentry.name, validator.name) for sentry in busy[:1])
    net.make_blocks(3)
    first, synced = net.height + 1, net.synced()
    net.make_blocks(BLOCKS)
    assert max(net.unsigned(first)) <= 1
    assert net.synced() == synced


def test_a_sentry_that_dies_and_one_that_comes_back() -> None:
    net = Net(4, two_sentries, followers=2)
    net.make_blocks(3)
    one, other = net.world.machines[4:]
    net.world.crash(one)
    net.make_blocks(3)
    net.world.start(one)
    net.make_blocks(1)
    net.world.crash(other)
    net.make_blocks(2)
    first, synced = net.height + 1, net.synced()
    net.make_blocks(BLOCKS)
    assert max(net.unsigned(first)) <= 1
    assert net.synced() == synced


def test_a_validator_that_restarts_with_a_link_missing_votes_again() -> None:
    net = Net(4, one_link_missing)
    net.make_blocks(3, at=2)
    net.world.crash(net.world.machines[0])
    net.make_blocks(3, at=2)
    net.world.start(net.world.machines[0])
    net.make_blocks(3, at=2)
    first, synced = net.height + 1, net.synced()
    net.make_blocks(BLOCKS)  # what is paid at the one that it has no link with reaches it as well
    assert max(net.unsigned(first)) <= 1
    assert net.synced() == synced
