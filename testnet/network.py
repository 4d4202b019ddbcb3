"""A network of real node processes on ::1: made, started, killed, restarted, stopped."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from crypto.errors import Reason, Refused
from state.version import PROTOCOL_VERSION
from testnet.manifest import Manifest, Member, load_manifest, manifest_path, save_manifest
from testnet.processes import is_running, last_line, spawn, stop

START_TIMEOUT: Final = 60.0
"""Seconds within which a started node answers."""
STOP_TIMEOUT: Final = 20.0
"""Seconds that a node gets to stop cleanly."""


class LocalNetwork:
    """The testnet in one folder. What it knows is in the manifest, so any process may take it up.

    Args:
        root: the testnet's folder.

    Raises:
        Refused: HOME_MISSING or BAD_CONFIG, as `load_manifest`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest: Manifest = load_manifest(root)

    @property
    def members(self) -> tuple[Member, ...]:
        """Every node, running or not."""
        return self.manifest.members

    def member(self, name: str) -> Member:
        """Return one node by its name (`node2`) or number (`2`). Raises Refused(USAGE)."""
        for member in self.members:
            if name in (member.name, member.name.removeprefix("node")):
                return member
        names = ", ".join(member.name for member in self.members)
        raise Refused(Reason.USAGE, f"there is no node {name!r}; there are {names}")

    def home(self, member: Member) -> Path:
        """Return a node's home."""
        return self.root / member.name

    def log(self, member: Member) -> Path:
        """Return where a node's output goes."""
        return self.home(member) / "node.log"

    def is_running(self, member: Member) -> bool:
        """Return whether the process that was started for a node lives."""
        return member.process is not None and is_running(member.process)

    def start(self, name: str, *options: str) -> Member:
        """Start a node unless it runs; return it with its process. It is not ready yet.

        Args:
            name: of the node.
            options: of `nexus start`; a liar and a program of another release have none.
        """
        member = self.member(name)
        if self.is_running(member):
            return member
        command = [sys.executable, "-m", "node.cli.main", "start", "--home", str(self.home(member)), *options]
        if member.release != PROTOCOL_VERSION:
            command = [sys.executable, "-m", "testnet.lab.release", str(self.home(member)), str(member.release)]
        if member.behaviours:
            command = [sys.executable, "-m", "testnet.byzantine", str(self.home(member)), *member.behaviours]
        process = spawn(command, self.log(member), clean_environment())
        return self._update(replace(member, process=process))

    def let_lie(self, name: str, *behaviours: str) -> Member:
        """Have a node lie from its next start on; without behaviours, be honest again."""
        return self._update(replace(self.member(name), behaviours=behaviours))

    def install(self, name: str, release: int) -> Member:
        """Have a node run the program of another release from its next start on."""
        return self._update(replace(self.member(name), release=release))

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> Member:
        """Signal a node and wait until it is gone.

        Raises:
            Refused: TIMED_OUT if it does not go.
        """
        member = self.member(name)
        if member.process is not None and not stop(member.process, number, STOP_TIMEOUT):
            raise Refused(Reason.TIMED_OUT, f"{member.name} (pid {member.process.pid}) does not stop")
        return self._update(replace(member, process=None))

    def start_all(self) -> None:
        """Start every node that does not run."""
        for member in self.members:
            self.start(member.name)

    def stop_all(self) -> None:
        """Stop every node; kill those that do not stop by themselves."""
        for member in self.members:
            try:
                self.stop(member.name)
            except Refused:
                self.stop(member.name, signal.SIGKILL)

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float = START_TIMEOUT) -> None:
        """Poll until it holds.

        Raises:
            Refused: NODE_DIED with the node's last line if one that was started ends; TIMED_OUT.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise Refused(Reason.TIMED_OUT, f"{what}: not within {timeout:.0f} s")
            time.sleep(0.1)

    def check_alive(self) -> None:
        """Raise Refused(NODE_DIED) if a node that was started is gone without having been stopped."""
        for member in self.members:
            if member.process is not None and not is_running(member.process):
                raise Refused(Reason.NODE_DIED, f"{member.name} ended: {last_line(self.log(member))}")

    def _update(self, member: Member) -> Member:
        # other commands may have changed other members since we read the manifest
        self.manifest = load_manifest(self.root)
        members = tuple(member if member.name == other.name else other for other in self.members)
        self.manifest = replace(self.manifest, members=members)
        save_manifest(self.root, self.manifest)
        return member


def exists(root: Path) -> bool:
    """Return whether a testnet was made in this folder."""
    return manifest_path(root).exists()


def clean_environment() -> dict[str, str]:
    """Return our environment without settings for a node: a testnet's nodes each have their own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
    return {key: value for key, value in kept.items() if key not in ("RPC_SERVER_PORT", "TELEMETRY_PORT")}
