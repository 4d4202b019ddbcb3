"""Proofs after blocks that the tree's own short history does not reach: as far back as changes are kept.

What it takes is done on a thread, one height at a time, and the height that was asked for last stays ready. So much
work may be asked for by anybody that the thread rests four times as long as it worked: until then, other heights wait.
"""

from typing import Final

import trio

from crypto.errors import Reason, Refused
from node.chain import Chain
from state.past import PastState
from state.proof import StateProof
from state.snapshot import FrozenState
from state.types import Height

MOST: Final = 100_000
"""Records that may have changed since: some seconds of work."""
REST: Final = 4.0
"""Rest of the thread as a share of its work."""
PATIENCE: Final = 10.0
"""Seconds that a question waits for the thread's turn."""


class PastProofs:
    """Proofs of one chain's older states. `close` it before its database."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._ready: PastState | None = None
        self._turn = trio.Lock()
        self._rested_at = 0.0

    async def prove(self, key: bytes, height: Height) -> StateProof:
        """Return the proof of a record after a block.

        Raises:
            Refused: NOT_AVAILABLE if too much changed since, or the changes are not kept; RATE_LIMITED if others keep
                the thread busy; CORRUPT_DATABASE.
        """
        with trio.move_on_after(PATIENCE) as patience:
            async with self._turn:
                ready = self._ready
                if ready is None or ready.height != height:
                    await trio.sleep_until(self._rested_at)
                    patience.deadline = float("inf")
                    ready = await self._go_to(height)
                return ready.prove(key)
        raise Refused(
            Reason.RATE_LIMITED, f"others ask for proofs of old blocks; ask again for those of {height} in a moment"
        )

    def close(self) -> None:
        """Let go of what is ready."""
        if self._ready is not None:
            self._ready.close()
            self._ready = None

    async def _go_to(self, height: Height) -> PastState:
        self._chain.store.reader_at(height)  # refuses what is not kept
        frozen = self._chain.store.freeze()
        started = trio.current_time()
        try:
            state = await trio.to_thread.run_sync(self._build, frozen, height)
        except BaseException:
            frozen.close()
            raise
        finally:
            now = trio.current_time()
            self._rested_at = now + REST * (now - started)
        self.close()
        self._ready = state
        return state

    def _build(self, frozen: FrozenState, height: Height) -> PastState:
        store = self._chain.store
        since = (store.changes_at(Height(other)) for other in range(height + 1, frozen.height + 1))
        state = PastState(frozen, height, since, MOST)
        if state.root != self._chain.header(Height(height + 1)).state_root:
            raise Refused(Reason.CORRUPT_DATABASE, f"the changes that are kept do not lead back to block {height}")
        return state
