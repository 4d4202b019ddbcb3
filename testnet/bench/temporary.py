"""A testnet for the length of a measurement or a test."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from testnet.create import create_network
from testnet.network import LocalNetwork
from testnet.senders import SENDERS
from testnet.view import look


@contextmanager
def running_network(
    size: int = 4, senders: int = SENDERS, liars: Mapping[str, str] = MappingProxyType({})
) -> Iterator[LocalNetwork]:
    """Make and start a network in a temporary folder; stop and remove it at the end.

    Args:
        size: validators.
        senders: funded accounts for payments.
        liars: what some nodes do instead of being honest (testnet.byzantine), by node name.

    Raises:
        Refused: NODE_DIED, TIMED_OUT.
    """
    root = Path(tempfile.mkdtemp(prefix="nexus-testnet-"))
    try:
        create_network(root, size, senders)
        network = LocalNetwork(root)
        for name, behaviour in liars.items():
            network.let_lie(name, behaviour)
        try:
            network.start_all()
            network.wait_until(lambda: connected(network), "the nodes start and find each other")
            yield network
        finally:
            LocalNetwork(root).stop_all()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def connected(network: LocalNetwork) -> bool:
    """Return whether every node answers and has a connection with every other."""
    rows = look(network)
    return all(row.state == "running" and row.peers == len(rows) - 1 for row in rows)
