"""The gateway as a child of the node: started when the node is ready, again when it dies, and gone with the node."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from node.logs import logger

PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the child is started again; the first again once it ran for LONG."""
LONG: Final = 300.0
Beside = Callable[[str], Awaitable[None]]
"""Runs beside a node until cancelled, given the URL of its API."""
_log = logger("p2p")


async def nothing(url: str) -> None:
    """Run nothing beside the node."""


def listener(home: Path, place: str) -> Beside:
    """Return what runs the gateway beside the node of a home, listening at `[ADDR]:PORT`."""

    async def run(url: str) -> None:
        await keep_running(child_command(home, place, url))

    return run


def child_command(home: Path, place: str, url: str) -> list[str]:
    """Return the command line of the child."""
    return [
        sys.executable, "-m", "node.cli.main", "--home", str(home), "--node", url, "interop", "--listen", place,
        "--with-parent",
    ]


async def keep_running(command: list[str]) -> None:
    """Run the child until cancelled, and again when it ends. It ends by itself when our end of its stdin closes."""
    pauses = iter(PAUSES)
    while True:
        started = trio.current_time()
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=sys.stderr)
        try:
            code = await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if trio.current_time() - started > LONG:
            pauses = iter(PAUSES)
        pause = next(pauses, PAUSES[-1])
        _log.warning("the listener for stock libp2p ended", code=code, again_in_seconds=pause)
        await trio.sleep(pause)
