"""Makes snapshots while blocks go on: at every height that a number divides, and when the operator asks.

The state is frozen in the moment in which the block above is committed, so that every node freezes the same; what takes
time, reading and writing, goes on on a thread, which rests as long as it works.
"""

from pathlib import Path
from typing import Final

import trio

from crypto.errors import Reason, Refused
from node.chain import Chain
from node.events import BlockCommitted
from node.logs import logger
from node.snapshots import DiskShelf, Draft, SnapshotFile, draft_snapshot, write_snapshot

REST: Final = 1.0
"""Rest of the writing thread as a share of its work."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at whether the operator asks."""
REQUEST: Final = "create"
"""Name of the empty file beside the snapshots by which the operator asks."""

_log = logger("database")


class SnapshotMaker:
    """Makes the snapshots of one node.

    Args:
        chain: the committed chain.
        shelf: takes the snapshots.
        every: makes one of each height that this divides; 0 for none by itself.
    """

    def __init__(self, chain: Chain, shelf: DiskShelf, every: int) -> None:
        self._chain = chain
        self._shelf = shelf
        self._every = every
        self._send, self._receive = trio.open_memory_channel[Draft](1)

    def committed(self, event: BlockCommitted) -> None:
        """A block was committed a moment ago, and nothing since: begin if it is time."""
        if self._every and event.height > self._every and (event.height - 1) % self._every == 0:
            self._begin()

    async def run(self) -> None:
        """Write what was begun, until cancelled."""
        request = self._shelf.folder / REQUEST
        try:
            while True:
                if request.exists():
                    request.unlink()
                    self._begin()
                drafts: list[Draft] = []
                with trio.move_on_after(LOOK_EVERY):
                    drafts.append(await self._receive.receive())
                for draft in drafts:
                    await self._write(draft)
        finally:
            while self._receive.statistics().current_buffer_used:
                self._receive.receive_nowait().frozen.close()

    def _begin(self) -> None:
        if self._send.statistics().current_buffer_used:
            _log.warning("no snapshot: the one before is not written yet", height=self._chain.height - 1)
            return
        try:
            draft = draft_snapshot(self._chain)
        except Refused as refused:
            if refused.reason is not Reason.NOT_AVAILABLE:
                raise
            _log.info("no snapshot", detail=refused.detail)
            return
        self._send.send_nowait(draft)

    async def _write(self, draft: Draft) -> None:
        began = trio.current_time()
        try:
            snapshot = await trio.to_thread.run_sync(_write, draft, self._shelf.folder)
        except Refused as refused:
            if refused.reason is Reason.CORRUPT_DATABASE:
                raise
            _log.warning("no snapshot", height=draft.height, reason=refused.reason.value, detail=refused.detail)
            return
        finally:
            draft.frozen.close()
        self._shelf.add(snapshot)
        offer = snapshot.offer
        _log.info("snapshot", height=offer.height, chunks=offer.chunks, bytes=offer.size,
                  seconds=round(trio.current_time() - began, 3), trust_height=offer.height + 1,
                  trust_hash=snapshot.index.following.header.block_id)


def _write(draft: Draft, folder: Path) -> SnapshotFile:
    return write_snapshot(draft, folder, lambda _: trio.from_thread.check_cancelled(), REST)
