"""A small network on real disks and a clock that jumps, in lives: a process runs it, dies, and another goes on.

What left the machines and what they called committed is written beside the disks, for the test to compare. A life is
a forked process, so that keys and signed payments are made once, and `os._exit` is the real one.
"""

import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
import structlog

from apps.token.messages import Transfer
from consensus.types import Proposal, Vote, VoteKind, vote_sign_bytes
from crypto.errors import Refused
from crypto.schemes import address_of
from node.actions import Action, Publish, Send, SendAll
from node.config import load_config, make_config, save_config
from node.consensus_log import DiskLog
from node.evidence_pool import evidence_document
from node.home import Home, open_home, write_file
from node.keystore import CONSENSUS_KEY, NODE_KEY, save_node_key
from node.last_sign import sign_document
from node.node import load_genesis, load_keys
from node.sign_export import begin_state, check_present
from node.wallet import ChainPoint, call, message
from p2p.network import Channel
from p2p.wire import ProposalMessage, VoteMessage, consensus_message_codec
from state.encoding import encode
from state.genesis import genesis_hash
from state.genesis_json import genesis_to_json
from state.leveldb import LevelDB
from state.transaction import decode_transaction
from state.types import NATIVE, Address, Amount, BlockId, Height, Round
from tests.crashes.disk import CountingDisk
from tests.node.lab import Lab
from tests.node.world import Machine, World, fake_signature

WAVES: Final = 3
"""Payments in the first life, one after the other."""
LATER: Final = 3_600_000
"""ms between two lives."""
LIES: Final = (BlockId(b"\x01" * 32), BlockId(b"\x02" * 32))
"""What the validator without a machine votes for."""
BOB: Final = Address(b"\x07" * 32)


class Said(msgspec.Struct, frozen=True, tag="said"):
    """A vote or proposal left a machine."""

    frame: bytes


class Committed(msgspec.Struct, frozen=True, tag="committed"):
    """A machine called a block committed."""

    machine: int
    height: int
    block_id: bytes
    state_root: bytes
    txids: tuple[bytes, ...]


class Stood(msgspec.Struct, frozen=True, tag="stood"):
    """Where a machine stood when a life began."""

    machine: int
    height: int
    block_id: bytes
    state_root: bytes


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """How a life ended: by a refusal, by a fault of the program, or well (both empty). `points` were passed."""

    points: int
    refused: str = ""
    detail: str = ""
    fault: str = ""


Line = Said | Committed | Stood | Ended
_line_decoder = msgspec.msgpack.Decoder(list[Line])


@dataclass(frozen=True)
class Story:
    """What happened on one set of disks over all lives."""

    lines: tuple[Line, ...]

    def of(self, kind: type) -> list[Line]:
        """Return the lines of one kind."""
        return [line for line in self.lines if isinstance(line, kind)]


@cache
def lab(size: int) -> Lab:
    """Return the keys and genesis of a network; the same for all lives of this process's children.

    Several machines have one validator more beside them, which never answers and signs two votes at the beginning.
    """
    return Lab(Path(os.devnull), size=size if size == 1 else size + 1)


@cache
def payments(size: int) -> tuple[bytes, ...]:
    """Return signed payments in order of nonce."""
    chain_id = genesis_hash(lab(size).genesis)
    pay = message("token/transfer", Transfer(NATIVE, BOB, Amount(100)))
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    account = replace(lab(size).account(0), registered=False)
    return tuple(call(point, account, lab(size).wallet_keys[0], nonce, [pay]).raw for nonce in range(WAVES + 1))


def home_of(folder: Path, index: int) -> Home:
    """Return the home of a machine, made if it is missing."""
    home = Home(folder / f"node{index}")
    for one in (home.keys, home.data):
        one.mkdir(parents=True, exist_ok=True)
    return home


def complete_home(folder: Path, size: int) -> None:
    """Give machine 0 what a real home has besides data: settings, genesis and keys."""
    home, made = home_of(folder, 0), lab(size)
    save_config(home.config, make_config(moniker="node0"))
    write_file(home.genesis, genesis_to_json(made.genesis))
    write_file(home.genesis_hash, f"{genesis_hash(made.genesis).hex()}\n".encode())
    save_node_key(home.keys / f"{CONSENSUS_KEY}.json", made.consensus_keys[0])
    save_node_key(home.keys / f"{NODE_KEY}.json", made.node_keys[0])
    if not home.sign_state.exists():
        begin_state(home, Address(made.consensus_keys[0].address), genesis_hash(made.genesis))


def story_of(folder: Path) -> Story:
    """Return what the lives on these disks left behind."""
    raw = (folder / "story").read_bytes() if (folder / "story").exists() else b""
    lines: list[Line] = []
    while raw:
        size = int.from_bytes(raw[:4], "big")
        lines += _line_decoder.decode(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return Story(tuple(lines))


class Life:
    """One process's run of the network.

    Args:
        folder: of the disks and the story.
        size: machines.
        number: of the life; the clock and the signatures differ from life to life.
    """

    def __init__(self, folder: Path, size: int, number: int) -> None:
        self.folder = folder
        self.size = size
        self.world = World(lab(size).genesis, [key.public_key for key in lab(size).consensus_keys[:size]])
        self.world.now += number * LATER
        self.world._signatures = count(number * 10**6)
        self.world.on_action = self._note
        self._write = os.write
        self._story = os.open(folder / "story", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def begin(self, read_home: bool = False) -> None:
        """Open every machine's disk, and start them all; `read_home` reads machine 0's settings, genesis and keys, too.

        Raises:
            Refused: as `open_node`.
        """
        for index, machine in enumerate(self.world.machines):
            home = home_of(self.folder, index)
            if read_home and index == 0:
                load_config(open_home(home.root).config, {})
                load_genesis(home)
                consensus = load_keys(home, None).consensus
                if consensus is not None:
                    check_present(home)
                machine.key = None if consensus is None else consensus.public_key
            machine.store = LevelDB.open(home.chain)  # type: ignore[assignment]
            machine.log = DiskLog(home.consensus_log)  # type: ignore[assignment]
            machine.last_sign = sign_document(home.sign_state)  # type: ignore[assignment]
            machine.evidence = evidence_document(home.evidence)  # type: ignore[assignment]
            machine.archive = tuple(map(DiskLog, home.vote_archive))  # type: ignore[assignment]
        for index, machine in enumerate(self.world.machines):
            self.world.start(machine)
            tip = machine.core.chain.tip
            self.tell(Stood(index, tip.height, tip.block_id, tip.state_root))

    def lie(self) -> None:
        """Let the validator without a machine prevote for two blocks: evidence that every machine writes down."""
        key = lab(self.size).consensus_keys[-1].public_key
        first = self.world.machines[0]
        tip = first.core.chain.tip
        index = tip.validators.index_of(Address(address_of(key)))
        assert index is not None
        for block_id in LIES:
            message = vote_sign_bytes(tip.chain_id, VoteKind.PREVOTE, Height(1), Round(0), block_id)
            vote = Vote(VoteKind.PREVOTE, Height(1), Round(0), block_id, index, fake_signature(key, message))
            self.world.hear(first, self.world.machines[1], encode(VoteMessage(vote)))

    def pay(self, raws: Sequence[bytes]) -> None:
        """Submit payments one after the other, each final on all machines before the next."""
        for number, raw in enumerate(raws):
            self.world.submit(self.world.machines[number % self.size], [raw])
            self.world.run(lambda raw=raw: self._everywhere(raw), limit=600_000)  # type: ignore[misc]
        self.world.run(lambda: len({machine.core.chain.height for machine in self.world.machines}) == 1)

    def _everywhere(self, raw: bytes) -> bool:
        txid = decode_transaction(raw).txid
        return all(machine.core.chain.store.location(txid) is not None for machine in self.world.machines)

    def tell(self, line: Line) -> None:
        """Write down what happened, past the counting disk."""
        raw = msgspec.msgpack.encode([line])
        self._write(self._story, len(raw).to_bytes(4, "big") + raw)

    def _note(self, machine: Machine, action: Action) -> bool:
        if isinstance(action, Send | SendAll) and said_in(action):
            self.tell(Said(action.payload))
        if isinstance(action, Publish):
            event = action.event
            root = machine.core.chain.store.block_row(event.height).state_root
            txids = tuple(bytes(receipt.txid) for receipt in event.receipts)
            self.tell(Committed(machine.name[0] - 1, event.height, event.block_id, root, txids))
        return False


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked process that ends with `os._exit`; return its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def first_life(folder: Path, size: int, die_at: int, counted: Sequence[str]) -> int:
    """Run the network from genesis; die at a point of the counted machines (0: at none). Return the exit code."""
    payments(size)  # made before the fork: the same for all lives

    def work() -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        life = Life(folder, size, 1)
        disk = CountingDisk([folder / name for name in counted], die_at, folder / "death")
        disk.install()
        life.begin()
        if size > 1:
            life.lie()
        life.pay(payments(size)[:WAVES])
        life.tell(Ended(disk.points))

    return in_child(work)


def next_life(folder: Path, size: int, number: int = 2, read_home: bool = False) -> int:
    """Start the network on these disks, and let it take up all payments, old and new. Return the exit code."""

    def work() -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        life = Life(folder, size, number)
        try:
            life.begin(read_home)
            life.pay(payments(size))
        except Refused as refused:
            life.tell(Ended(0, refused.reason.value, refused.detail))
        except BaseException:
            life.tell(Ended(0, fault=traceback.format_exc()))
        else:
            halted = life.world.halted
            life.tell(Ended(0, *((halted[0].reason.value, halted[0].detail) if halted else ("", ""))))

    return in_child(work)


def check_story(story: Story, expected: dict[int, Committed], damaged: Collection[int] = ()) -> None:
    """Nobody said two things at one place; one block and one root at each height; nothing acknowledged is lost.

    Args:
        story: of all lives on some disks.
        expected: the blocks of the undisturbed run by height, which the first life's are a part of.
        damaged: machines that may have lost blocks, which they fetch again.
    """
    said: dict[tuple[object, ...], Vote | Proposal] = {}
    acknowledged: Counter[int] = Counter()
    chain: dict[int, tuple[bytes, bytes]] = {}
    for line in story.lines:
        match line:
            case Said(frame):
                one = _message(frame)
                if isinstance(one, Vote) and one.block_id in LIES:
                    continue
                assert said.setdefault(_place(one), one) == one, f"two things were signed at {_place(one)}"
            case Stood(machine, height, block_id, root):
                assert machine in damaged or height >= acknowledged[machine], f"machine {machine} lost a block"
                if height:
                    block = expected[height]
                    found = chain.setdefault(height, (block.block_id, block.state_root))
                    assert found == (block_id, root), f"another block or root at height {height}"
            case Committed(machine, height, block_id, root):
                if machine not in damaged:
                    acknowledged[machine] = max(height, acknowledged[machine])
                assert chain.setdefault(height, (block_id, root)) == (block_id, root), f"two blocks at height {height}"


def said_in(action: Send | SendAll) -> bool:
    """Whether a vote or a proposal leaves with it."""
    if action.channel is not Channel.CONSENSUS:
        return False
    return isinstance(consensus_message_codec.decode(action.payload), VoteMessage | ProposalMessage)


def _message(frame: bytes) -> Vote | Proposal:
    message = consensus_message_codec.decode(frame)
    if isinstance(message, VoteMessage):
        return message.vote
    assert isinstance(message, ProposalMessage)
    return message.proposal


def _place(said: Vote | Proposal) -> tuple[object, ...]:
    if isinstance(said, Vote):
        return said.validator, said.height, said.round, said.kind
    return "proposal", said.height, said.round
