"""Runs a job in a process of its own and reads what it says. Cancelling kills the process."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from crypto.errors import Reason, Refused
from node.proving.worker import Failure, Job, Line, Result, Tries

PLOT_STEPS: Final = (
    (re.compile(rb"Progress update: ([0-9.]+)"), 0.0),
    (re.compile(rb"Starting phase 2/4"), 0.6),
    (re.compile(rb"Starting phase 3/4"), 0.7),
    (re.compile(rb"Starting phase 4/4"), 0.95),
)
"""Lines by which chiapos says how far a plot is, and the share that each stands for."""
MAX_LINE: Final = 1 << 20

_decoder: Final = msgspec.json.Decoder(Line)

Progress = Callable[[float], None]
"""Is told of a job's progress: the share of a plot that is done, or the tries of a hashcash so far."""


def no_progress(_amount: float) -> None:
    """Tell nobody."""


async def run_job(job: Job, progress: Progress = no_progress) -> Result:
    """Run a job to its end.

    Args:
        job: what to do.
        progress: is told how far it is.

    Raises:
        Refused: BAD_PLOT; NODE_DIED if the process ended without a result, as it does on a badly damaged plot.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "node.proving.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("the process was started with pipes")
    last: Line | None = None
    errors = bytearray()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, process.stderr, errors)
            with suppress(trio.BrokenResourceError):  # it ended before it read; the exit code says more
                await process.stdin.send_all(msgspec.json.encode(job) + b"\n")
            rest = b""
            async for chunk in process.stdout:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    last = _read(line, progress) or last
                if len(rest) > MAX_LINE:
                    rest = b""
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    match last:
        case Result():
            return last
        case Failure(reason, detail):
            raise Refused(Reason(reason), detail)
    why = errors.decode(errors="replace").strip().splitlines()[-1:] or ["without a word"]
    raise Refused(Reason.NODE_DIED, f"the proving process ended with code {code}: {why[0]}")


async def _drain(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk
        del into[:-4096]


def _read(line: bytes, progress: Progress) -> Line | None:
    """Return the result in a line, or None for a line of progress or chatter."""
    if line.startswith(b"{"):
        try:
            found: Line = _decoder.decode(line)
        except msgspec.DecodeError:
            return None
        if isinstance(found, Tries):
            progress(found.tries)
            return None
        return found
    for pattern, share in PLOT_STEPS:
        match = pattern.search(line)
        if match is not None:
            progress(float(match[1]) if match.groups() else share)
    return None
