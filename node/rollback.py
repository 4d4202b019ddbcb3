"""Undoes the last blocks of a stopped node: for an operator whose state is wrong, as after a faulty update.

The blocks leave the store, and go into the consensus log: the next start executes them again, with the program that is
then installed, and no peer need have them. Or they are thrown away, and come from peers. What this validator signed
stays as it is (node/last_sign.py): it votes again where it has not voted yet, and nowhere else.
"""

from typing import NamedTuple

from consensus.log import FinalEntry, HeightEntry, decode_entries, encode_entry, height_of
from crypto.errors import Reason, Refused
from node.chain import Chain, open_chain
from node.home import Home, write_file
from state.genesis import Genesis
from state.leveldb import LevelDB
from state.types import BlockId, Height


class RolledBack(NamedTuple):
    """Where the chain stands after blocks were undone."""

    height: Height
    block_id: BlockId
    state_root: bytes


def roll_back(home: Home, genesis: Genesis, heights: int, *, discard: bool = False) -> RolledBack:
    """Undo the last blocks of a home whose node does not run.

    Args:
        home: exists.
        genesis: of its chain.
        heights: how many blocks, 1 or more.
        discard: do not keep them for the next start.

    Raises:
        Refused: HOME_IN_USE; NOT_AVAILABLE if the chain is shorter or the changes of one of them are no longer kept,
            and nothing is done; CORRUPT_DATABASE, CORRUPT_LOG.
    """
    store = LevelDB.open(home.chain)
    try:
        chain = open_chain(store, genesis)
        goal = chain.height - heights
        if goal < 0:
            raise Refused(Reason.NOT_AVAILABLE, f"the chain has {chain.height} blocks, so {heights} cannot be undone")
        for number in range(chain.height, goal, -1):
            chain.store.changes_at(Height(number))
        # The log first: a crash in between leaves entries of heights that the chain has passed, which do no harm.
        raw = home.consensus_log.read_bytes() if home.consensus_log.exists() else b""
        write_file(home.consensus_log, log_after(raw, chain, Height(goal), discard=discard))
        while chain.store.height > goal:
            chain.store.undo_block()
        tip = open_chain(store, genesis).tip
    finally:
        store.close()
    return RolledBack(tip.height, tip.block_id, tip.state_root)


def log_after(raw: bytes, chain: Chain, goal: Height, *, discard: bool) -> bytes:
    """Return the consensus log of a chain whose blocks above `goal` are about to be undone.

    They come before what the log holds of the height in progress, unless they are thrown away.

    Raises:
        Refused: CORRUPT_LOG, CORRUPT_DATABASE.
    """
    entries = [entry for entry in decode_entries(raw)[0] if height_of(entry) > chain.height]
    numbers = () if discard else range(goal + 1, chain.height + 1)
    undone = [chain.block(Height(number)) for number in numbers]
    finals = [FinalEntry(one.block, one.commit) for one in undone]
    content = [HeightEntry(Height(goal + 1)), *finals, *entries]
    return b"".join(encode_entry(entry) for entry in content)
