"""Makes a new testnet: random keys, free ports, one genesis, a home for every node, funded wallets."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from crypto.keyfile import Preset
from crypto.keys import SecretKey
from node.config import make_config, save_config
from node.home import Home, init_home, write_file
from node.keystore import CONSENSUS_KEY, NODE_KEY, Keystore, save_node_key
from node.sign_export import begin_state
from p2p.address import format_peer_address, peer_id_of
from p2p.network import PeerAddress, PeerId
from state.genesis import NATIVE_SYMBOL, Genesis, GenesisBalance, GenesisOutput, GenesisValidator, genesis_hash
from state.genesis_json import genesis_to_json
from state.params import ChainParams, ProofParams, SecurityParams, StakingParams, Timing
from state.types import UNXS_PER_NXS, Address, Amount, ChainId
from state.version import PROTOCOL_VERSION
from testnet.manifest import VERSION, Manifest, Member, load_manifest, save_manifest
from testnet.processes import free_ports
from testnet.senders import COIN, COINS_EACH, SENDERS, make_senders, save_senders

POWER: Final = 100
"""Voting power of each validator."""
WALLETS: Final = ("faucet", "alice", "bob")
WALLET_BALANCE: Final = 1_000_000 * UNXS_PER_NXS
OPERATOR_BALANCE: Final = 1_000 * UNXS_PER_NXS
"""What each validator's operator has besides its stake."""
WALLET_COINS: Final = 4
WALLET_COIN: Final = 1_000 * UNXS_PER_NXS
WALLET_PASSWORD: Final = "testnet"
"""Seals the wallets' key files: no secret, and not meant to be one. The money is worth nothing either."""
DATAGRAM: Final = 8900
"""UDP payload between the nodes: loopback carries large ones, and each costs the same work."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Parameters of a test chain that are not the usual ones."""

    chain: ChainParams = field(default_factory=ChainParams)
    security: SecurityParams = field(default_factory=SecurityParams)
    proofs: ProofParams = field(default_factory=ProofParams)
    staking: StakingParams = field(default_factory=StakingParams)


PLAIN: Final = Rules()
"""A chain that asks for no proof besides stake."""
PROVING: Final = Rules(
    security=SecurityParams(epoch_length=40),
    proofs=ProofParams(
        space_k=18, work_bits=14, vdf_iterations=400_000, vdf_bits=512, target_gas=500_000, max_difficulty=16
    ),
)
"""A chain that asks for all four proofs, of sizes that take a machine seconds: they show the way and prove nothing."""


def create_network(
    root: Path, size: int, senders: int = SENDERS, rules: Rules = PLAIN, born: int | None = None
) -> Manifest:
    """Make a testnet of `size` validators in an empty folder.

    Args:
        root: the testnet's folder; made if it is missing.
        size: validators, at least 1.
        senders: funded accounts for `nexus testnet load`; each takes 30 ms to make.
        rules: parameters of the chain.
        born: genesis time in ms since 1970; by default now.

    Raises:
        Refused: HOME_EXISTS if the folder holds nodes already.
    """
    homes = [init_home(root / f"node{index}") for index in range(size)]
    consensus = [SecretKey.generate() for _ in homes]
    nodes = [SecretKey.generate() for _ in homes]
    wallets = {name: SecretKey.generate() for name in WALLETS}
    payers = make_senders(senders)
    tcp, udp = free_ports(2 * size, socket.SOCK_STREAM), free_ports(size, socket.SOCK_DGRAM)
    peers = [PeerAddress(peer_id_of(key.public_key), "::1", port) for key, port in zip(nodes, udp, strict=True)]
    genesis = make_genesis(consensus, list(wallets.values()), payers, rules, born)
    chain_id = genesis_hash(genesis)
    members = tuple(
        Member(home.root.name, peer.peer_id.hex(), peer.port, tcp[2 * place], tcp[2 * place + 1])
        for place, (home, peer) in enumerate(zip(homes, peers, strict=True))
    )
    for home, member, voting, node in zip(homes, members, consensus, nodes, strict=True):
        _fill_home(home, member, [peer for peer in peers if peer.peer_id.hex() != member.peer_id])
        write_file(home.genesis, genesis_to_json(genesis))
        write_file(home.genesis_hash, chain_id.hex().encode() + b"\n")
        save_node_key(home.keys / f"{CONSENSUS_KEY}.json", voting)
        begin_state(home, Address(voting.address), chain_id)
        save_node_key(home.keys / f"{NODE_KEY}.json", node)
    store = Keystore(root / "wallets" / "keys")
    for name, key in {**wallets, **{home.root.name: key for home, key in zip(homes, consensus, strict=True)}}.items():
        store.add(name, key, WALLET_PASSWORD, cost=Preset.QUICK)
    save_senders(root / "senders", payers)
    manifest = Manifest(VERSION, chain_id.hex(), members)
    save_manifest(root, manifest)
    return manifest


def make_genesis(
    consensus: Sequence[SecretKey], wallets: Sequence[SecretKey], senders: Sequence[SecretKey], rules: Rules = PLAIN,
    born: int | None = None,
) -> Genesis:
    """Return a genesis of now, or of a time in ms, with these validators, their own operators, and funded accounts."""
    validators = tuple(
        GenesisValidator(key.public_key, POWER, Address(key.address), f"node{place}")
        for place, key in enumerate(consensus)
    )
    held = [(key, WALLET_BALANCE) for key in (*wallets, *senders)] + [(key, OPERATOR_BALANCE) for key in consensus]
    balances = tuple(GenesisBalance(Address(key.address), NATIVE_SYMBOL, Amount(amount)) for key, amount in held)
    coins = [(key, WALLET_COIN, WALLET_COINS) for key in wallets] + [(key, COIN, COINS_EACH) for key in senders]
    outputs = tuple(
        GenesisOutput(Address(key.address), NATIVE_SYMBOL, Amount(amount))
        for key, amount, count in coins
        for _ in range(count)
    )
    time_ms = time.time_ns() // 1_000_000 if born is None else born
    return Genesis(
        version=PROTOCOL_VERSION, name="testnet", time=time_ms, timing=Timing(),
        chain=rules.chain, security=rules.security, validators=validators, balances=balances, outputs=outputs,
        proofs=rules.proofs, staking=rules.staking,
    )


def add_node(root: Path) -> Member:
    """Make the home of one more node, which knows all others and follows the chain; its operator can make it vote.

    Raises:
        Refused: HOME_MISSING if there is no testnet, HOME_EXISTS.
    """
    manifest = load_manifest(root)
    home = init_home(root / f"node{len(manifest.members)}")
    consensus, node = SecretKey.generate(), SecretKey.generate()
    (udp,), (api, metrics) = free_ports(1, socket.SOCK_DGRAM), free_ports(2, socket.SOCK_STREAM)
    member = Member(home.root.name, peer_id_of(node.public_key).hex(), udp, api, metrics)
    _fill_home(home, member, [
        PeerAddress(PeerId(bytes.fromhex(one.peer_id)), "::1", one.listen_port) for one in manifest.members
    ])
    first = Home(root / manifest.members[0].name)
    write_file(home.genesis, first.genesis.read_bytes())
    write_file(home.genesis_hash, first.genesis_hash.read_bytes())
    save_node_key(home.keys / f"{CONSENSUS_KEY}.json", consensus)
    begin_state(home, Address(consensus.address), ChainId(bytes.fromhex(manifest.chain_id)))
    save_node_key(home.keys / f"{NODE_KEY}.json", node)
    save_manifest(root, replace(manifest, members=(*manifest.members, member)))
    return member


def _fill_home(home: Home, member: Member, peers: Sequence[PeerAddress]) -> None:
    config = make_config(
        moniker=member.name, listen_host="::1", listen_port=member.listen_port, api_port=member.api_port,
        metrics_port=member.metrics_port, persistent_peers=[format_peer_address(peer) for peer in peers],
        datagram_size=DATAGRAM, role="validator",
    )
    save_config(home.config, config)
