"""Node ids of simulated machines: 32 bytes that hold the machine's place."""

from p2p.network import PeerId


def peer_name(index: int) -> PeerId:
    """Return the node id of a machine."""
    return PeerId(index.to_bytes(32, "big"))


def index_of(peer_id: PeerId) -> int:
    """Return the machine that a node id names."""
    return int.from_bytes(peer_id, "big")
