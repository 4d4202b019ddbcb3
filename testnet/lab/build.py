"""Makes the homes of a laboratory's network: keys, ports, one genesis, settings by role."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from crypto.keyfile import Preset
from crypto.keys import SecretKey
from node.config import make_config, save_config
from node.home import Home, init_home, write_file
from node.keystore import CONSENSUS_KEY, NODE_KEY, Keystore, save_node_key
from node.sign_export import begin_state
from p2p.address import format_peer_address, peer_id_of
from p2p.network import PeerAddress
from state.genesis import Genesis, check_genesis, genesis_hash
from state.genesis_json import genesis_to_json
from state.params import SecurityParams, StakingParams
from state.types import Address, ChainId
from testnet.create import DATAGRAM, WALLET_PASSWORD, Rules, make_genesis
from testnet.lab.manifest import LabManifest, Node
from testnet.lab.sense import VOTERS
from testnet.manifest import VERSION, Manifest, Member, save_manifest
from testnet.processes import free_ports
from testnet.proxy import HOST
from testnet.senders import make_senders, save_senders

HOUR: Final = 3_600_000
RELEASE_PROGRAM: Final = "testnet.lab.release"
LIGHT_FOLDER: Final = "light-clients"


class Ports(NamedTuple):
    """Where one node listens."""

    peers: int
    api: int
    metrics: int


def allot_ports(manifest: LabManifest) -> dict[str, Ports]:
    """Return free ports for every node and light client. Raises Refused(PORT_IN_USE)."""
    names = tuple(manifest.nodes)
    udp, tcp = free_ports(len(names), socket.SOCK_DGRAM), free_ports(2 * len(names), socket.SOCK_STREAM)
    return {name: Ports(udp[at], tcp[2 * at], tcp[2 * at + 1]) for at, name in enumerate(names)}


def build(root: Path, manifest: LabManifest, ports: Mapping[str, Ports], public: Mapping[str, int]) -> None:
    """Make the network's folder.

    Args:
        root: empty or missing.
        manifest: checked.
        ports: of every node.
        public: the UDP port under which others find each node; the router's, or its own.

    Raises:
        Refused: HOME_EXISTS; BAD_GENESIS for parameters that contradict each other.
    """
    names = manifest.full_nodes()
    homes = {name: init_home(root / name) for name in names}
    nodes = {name: SecretKey.generate() for name in names}
    voting = {name: SecretKey.generate() for name in names if manifest.nodes[name].role in VOTERS}
    payers, faucet = make_senders(manifest.load.senders), SecretKey.generate()
    genesis = _genesis(manifest, voting, faucet, payers)
    chain_id = genesis_hash(genesis)
    addresses = {name: PeerAddress(peer_id_of(nodes[name].public_key), HOST, public[name]) for name in names}
    for name, home in homes.items():
        _fill(home, name, manifest, ports[name], addresses)
        write_file(home.genesis, genesis_to_json(genesis))
        write_file(home.genesis_hash, chain_id.hex().encode() + b"\n")
        save_node_key(home.keys / f"{NODE_KEY}.json", nodes[name])
        if name in voting:
            save_node_key(home.keys / f"{CONSENSUS_KEY}.json", voting[name])
            begin_state(home, Address(voting[name].address), ChainId(chain_id))
    Keystore(root / "wallets" / "keys").add("faucet", faucet, WALLET_PASSWORD, cost=Preset.QUICK)
    save_senders(root / "senders", payers)
    members = tuple(
        Member(
            name, addresses[name].peer_id.hex(), ports[name].peers, ports[name].api, ports[name].metrics,
            behaviours=manifest.nodes[name].lies, release=manifest.nodes[name].release,
        )
        for name in names
    )
    save_manifest(root, Manifest(VERSION, chain_id.hex(), members))


def _genesis(
    manifest: LabManifest, voting: Mapping[str, SecretKey], faucet: SecretKey, payers: Sequence[SecretKey]
) -> Genesis:
    asked, first = manifest.chain, manifest.validators()
    later = [key for name, key in voting.items() if name not in first]
    rules = Rules(
        security=SecurityParams(
            epoch_length=asked.epoch_length, evidence_age=3 * HOUR, unbonding=2 * HOUR, trust_period=HOUR
        ),
        staking=StakingParams(
            unbonding_blocks=asked.unbonding_blocks, downtime_window=asked.downtime_window,
            min_signed=asked.min_signed, jail_blocks=asked.jail_blocks,
        ),
    )
    genesis = make_genesis([voting[name] for name in first], [faucet, *later], payers, rules)
    validators = tuple(
        replace(validator, power=manifest.nodes[name].power, moniker=name)
        for validator, name in zip(genesis.validators, first, strict=True)
    )
    made = replace(genesis, name=manifest.name, validators=validators)
    check_genesis(made)
    return made


def peers_of(manifest: LabManifest, name: str) -> tuple[str, ...]:
    """Return whom a node stays connected to.

    Whoever names nobody and asks no seed, a seed included, knows the validators that may be dialled and ask no seeds.
    Sentries know whom they guard, and each other, so that a vote is never more than three ways from anybody.
    """
    node = manifest.nodes[name]
    if node.role == "sentry":
        guarded = [one for one, other in manifest.nodes.items() if other.role == "guarded" and name in other.peers]
        others = [one for one, other in manifest.nodes.items() if other.role == "sentry" and one != name]
        return tuple(dict.fromkeys((*node.peers, *guarded, *others)))
    if node.peers or node.seeds:
        return node.peers
    return tuple(
        one for one, other in manifest.nodes.items()
        if other.role == "validator" and one != name and not other.seeds
    )


def _fill(
    home: Home, name: str, manifest: LabManifest, ports: Ports, addresses: Mapping[str, PeerAddress]
) -> None:
    node: Node = manifest.nodes[name]
    own = addresses[name]
    outside = "" if own.port == ports.peers else f"[{own.host}]:{own.port}"
    config = make_config(
        moniker=name, role=node.role, listen_host=HOST, listen_port=ports.peers, external_address=outside,
        api_port=ports.api, metrics_port=ports.metrics, datagram_size=DATAGRAM, quic_core=node.core,
        snapshot_every=node.snapshot_every, log_format="json",
        persistent_peers=[format_peer_address(addresses[one]) for one in peers_of(manifest, name)],
        seeds=[format_peer_address(addresses[one]) for one in node.seeds],
    )
    save_config(home.config, config)


def let_use_core(home: Home, core: str) -> None:
    """Let a node use another QUIC core from its next start on. Raises Refused(BAD_CONFIG)."""
    lines = home.config.read_text("utf-8").splitlines()
    changed = [f'quic_core = "{core}"' if line.startswith("quic_core ") else line for line in lines]
    write_file(home.config, ("\n".join(changed) + "\n").encode())


