"""What the gateway and who started it say to each other. Needs no libp2p."""

import importlib.util
from collections.abc import Callable
from typing import Final

from crypto.errors import Reason, Refused

Ready = Callable[[str], None]
"""Is told the address that a peer dials."""
KEY_FILE: Final = "open_listener.key"
"""In HOME/keys: the seed of the listener's Ed25519 key."""
MODULE: Final = "node.interop.gateway"
"""Imports libp2p, an extra: it is imported by name once `check_installed` has passed."""


def check_installed() -> None:
    """Refuse to begin without libp2p. Raises Refused(BAD_CONFIG)."""
    if importlib.util.find_spec("libp2p") is None:
        raise Refused(
            Reason.BAD_CONFIG, "peers of stock libp2p need the extra libp2p, which is not installed: "
            "pip install 'nexus-node[libp2p]' (its build needs libgmp)",
        )
