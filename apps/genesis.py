"""The state before the first block."""

from apps.registry import MODULES
from state.changes import Changes, Overlay
from state.genesis import Genesis, check_genesis, genesis_hash


class _Nothing:
    """The state before there is any."""

    def get(self, key: bytes) -> bytes | None:
        return None


def init_genesis(genesis: Genesis) -> Changes:
    """Check a genesis document and return the records that it puts into the empty state, module by module.

    Raises:
        Refused: BAD_GENESIS.
    """
    check_genesis(genesis)
    chain_id = genesis_hash(genesis)
    state = Overlay(_Nothing())
    for module in MODULES:
        module.genesis(state, genesis, chain_id)
    return state.changes()
