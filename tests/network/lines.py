"""Nodes that stand in a line: who knows whom to begin with, and whom a running one is connected with."""

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from node.admin import ListPeers, ShowGossip, ask_gossip, ask_peers
from node.config import load_config, save_config
from node.home import Home
from testnet.create import add_node, create_network
from testnet.manifest import Member
from testnet.network import LocalNetwork


def network_of(root: Path, validators: int, others: int) -> LocalNetwork:
    """Make a network of validators, and nodes beside them."""
    create_network(root, validators, senders=0)
    for _number in range(others):
        add_node(root)
    return LocalNetwork(root)


def settle(network: LocalNetwork, name: str, role: str, peers: Iterable[str]) -> None:
    """Give a node its role, and those peers alone to begin with."""
    home = home_of(network, name)
    places = tuple(place(network.member(peer)) for peer in peers)
    save_config(home.config, replace(load_config(home.config, {}), role=role, persistent_peers=places, seeds=()))


def home_of(network: LocalNetwork, name: str) -> Home:
    return Home(network.home(network.member(name)))


def place(member: Member) -> str:
    return f"{member.peer_id}@[::1]:{member.listen_port}"


def connected(network: LocalNetwork, name: str) -> set[str]:
    """Return the names of the peers that a node is connected with."""
    names = {member.peer_id: member.name for member in network.members}
    return {names[peer.node_id] for peer in ask_peers(home_of(network, name).admin, ListPeers()).connected}


def gossiping(network: LocalNetwork, name: str) -> int:
    """Return with how many a node gossips."""
    return len(ask_gossip(home_of(network, name).admin, ShowGossip()).peers)
