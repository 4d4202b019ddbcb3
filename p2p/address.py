"""Names of peers: node ids, and `ID@[ADDR]:PORT`."""

import ipaddress
import re

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from p2p.network import PeerAddress, PeerId

_PLACE = re.compile(r"\[([0-9a-fA-F:.]+(?:%[^\]]+)?)\]:([0-9]{1,5})")
_PEER_ID = re.compile(r"[0-9a-f]{64}")


def peer_id_of(public_key: bytes) -> PeerId:
    """Return H("node-id", scheme byte || Falcon-1024 public key)."""
    return PeerId(digest(Label.NODE_ID, public_key))


def parse_peer_address(text: str) -> PeerAddress:
    """Read `ID@[ADDR]:PORT`: 64 hex digits, an IPv6 address in brackets, a port.

    Raises:
        Refused: BAD_CONFIG.
    """
    name, at, place = text.strip().partition("@")
    if not at or _PLACE.fullmatch(place) is None:
        raise Refused(Reason.BAD_CONFIG, f"a peer is written ID@[ADDR]:PORT, not {text!r}")
    return PeerAddress(parse_peer_id(name), *parse_place(place))


def parse_place(text: str, least_port: int = 1) -> tuple[str, int]:
    """Read `[ADDR]:PORT`; with `least_port` 0, port 0 stands for any free one.

    Raises:
        Refused: BAD_CONFIG.
    """
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        raise Refused(Reason.BAD_CONFIG, f"an address is written [ADDR]:PORT, not {text!r}")
    host, port = match[1], int(match[2])
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise Refused(Reason.BAD_CONFIG, f"{host} is no IPv6 address") from None
    if not least_port <= port < 65536:
        raise Refused(Reason.BAD_CONFIG, f"{port} is no port")
    return host, port


def parse_peer_id(text: str) -> PeerId:
    """Read a node id: 64 hex digits.

    Raises:
        Refused: BAD_CONFIG.
    """
    if _PEER_ID.fullmatch(text) is None:
        raise Refused(Reason.BAD_CONFIG, f"a node id has 64 hexadecimal digits in small letters, not {text!r}")
    return PeerId(bytes.fromhex(text))


def format_peer_address(address: PeerAddress) -> str:
    """Return `ID@[ADDR]:PORT`."""
    return f"{address.peer_id.hex()}@[{address.host}]:{address.port}"
