"""The state before the first block."""

from typing import Any

from apps.registry import MODULES
from state.changes import Changes, Overlay


class _Nothing:
    """The state before there is any."""

    def get(self, key: bytes) -> bytes | None:
        return None


def init_genesis(genesis: Any) -> Changes:
    """Return the records that a genesis document puts into the empty state, module by module.

    Raises:
        Refused: BAD_GENESIS.
    """
    state = Overlay(_Nothing())
    for module in MODULES:
        module.genesis(state, genesis)
    return state.changes()
