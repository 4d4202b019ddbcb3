"""Operating-system processes that outlive the one who started them, and are never mistaken for others.

A process is remembered by its id together with its start time, because ids are used again: a signal only ever goes to
the process that was started here.
"""

import contextlib
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

from crypto.errors import Reason, Refused

PORTS: Final = range(20_000, 32_000)
"""Where a testnet's ports are taken from."""
_SAME_START: Final = 0.05
"""Seconds by which two readings of one process's start time may differ."""


class ProcessId(msgspec.Struct, frozen=True):
    """Names one process for good: its id, and when it started (seconds since 1970)."""

    pid: int
    started: float


def spawn(command: list[str], log: Path, environment: dict[str, str]) -> ProcessId:
    """Start a process in a session of its own, its output appended to `log`.

    Raises:
        Refused: BAD_ARGUMENT if the program cannot be started.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"cannot start {command[0]}: {error.strerror}") from None
    return ProcessId(pid, psutil.Process(pid).create_time())


def find(process: ProcessId) -> psutil.Process | None:
    """Return the live process, or None if it has ended (or its id belongs to another one now)."""
    try:
        found = psutil.Process(process.pid)
        if abs(found.create_time() - process.started) > _SAME_START:
            return None
        if found.status() == psutil.STATUS_ZOMBIE:
            _reap(process.pid)
            return None
    except psutil.NoSuchProcess:
        return None
    return found


def is_running(process: ProcessId) -> bool:
    """Return whether the process lives."""
    return find(process) is not None


def stop(process: ProcessId, number: signal.Signals, timeout: float = 20.0) -> bool:
    """Send a signal and wait until the process is gone.

    Args:
        process: who; nothing happens if it has ended.
        number: SIGTERM asks, SIGKILL does not.
        timeout: seconds to wait.

    Returns:
        True if it is gone.
    """
    found = find(process)
    if found is None:
        return True
    try:
        found.send_signal(number)
    except psutil.NoSuchProcess:
        return True
    deadline = time.monotonic() + timeout
    while is_running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # somebody else's child: its parent reaps it
        os.waitpid(pid, os.WNOHANG)


def free_ports(count: int, kind: socket.SocketKind) -> list[int]:
    """Return different ports that nobody on ::1 uses at this moment.

    They lie below those that systems hand out for outgoing connections, so that a node which was down for a while
    finds its port free again.

    Args:
        count: how many.
        kind: SOCK_STREAM for TCP, SOCK_DGRAM for UDP.

    Raises:
        Refused: PORT_IN_USE if there are too few.
    """
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            return found
        with socket.socket(socket.AF_INET6, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("::1", port))
            found.append(port)
    raise Refused(Reason.PORT_IN_USE, f"fewer than {count} ports are free in {PORTS.start}..{PORTS.stop - 1}")


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, or a note that there is none."""
    try:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    except FileNotFoundError:
        lines = []
    return lines[-1] if lines else "it wrote nothing"
