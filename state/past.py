"""Proofs after an older block: the inner nodes of a recent state, with what changed since taken back.

It costs about as much as executing what it takes back, so whoever offers it sets a limit.
"""

from collections.abc import Iterable

from crypto.errors import Reason, Refused
from state.changes import Changes
from state.columns import STATE, record_value
from state.pages import state_key
from state.proof import StateProof
from state.snapshot import FrozenState
from state.tree import StateTree
from state.types import Height


class PastState:
    """The state after one block, from a frozen one of a later block. Close it.

    Args:
        frozen: belongs to this object from now on.
        height: at most that of `frozen`.
        since: what the blocks from `height` + 1 to that of `frozen` changed, in this order.
        most: how many records they may have changed.

    Attributes:
        height: of the block.
        root: of the state after it.

    Raises:
        Refused: NOT_AVAILABLE if more changed, CORRUPT_DATABASE.
    """

    def __init__(self, frozen: FrozenState, height: Height, since: Iterable[Changes], most: int) -> None:
        self.height = height
        self._frozen = frozen
        self._before: dict[bytes, bytes | None] = {}
        for changes in since:
            for key, (before, _) in changes.entries.items():
                self._before.setdefault(key, before)
            if len(self._before) > most:
                raise Refused(
                    Reason.NOT_AVAILABLE,
                    f"more than {most} records changed since block {height}: too far back for proofs",
                )
        self._tree = StateTree.over(frozen.view, frozen.nodes, Height(height - 1))
        self.root = self._tree.update(height, ((state_key(key), value) for key, value in self._before.items()))

    def prove(self, key: bytes) -> StateProof:
        """Return the proof of a record, or of its absence. Raises Refused(CORRUPT_DATABASE)."""
        return self._tree.prove(key, self.height, self._value(key))

    def close(self) -> None:
        """Let go of the frozen state."""
        self._frozen.close()

    def _value(self, key: bytes) -> bytes | None:
        if key in self._before:
            return self._before[key]
        place = STATE + state_key(key)
        row = self._frozen.view.get(place)
        return None if row is None else record_value(place, row)
