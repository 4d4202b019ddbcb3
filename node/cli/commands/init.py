"""Make a node home: keys, settings, and a genesis of its own unless one is given."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import KeyTree, SecretKey, new_phrase
from node.cli.passwords import KeyCost, PasswordFile, cost_of, read_password, read_phrase
from node.cli.session import Session, command
from node.config import make_config, save_config
from node.home import Home, init_home, write_file
from node.keystore import CONSENSUS_KEY, NODE_KEY, Keystore, save_node_key
from node.sign_export import begin_state
from p2p.address import peer_id_of
from state.genesis import MAX_GENESIS, Genesis, GenesisBalance, GenesisValidator, check_genesis, genesis_hash
from state.genesis_json import genesis_from_json, genesis_to_json
from state.params import ChainParams, SecurityParams, Timing
from state.types import UNXS_PER_NXS, Address, Amount

OPERATOR: Final = "operator"
"""Name of the account key that `init` makes."""
OWN_FUNDS: Final = Amount(100_000_000 * UNXS_PER_NXS)
"""What the operator holds on a chain that `init` makes."""
OWN_POWER: Final = 10

LOOPBACK: Final = "@[::1]:"
"""In the address of a seed on this machine; any other is reached from a socket that is open to the world."""

app = typer.Typer()


@command(app)
def init(
    session: Session,
    moniker: Annotated[str, typer.Argument(help="What people call this node.")],
    genesis: Annotated[Path | None, typer.Option(help="Join the chain of this genesis document.")] = None,
    chain_name: Annotated[str, typer.Option(help="Name of the chain, if a new one is made.")] = "",
    seeds: Annotated[str, typer.Option(help="ID@[ADDR]:PORT of peers to meet others through, with commas.")] = "",
    role: Annotated[str, typer.Option(help="validator, guarded, full, seed or sentry; to join: full.")] = "",
    recover: Annotated[bool, typer.Option("--recover", help="Take the keys from 24 words.")] = False,
    encrypt_node_keys: Annotated[
        bool, typer.Option("--encrypt-node-keys", help="Seal the node's own keys too: `start` needs the password.")
    ] = False,
    password_file: PasswordFile = None,
    key_cost: KeyCost = "moderate",
) -> None:
    """Make a node home. Prints the 24 words that give every key again: write them down, they are not stored."""
    asked = tuple(part.strip() for part in seeds.split(",") if part.strip())
    if asked and genesis is None:
        raise Refused(Reason.USAGE, "--seeds lead to a network that exists: give its --genesis FILE, too")
    config = make_config(
        moniker=moniker, seeds=asked, role=role or ("full" if asked else "validator"),
        listen_host="::1" if all(LOOPBACK in seed for seed in asked) else "::",
    )
    cost = cost_of(key_cost)
    given = None if genesis is None else read_genesis(genesis)
    password = read_password(password_file, "the new keys", new=True)
    phrase = read_phrase() if recover else new_phrase()
    tree = KeyTree.from_phrase(phrase)
    operator, consensus, node = tree.account(), tree.consensus(), tree.node()
    document = given or own_genesis(chain_name or f"{moniker}-chain", moniker, consensus, operator)
    home = init_home(session.home)
    sealed = password if encrypt_node_keys else None
    save_node_key(home.keys / f"{CONSENSUS_KEY}.json", consensus, sealed, cost)
    save_node_key(home.keys / f"{NODE_KEY}.json", node, sealed, cost)
    Keystore(home.keys).add(OPERATOR, operator, password, cost=cost)
    write_genesis(home, document)
    if not recover:
        begin_state(home, Address(consensus.address), genesis_hash(document))
    save_config(home.config, config)
    session.show({
        "home": str(home.root),
        "chain_id": genesis_hash(document).hex(),
        "node_id": peer_id_of(node.public_key).hex(),
        "operator": encode_address(operator.address),
        "consensus": encode_address(consensus.address),
        **({} if recover else {"phrase": phrase}),
    })  # fmt: skip
    if recover:
        session.note("What this consensus key signed before is not known. Before the start: nexus validator sign-state "
                     "import FILE, or, if it never signed, nexus validator sign-state set --height 0")
    else:
        session.note("Write the 24 words down: they give every key of this home again, and are stored nowhere.")


def own_genesis(name: str, moniker: str, consensus: SecretKey, operator: SecretKey) -> Genesis:
    """Return the genesis of a new chain with one validator, whose operator holds all there is."""
    owner = Address(operator.address)
    return Genesis(
        version=1, name=name, time=time.time_ns() // 1_000_000, timing=Timing(), chain=ChainParams(),
        security=SecurityParams(),
        validators=(GenesisValidator(consensus.public_key, OWN_POWER, owner, moniker),),
        balances=(GenesisBalance(owner, "nxs", OWN_FUNDS),),
    )


def read_genesis(path: Path) -> Genesis:
    """Return the genesis of a JSON document. Raises Refused(BAD_GENESIS)."""
    raw = read_file(path)
    try:
        return genesis_from_json(raw)
    except Refused as refused:
        raise Refused(refused.reason, f"{path}: {refused.detail}") from None


def read_file(path: Path) -> bytes:
    """Return a genesis document's bytes. Raises Refused(BAD_GENESIS)."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_GENESIS + 1)
    except OSError as error:
        raise Refused(Reason.BAD_GENESIS, f"{path} cannot be read: {error.strerror}") from None


def write_genesis(home: Home, genesis: Genesis) -> None:
    """Write the document and its hash, which the home is bound to. Raises Refused(BAD_GENESIS)."""
    check_genesis(genesis)
    write_file(home.genesis, genesis_to_json(genesis))
    write_file(home.genesis_hash, f"{genesis_hash(genesis).hex()}\n".encode())
