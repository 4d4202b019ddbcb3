"""From the state after a block to what consensus needs for the next one."""

from apps.chain.records import beacon, priorities, validators_at
from apps.chain.upgrade import version_at
from consensus.types import EMPTY_COMMIT, Commit, Header, Tip
from crypto.merkle import merkle_root
from state.changes import Reader
from state.types import BlockId, ChainId, Height


def tip_after(
    reader: Reader, header: Header, commit: Commit, *, state_root: bytes, receipts_root: bytes, needs_proof_block: bool
) -> Tip:
    """Return the tip after a committed and executed block.

    Args:
        reader: the state after the block.
        header: the block's header.
        commit: a commit for it.
        state_root: of the state after the block.
        receipts_root: of the block's receipts.
        needs_proof_block: the block holds transactions or evidence.
    """
    height = header.height
    return Tip(
        chain_id=header.chain_id,
        height=height,
        block_id=header.block_id,
        time=header.time,
        commit=commit,
        state_root=state_root,
        receipts_root=receipts_root,
        beacon=beacon(reader),
        previous_validators=validators_at(reader, height),
        validators=validators_at(reader, height + 1),
        next_validators=validators_at(reader, height + 2),
        priorities=priorities(reader),
        needs_proof_block=needs_proof_block,
        version=version_at(reader, height + 1),
    )


def genesis_tip(reader: Reader, chain_id: ChainId, time: int, state_root: bytes) -> Tip:
    """Return the tip of a chain that has no block yet. `time` is the genesis time in ms."""
    first = validators_at(reader, 1)
    return Tip(
        chain_id=chain_id,
        height=Height(0),
        block_id=BlockId(chain_id),
        time=time,
        commit=EMPTY_COMMIT,
        state_root=state_root,
        receipts_root=merkle_root([]),
        beacon=beacon(reader),
        previous_validators=first,
        validators=first,
        next_validators=validators_at(reader, 2),
        priorities=priorities(reader),
        needs_proof_block=False,
        version=version_at(reader, 1),
    )
