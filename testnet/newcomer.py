"""A node that nobody prepared: its home is made by the command line from a genesis file and one seed, and no more."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crypto.errors import Reason, Refused
from node.api.methods import GetStatus
from node.api.shapes import Status
from node.client import Client
from testnet.manifest import Member
from testnet.network import LocalNetwork
from testnet.processes import ProcessId, free_ports, is_running, last_line, spawn, stop

PASSWORD: Final = "testnet"
"""Seals the home's account key: no secret, as with all wallets of a testnet."""
STOP_TIMEOUT: Final = 20.0
"""Seconds that the node gets to stop cleanly."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A home of its own, outside the network's folder, and where its node answers."""

    home: Path
    api_port: int
    metrics_port: int

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://[::1]:{self.api_port}"

    @property
    def log(self) -> Path:
        """Where its node's output goes."""
        return self.home / "node.log"

    def environment(self) -> dict[str, str]:
        """Return our environment with its ports; nobody else's settings."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
        return {
            **kept, "NEXUS_LISTEN_PORT": "0", "NEXUS_API_PORT": str(self.api_port),
            "NEXUS_METRICS_PORT": str(self.metrics_port), "NEXUS_PASSWORD": PASSWORD, "NEXUS_LOG_FORMAT": "json",
        }

    def start(self, *words: str) -> ProcessId:
        """Run `nexus start` with these words behind it, and return the process. It is not ready yet."""
        command = [sys.executable, "-m", "node.cli.main", "--home", str(self.home), "start", *words]
        return spawn(command, self.log, self.environment())

    def status(self, process: ProcessId) -> Status | None:
        """Return how its node is doing, or None while it does not answer. Raises Refused(NODE_DIED) if it ended."""
        try:
            with Client(self.url, timeout=2.0) as client:
                return client.ask(GetStatus())
        except Refused as refused:
            if not is_running(process):
                raise Refused(Reason.NODE_DIED, f"the new node ended: {last_line(self.log)}") from None
            if refused.reason not in (Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.CONNECTION_LOST):
                raise
            return None

    def stop(self, process: ProcessId) -> None:
        """Ask the node to stop, and kill it if it does not."""
        if not stop(process, signal.SIGTERM, STOP_TIMEOUT):
            stop(process, signal.SIGKILL, STOP_TIMEOUT)


def invite(home: Path, network: LocalNetwork, seed: Member) -> Newcomer:
    """Make the home of a node that knows the genesis file and one seed.

    Args:
        home: does not exist; not in the network's folder.
        network: which it is to join.
        seed: the one node that it knows.

    Raises:
        Refused: INTERNAL with what `nexus init` said.
    """
    api_port, metrics_port = free_ports(2, socket.SOCK_STREAM)
    made = Newcomer(home, api_port, metrics_port)
    genesis = network.home(seed) / "genesis.json"
    command = [
        sys.executable, "-m", "node.cli.main", "--home", str(home), "init", home.name, "--genesis", str(genesis),
        "--seeds", f"{seed.peer_id}@[::1]:{seed.listen_port}", "--key-cost", "quick",
    ]
    ended = subprocess.run(
        command, env=made.environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if ended.returncode:
        raise Refused(Reason.INTERNAL, ended.stderr.strip()[-500:])
    return made
