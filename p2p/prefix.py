"""Groups of addresses that are easy to get together: a /64 is one customer's. The loopback may be exempt."""

import ipaddress
from typing import Final

LOOPBACK: Final = "::"
"""The /64 of ::1."""


def prefix_of(host: str) -> str:
    """Return the /64 of an IPv6 address, as text."""
    packed = ipaddress.IPv6Address(host.partition("%")[0]).packed
    return str(ipaddress.IPv6Address(packed[:8] + bytes(8)))


def prefix_group(host: str, loopback_exempt: bool, port: int = 0) -> str:
    """Return what an address is counted as: its /64, or on an exempt loopback the address and port themselves."""
    prefix = prefix_of(host)
    return f"[{host}]:{port}" if loopback_exempt and prefix == LOOPBACK else prefix
