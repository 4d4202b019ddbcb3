"""The votes of past heights: bounded, readable without a chain, and never in the way of a start."""

from functools import cache
from pathlib import Path

from msgspec.structs import replace

from apps.token.messages import Transfer
from consensus.log import OfferEntry, ValidatorsEntry, VoteEntry, decode_entries, height_of
from consensus.types import NIL, Tip, Vote, VoteKind
from node.chain import open_chain
from node.vote_archive import VoteArchive
from node.wallet import ChainPoint, call, message
from state.genesis import genesis_hash
from state.memory import MemoryStore
from state.types import NATIVE, Address, Amount, BlockId, Height, Round
from tests.node.lab import Lab
from tests.node.world import MemoryLog, World


@cache
def tip() -> Tip:
    return open_chain(MemoryStore(), Lab(Path("/nonexistent"), size=4).genesis).tip


def at(height: int) -> Tip:
    return tip()._replace(height=Height(height - 1))


def vote(height: int) -> Vote:
    return Vote(VoteKind.PREVOTE, Height(height), Round(0), NIL, 0, b"signed")


def fill(archive: VoteArchive, heights: range) -> None:
    for height in heights:
        archive.begin(at(height))
        archive.add(vote(height))


def heights(files: tuple[MemoryLog, MemoryLog]) -> list[int]:
    entries = [entry for file in files for entry in decode_entries(file.content)[0]]
    return sorted(entry.vote.height for entry in entries if isinstance(entry, VoteEntry))


def test_the_last_heights_stay_and_older_ones_go() -> None:
    files = (MemoryLog(), MemoryLog())
    archive = VoteArchive(files, heights=10)
    archive.open()
    fill(archive, range(1, 36))
    assert heights(files) == list(range(21, 36))
    for file in files:
        first = decode_entries(file.content)[0][0]
        assert isinstance(first, ValidatorsEntry)
        assert first.validators == tip().validators


def test_a_restart_goes_on_where_it_stopped() -> None:
    files = (MemoryLog(), MemoryLog())
    for start in range(1, 35, 3):
        archive = VoteArchive(files, heights=10)
        archive.open()
        fill(archive, range(start, start + 3))
    assert heights(files)[-15:] == list(range(22, 37))
    assert len(heights(files)) < 30


def test_a_torn_end_is_cut_and_damage_empties_a_file() -> None:
    files = (MemoryLog(), MemoryLog())
    archive = VoteArchive(files, heights=10)
    archive.open()
    fill(archive, range(1, 15))
    torn, damaged = sorted(files, key=lambda file: -height_of(decode_entries(file.content)[0][0]))
    torn.content = torn.content[:-3]
    damaged.content = damaged.content[:40] + bytes([damaged.content[40] ^ 1]) + damaged.content[41:]
    again = VoteArchive(files, heights=10)
    again.open()
    fill(again, range(15, 16))
    assert heights(files) == [11, 12, 13, 15]


def test_a_change_of_the_set_is_written_down() -> None:
    files = (MemoryLog(), MemoryLog())
    archive = VoteArchive(files)
    archive.open()
    fill(archive, range(1, 3))
    smaller = replace(tip().validators, validators=tip().validators.validators[1:])
    archive.begin(at(3)._replace(validators=smaller))
    entries = [entry for file in files for entry in decode_entries(file.content)[0]]
    sets = [(entry.height, len(entry.validators)) for entry in entries if isinstance(entry, ValidatorsEntry)]
    assert sets == [(1, 4), (3, 3)]


def test_a_node_archives_what_it_logs() -> None:
    lab = Lab(Path("/nonexistent"), size=4)
    world = World(lab.genesis, [key.public_key for key in lab.consensus_keys])
    for machine in world.machines:
        world.start(machine)
    from_all = world.machines[0]
    pay = message("token/transfer", Transfer(NATIVE, Address(b"\x07" * 32), Amount(100)))
    chain_id = genesis_hash(lab.genesis)
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    world.submit(from_all, [call(point, lab.account(0), lab.wallet_keys[0], 0, [pay]).raw])
    world.run(lambda: all(machine.core.chain.height >= 2 for machine in world.machines))
    entries = [entry for file in from_all.archive for entry in decode_entries(file.content)[0]]
    cast = {(e.vote.height, e.vote.kind, e.vote.validator) for e in entries if isinstance(e, VoteEntry)}
    for height in (1, 2):
        for kind in VoteKind:
            assert len({who for at_height, of_kind, who in cast if (at_height, of_kind) == (height, kind)}) >= 3
    assert {entry.offer.height for entry in entries if isinstance(entry, OfferEntry)} >= {1, 2}
