"""Following a node: each block in order into the database, through restarts of either side."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import trio

from crypto.errors import Reason, Refused
from node.api.shapes import Status
from node.client import AsyncClient
from node.home import write_file
from node.indexer.apply import IndexedBlock, genesis_block
from node.indexer.database import Database, Position
from node.indexer.settings import Settings
from node.indexer.source import AWAY, BlockSource, chain_id_of
from node.logs import logger

T = TypeVar("T")

PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a node or a database that is away is asked again; the last for ever after."""
TELL_EVERY: Final = 5.0
"""Seconds between two lines about the progress."""
READABLE: Final = 0o644
"""Mode of the height file: other programs read it."""
_log = logger("database")


class _Done(Exception):
    """The last block that was asked for is written."""


class Indexer:
    """One run.

    Args:
        settings: what it was told.
        source: the node.
        database: the tables.
    """

    def __init__(self, settings: Settings, source: BlockSource, database: Database) -> None:
        self._settings = settings
        self._source = source
        self._database = database
        self._progress = Progress()

    async def run(self) -> None:
        """Follow until cancelled, or until the height at which to end.

        Raises:
            Refused: what no waiting mends: WRONG_CHAIN, WRONG_VERSION, NOT_AVAILABLE, FORKED, CONFLICT,
                CORRUPT_DATABASE, PROTOCOL_VIOLATION, BAD_CONFIG if the height cannot be written.
        """
        pauses = iter(PAUSES)
        position: Position | None = None
        while True:
            try:
                status = await self._source.status()
                # Every time, for another node may answer under this address by now.
                position = await self._stand(status)
                self._progress.begin(position.height, int(status.height))
                pauses = iter(PAUSES)
                await self._source.read(position.height + 1, self._take)
            except _Done:
                return
            except Refused as refused:
                if refused.reason not in AWAY:
                    raise
                pause = next(pauses, PAUSES[-1])
                _log.warning("no blocks from the node", reason=refused.reason.value, detail=refused.detail, again=pause)
                await trio.sleep(pause)

    async def _stand(self, status: Status) -> Position:
        """Return where the database stands; fill it with the genesis if it is empty."""
        found = await self._patiently(
            partial(self._database.position, status.chain_id, status.chain_name)
        )
        if found is None:
            genesis = await self._source.genesis(status.chain_id)
            block = genesis_block(genesis, chain_id_of(status))
            found = await self._patiently(partial(self._database.begin, block, genesis.name))
        await self._keep_height(found)
        return found

    async def _take(self, block: IndexedBlock) -> None:
        position = await self._patiently(partial(self._database.apply, block))
        await self._keep_height(position)
        self._progress.went_to(position.height)

    async def _keep_height(self, position: Position) -> None:
        """Write the height file, after the database: it never runs ahead. Raises _Done at the last height."""
        path = self._settings.height_file
        if path is not None:
            try:
                await trio.to_thread.run_sync(write_file, path, f"{position.height}\n".encode(), READABLE)
            except OSError as error:
                raise Refused(Reason.BAD_CONFIG, f"{path} cannot be written: {error.strerror}") from None
        if self._settings.until is not None and position.height >= self._settings.until:
            raise _Done

    async def _patiently(self, act: Callable[[], T]) -> T:
        """Return what the database answers, once it does."""
        pauses = self._pauses()
        while True:
            try:
                return await trio.to_thread.run_sync(act)
            except Refused as refused:
                if refused.reason is not Reason.UNREACHABLE:
                    raise
                pause = next(pauses)
                _log.warning("the database is away", detail=refused.detail, again=pause)
                await trio.sleep(pause)

    @staticmethod
    def _pauses() -> Iterator[float]:
        yield from PAUSES
        while True:
            yield PAUSES[-1]


class Progress:
    """Says now and then how far it is: often while it catches up, each block when it has."""

    def __init__(self) -> None:
        self._target = 0
        self._told = 0.0
        self._since = (0.0, 0)

    def begin(self, height: int, target: int) -> None:
        """Begin at a height, with `target` as the node's last block."""
        self._target = target
        self._since = (time.monotonic(), height)
        _log.info("indexing", height=height, node_height=target)

    def went_to(self, height: int) -> None:
        """Note that a block was written."""
        now = time.monotonic()
        if height < self._target and now - self._told < TELL_EVERY:
            return
        self._told = now
        if height > self._target:
            _log.debug("block indexed", height=height)
            return
        started, first = self._since
        pace = (height - first) / max(now - started, 1e-3)
        left = (self._target - height) / max(pace, 1e-3)
        _log.info("catching up" if left else "caught up", height=height, of=self._target, blocks_per_second=round(pace),
                  seconds_left=round(left))


async def follow(settings: Settings) -> None:
    """Run the indexer as it was told, until cancelled. Raises Refused as `Indexer.run`, and USAGE."""
    database = Database(settings.database, settings.snapshot_every)
    try:
        async with AsyncClient(settings.node) as client:
            _log.info("indexer", database=database.name, node=settings.node)
            await Indexer(settings, BlockSource(client), database).run()
    finally:
        database.close()
