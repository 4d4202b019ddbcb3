"""Makes snapshots while blocks go on: every so many blocks, or so often by the chain's clock, or when it is asked for.

The state is frozen in the moment in which the block above is committed, so that every node freezes the same; what takes
time, reading and writing, goes on on a thread, which rests as long as it works.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from crypto.errors import Reason, Refused
from node.chain import Chain
from node.logs import logger
from node.snapshots import DiskShelf, Draft, SnapshotFile, draft_snapshot, write_snapshot
from state.types import Height

REST: Final = 1.0
"""Rest of the writing thread as a share of its work."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at whether the operator asks."""
UNITS: Final = {"m": 60_000, "h": 3_600_000}
REQUEST: Final = "create"
"""Name of the empty file beside the snapshots by which the operator asks."""

_log = logger("database")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When snapshots are made by themselves. All nodes with one schedule make them of the same heights.

    Attributes:
        blocks: of each height that this divides; 0 for none.
        period: of the last block before each full period of the chain's clock since 1970, in ms; 0 for none.
    """

    blocks: int = 0
    period: int = 0

    def wants(self, height: Height, time: int, before: int) -> bool:
        """Tell whether the block below the one at `height` is due, given the times of the two in ms."""
        by_height = self.blocks > 0 and height > self.blocks and (height - 1) % self.blocks == 0
        return by_height or (height > 2 and self.period > 0 and time // self.period > before // self.period)


def schedule_of(setting: int | str) -> Schedule:
    """Return the schedule that `snapshot_every` names: blocks, or minutes or hours such as `30m` or `6h`."""
    if isinstance(setting, int):
        return Schedule(blocks=setting)
    return Schedule(period=int(setting[:-1]) * UNITS[setting[-1]])


class SnapshotMaker:
    """Makes the snapshots of one node.

    Args:
        chain: the committed chain.
        shelf: takes the snapshots.
        schedule: when one is made by itself.
    """

    def __init__(self, chain: Chain, shelf: DiskShelf, schedule: Schedule) -> None:
        self._chain = chain
        self._shelf = shelf
        self._schedule = schedule
        self._last_time = chain.tip.time
        self._send, self._receive = trio.open_memory_channel[Draft](1)

    def committed(self, height: Height) -> None:
        """A block was committed a moment ago, and nothing since: begin if it is time."""
        before, self._last_time = self._last_time, self._chain.tip.time
        if self._schedule.wants(height, self._last_time, before):
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
