"""Names of peers: node ids, and `ID@[ADDR]:PORT`."""

import ipaddress
import re

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from p2p.network import PeerAddress, PeerId

_FORM = re.compile(r"([0-9a-f]{64})@\[([0-9a-fA-F:.]+(?:%[^\]]+)?)\]:([0-9]{1,5})")


def peer_id_of(public_key: bytes) -> PeerId:
    """Return H("node-id", scheme byte || Falcon-1024 public key)."""
    return PeerId(digest(Label.NODE_ID, public_key))


def parse_peer_address(text: str) -> PeerAddress:
    """Read `ID@[ADDR]:PORT`: 64 hex digits, an IPv6 address in brackets, a port.

    Raises:
        Refused: BAD_CONFIG.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise Refused(Reason.BAD_CONFIG, f"a peer is written ID@[ADDR]:PORT, not {text!r}")
    host, port = match[2], int(match[3])
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise Refused(Reason.BAD_CONFIG, f"{host} is no IPv6 address") from None
    if not 0 < port < 65536:
        raise Refused(Reason.BAD_CONFIG, f"{port} is no port")
    return PeerAddress(PeerId(bytes.fromhex(match[1])), host, port)


def format_peer_address(address: PeerAddress) -> str:
    """Return `ID@[ADDR]:PORT`."""
    return f"{address.peer_id.hex()}@[{address.host}]:{address.port}"
