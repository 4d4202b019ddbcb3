"""Homes for a network of containers: every node has an address of its own, and the usual ports (compose.yml)."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from crypto.errors import Reason, Refused
from node.config import load_config, save_config
from node.home import Home
from p2p.address import format_peer_address
from p2p.network import PeerAddress, PeerId
from testnet.create import add_node, create_network
from testnet.manifest import Member, load_manifest
from testnet.network import exists

LISTEN_PORT: Final = 7100
API_PORT: Final = 8000
METRICS_PORT: Final = 2500
DATAGRAM: Final = 1232
"""Passes every IPv6 path."""
FIRST: Final = 0x10
"""Of the addresses in the network: the ones below are the router's, and for others."""
SUBNET: Final = "fd6e:7873::/64"


def make_homes(root: Path, validators: int, full: int, subnet: str = SUBNET) -> tuple[Member, ...]:
    """Make the homes of a new network whose nodes live at SUBNET::10, ::11 and so on.

    Args:
        root: the folder; made if it is missing.
        validators: vote from block 1 on.
        full: nodes that follow.
        subnet: an IPv6 network with room for all.

    Raises:
        Refused: BAD_ARGUMENT for no IPv6 network, HOME_EXISTS.
    """
    try:
        network = ipaddress.IPv6Network(subnet)
    except ValueError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{subnet!r} is no IPv6 network: {error}") from None
    if network.num_addresses < FIRST + validators + full:
        raise Refused(Reason.BAD_ARGUMENT, f"{subnet} has no room for {validators + full} nodes")
    create_network(root, validators)
    for _ in range(full):
        add_node(root)
    members = load_manifest(root).members
    hosts = [str(network[FIRST + place]) for place in range(len(members))]
    places = [
        format_peer_address(PeerAddress(PeerId(bytes.fromhex(member.peer_id)), host, LISTEN_PORT))
        for member, host in zip(members, hosts, strict=True)
    ]
    for place, member in enumerate(members):
        path = Home(root / member.name).config
        save_config(path, replace(
            load_config(path, {}), listen_host=hosts[place], listen_port=LISTEN_PORT, api_host="::",
            api_port=API_PORT, metrics_port=METRICS_PORT, datagram_size=DATAGRAM,
            role="validator" if place < validators else "full",
            persistent_peers=tuple(other for other in places[:validators] if other != places[place]),
        ))  # fmt: skip
    return members


def homes(
    home: Annotated[Path, typer.Option("--home", help="Where to make them.")],
    nodes: Annotated[int, typer.Option("-n", "--nodes", min=1, max=32, help="Validators.")] = 4,
    full: Annotated[int, typer.Option(min=0, max=32, help="Nodes that follow.")] = 1,
    subnet: Annotated[str, typer.Option(help="IPv6 network of the containers.")] = SUBNET,
) -> None:
    """Make homes for containers with addresses of their own, unless they are there (compose.yml)."""
    if exists(home):
        typer.echo(f"{home} has its homes already", err=True)
        return
    for member in make_homes(home, nodes, full, subnet):
        typer.echo(member.name)
