"""`nexus genesis draft|add-account|gentx|collect|adopt`: how operators begin a chain together (docs/ceremony.md)."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec.structs import replace

from apps.ceremony import Fault, collect, part_faults, refusal, warnings
from apps.staking.gentx import MAX_GENTX, SignedGentx, gentx_from_json, gentx_to_json, make_gentx, terms_of
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.amounts import NATIVE_DECIMALS, NATIVE_SYMBOL, format_amount, parse_quantity, to_smallest
from node.cli.accounts import address_named
from node.cli.passwords import PasswordFile, read_password
from node.cli.session import Session
from node.cli.staking import basis_points
from node.config import NodeConfig, load_config, make_config, save_config
from node.home import Home, open_home, write_file
from node.keystore import CONSENSUS_KEY, NODE_KEY, Keystore, load_node_key
from node.sign_export import begin_state, read_state
from p2p.address import format_peer_address, parse_peer_address, parse_place, peer_id_of
from p2p.network import PeerAddress, PeerId
from state.genesis import GROUPS, MAX_GENESIS, Genesis, GenesisBalance, genesis_hash
from state.genesis_json import draft_from_json, genesis_from_json, genesis_to_json, no_such
from state.params import ChainParams, SecurityParams, Timing
from state.records import NATIVE_TEXT
from state.types import UNXS_PER_NXS, Address
from state.version import PROTOCOL_VERSION

SUFFIX: Final = ".json"
DraftFile = Annotated[Path, typer.Argument(metavar="DRAFT", help="The draft that the coordinator sent round.")]


def draft(
    session: Session,
    file: Annotated[Path, typer.Argument(help="Where to write the draft.")],
    name: Annotated[str, typer.Option(help="Of the chain.")],
    start: Annotated[str, typer.Option(help="Time of genesis, as 2026-12-01T12:00:00Z; by default now.")] = "",
    rules: Annotated[
        list[str] | None, typer.Option("--set", metavar="GROUP.NAME=NUMBER", help="A rule; repeat.")
    ] = None,
) -> None:
    """Begin a genesis document: rules, and neither accounts nor validators yet."""
    if file.exists():
        raise Refused(Reason.BAD_ARGUMENT, f"{file} exists already")
    document = Genesis(
        version=PROTOCOL_VERSION, name=name, time=_moment(start), timing=Timing(), chain=ChainParams(),
        security=SecurityParams(), validators=(),
    )
    for text in rules or ():
        document = _with_rule(document, text)
    _save(file, document)
    session.show({"file": str(file), **_described(document)})


def add_account(
    session: Session,
    file: DraftFile,
    account: Annotated[str, typer.Argument(help="nx1..., or the name of a key of this home.")],
    amount: Annotated[str, typer.Argument(help="1000nxs, 1000000000unxs, or of an asset of the draft.")],
    replace_: Annotated[bool, typer.Option("--replace", help="Give this instead of what the account has.")] = False,
) -> None:
    """Give an account a balance in a draft."""
    document = read_draft(file)
    owner = address_named(Keystore(Home(session.home).keys), account)
    quantity = parse_quantity(amount)
    decimals = {NATIVE_SYMBOL: NATIVE_DECIMALS, NATIVE_TEXT: 0} | {one.symbol: one.decimals for one in document.assets}
    if quantity.unit not in decimals:
        raise Refused(Reason.BAD_ARGUMENT, f"the draft has no asset {quantity.unit!r}; there are {', '.join(decimals)}")
    symbol = NATIVE_SYMBOL if quantity.unit == NATIVE_TEXT else quantity.unit
    given = GenesisBalance(owner, symbol, to_smallest(quantity, decimals[quantity.unit]))
    before = [one for one in document.balances if (one.owner, one.symbol) == (owner, symbol)]
    if before and not replace_:
        raise Refused(
            Reason.BAD_ARGUMENT, f"{encode_address(owner)} has {before[0].amount} of {symbol} in this draft already; "
            "--replace gives it another balance",
        )
    if before:
        balances = tuple(given if one == before[0] else one for one in document.balances)
    else:
        balances = (*document.balances, given)
    document = replace(document, balances=balances)
    _save(file, document)
    shown = {"account": encode_address(owner), "symbol": symbol, "amount": str(given.amount)}
    session.show({**shown, **_described(document)})


def gentx(
    session: Session,
    file: DraftFile,
    amount: Annotated[str, typer.Argument(help="Whole nxs of the balance to bond, as 100nxs.")],
    from_: Annotated[str, typer.Option("--from", envvar="NEXUS_FROM", help="Key of the operator.")] = "operator",
    moniker: Annotated[str, typer.Option(help="The validator's name; by default that of the node.")] = "",
    commission_rate: Annotated[str, typer.Option(help="Share of the rewards kept, 0 to 1, such as 0.05.")] = "0.05",
    place: Annotated[
        str, typer.Option("--node-address", help="[ADDR]:PORT that others reach this node at; none: say nothing.")
    ] = "",
    output_file: Annotated[Path | None, typer.Option(help="Where to write; default: gentxs/MONIKER.json.")] = None,
    password_file: PasswordFile = None,
) -> None:
    """Sign this node's part of a draft: stake, consensus key with its proof of possession, name, commission."""
    document, home = read_draft(file), open_home(session.home)
    config = load_config(home.config, {})
    consensus = load_node_key(home.keys / f"{CONSENSUS_KEY}.json", None)
    name = make_config(moniker=moniker or config.moniker).moniker  # it names a file
    target = output_file or Path("gentxs") / f"{name}{SUFFIX}"
    if target.exists():
        raise Refused(Reason.BAD_ARGUMENT, f"{target} exists already: delete it, or give --output-file")
    power = _whole(amount)
    commission = basis_points(commission_rate)
    where = _node_address(home, config, place)
    operator = Keystore(home.keys).open(from_, read_password(password_file, f"the key {from_!r}")).key
    signed = make_gentx(
        document, operator, consensus, moniker=name, power=power, commission=commission, node_address=where
    )
    faults = list(part_faults(document, {name: signed}))
    if faults:
        raise refusal(faults)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, gentx_to_json(signed), 0o644)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{target} cannot be written: {error.strerror}") from None
    session.show({
        "file": str(target), "terms": terms_of(document).hex(), "operator": encode_address(signed.gentx.operator),
        "moniker": name, "power": str(power), "commission": str(commission), "node_address": where,
    })  # fmt: skip
    if not where:
        session.note("No node address: nobody will dial this node from the genesis document; --node-address says one.")


def collect_(
    session: Session,
    file: DraftFile,
    folder: Annotated[Path, typer.Option("--dir", help="Folder of the parts.")] = Path("gentxs"),
    output_file: Annotated[Path, typer.Option(help="Where to write the document.")] = Path("genesis.json"),
) -> None:
    """Put the parts into the draft. The result is the same bytes for everybody, whatever order they came in."""
    document = read_draft(file)
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{folder} cannot be read: {error.strerror}") from None
    parts: dict[str, SignedGentx] = {}
    faults: list[Fault] = []
    for path in found:
        try:
            parts[path.name] = read_part(path)
        except Refused as refused:
            faults.append(Fault(path.name, refused.reason, refused.detail))
    if parts or not faults:
        faults += part_faults(document, parts)
    if faults:
        raise refusal(faults)
    genesis = collect(document, parts)
    _save(output_file, genesis)
    session.show({"file": str(output_file), "chain_id": genesis_hash(genesis).hex(), **_described(genesis)})
    for warning in warnings(genesis):
        session.note(f"note: {warning}")


def adopt(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The genesis document that everybody has.")],
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Stay connected to the node addresses in the document.")
    ] = True,
) -> None:
    """Take a genesis document into this home, in place of the one it was made with. No block may be there yet."""
    home = open_home(session.home)
    genesis = read_document(file)
    chain_id = genesis_hash(genesis)
    if home.chain.exists():
        raise Refused(
            Reason.HOME_EXISTS, f"{home.root} has a chain already; another one needs a home of its own: nexus init"
        )
    key = load_node_key(home.keys / f"{CONSENSUS_KEY}.json", None)
    signed = read_state(home) if home.sign_state.exists() else None
    if signed is not None and signed.chain_id != chain_id and signed.step:
        raise Refused(Reason.HOME_EXISTS, f"the consensus key of {home.root} has signed for another chain: make a home")
    write_file(home.genesis, genesis_to_json(genesis))
    write_file(home.genesis_hash, chain_id.hex().encode() + b"\n")
    if signed is None or signed.chain_id != chain_id:
        begin_state(home, Address(key.address), chain_id)
    own = PeerId(peer_id_of(load_node_key(home.keys / f"{NODE_KEY}.json", None).public_key))
    config = load_config(home.config, {})
    if peers:
        config = _with_peers(config, genesis, own)
        save_config(home.config, config)
    voting = [one for one in genesis.validators if one.public_key == key.public_key]
    session.show({
        "home": str(home.root), "chain_id": chain_id.hex(), "name": genesis.name,
        "validator": voting[0].moniker if voting else None, "power": str(voting[0].power) if voting else "0",
        "persistent_peers": list(config.persistent_peers),
    })  # fmt: skip
    if not voting:
        session.note("This home's consensus key is not among the validators: the node will follow, and not vote.")


# ---- reading and writing


def read_draft(path: Path) -> Genesis:
    """Return a draft. Raises Refused(BAD_GENESIS)."""
    return _parsed(path, draft_from_json)


def read_document(path: Path) -> Genesis:
    """Return a genesis document. Raises Refused(BAD_GENESIS)."""
    return _parsed(path, genesis_from_json)


def _parsed(path: Path, parse: Callable[[bytes], Genesis]) -> Genesis:
    raw = _read(path, MAX_GENESIS, Reason.BAD_GENESIS)
    try:
        return parse(raw)
    except Refused as refused:
        raise Refused(refused.reason, f"{path}: {refused.detail}") from None


def read_part(path: Path) -> SignedGentx:
    """Return a validator's part; its signatures are not checked. Raises Refused(BAD_GENTX)."""
    part = gentx_from_json(_read(path, 4 * MAX_GENTX, Reason.BAD_GENTX))
    if part.gentx.node_address:
        try:
            parse_peer_address(part.gentx.node_address)
        except Refused as refused:
            raise Refused(Reason.BAD_GENTX, f"node_address: {refused.detail}") from None
    return part


def _read(path: Path, most: int, reason: Reason) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise Refused(reason, f"{path} cannot be read: {error.strerror}") from None


def _save(path: Path, genesis: Genesis) -> None:
    """Write a document that can be read again. Raises Refused(BAD_GENESIS | BAD_ARGUMENT)."""
    raw = genesis_to_json(genesis)
    (genesis_from_json if genesis.validators else draft_from_json)(raw)
    try:
        write_file(path, raw, 0o644)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be written: {error.strerror}") from None


def _described(genesis: Genesis) -> dict[str, Any]:
    supply = sum(one.amount for one in genesis.balances if one.symbol == NATIVE_SYMBOL)
    owners = {one.owner for one in genesis.balances}
    return {
        "name": genesis.name, "terms": terms_of(genesis).hex(), "accounts": str(len(owners)),
        "balances": format_amount(supply), "validators": str(len(genesis.validators)),
        "power": str(sum(one.power for one in genesis.validators)),
    }  # fmt: skip


# ---- words into values


def _moment(text: str) -> int:
    if not text:
        return time.time_ns() // 1_000_000_000 * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is no time; write 2026-12-01T12:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1000


def _with_rule(document: Genesis, text: str) -> Genesis:
    path, sign, number = text.partition("=")
    group, _, name = path.partition(".")
    if not sign or not number.isdecimal() or not name:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is no GROUP.NAME=NUMBER, as timing.block_interval=400")
    if group not in GROUPS:
        raise Refused(Reason.BAD_ARGUMENT, f"{group}: {no_such(group, dict.fromkeys(GROUPS))}")
    rules = getattr(document, group)
    known = msgspec.structs.asdict(rules)
    if name not in known:
        raise Refused(Reason.BAD_ARGUMENT, f"{path}: {no_such(name, known)}")
    return replace(document, **{group: replace(rules, **{name: int(number)})})


def _whole(text: str) -> int:
    """Return nxs of an amount without a fraction. Raises Refused(BAD_ARGUMENT | AMOUNT_OUT_OF_RANGE)."""
    quantity = parse_quantity(text)
    if quantity.unit not in (NATIVE_SYMBOL, NATIVE_TEXT):
        raise Refused(Reason.BAD_ARGUMENT, f"stake is in nxs, not in {quantity.unit}")
    amount = to_smallest(quantity, NATIVE_DECIMALS)
    if amount % UNXS_PER_NXS:
        raise Refused(Reason.BAD_ARGUMENT, f"{text}: at genesis whole nxs are bonded, one for each vote")
    return int(amount // UNXS_PER_NXS)


def _node_address(home: Home, config: NodeConfig, asked: str) -> str:
    """Return ID@[ADDR]:PORT of this node, or nothing if nobody was told where it is."""
    if asked:
        host, port = parse_place(asked)
    elif config.external_address:
        host, port = parse_place(config.external_address)
    elif config.listen_host not in ("::", "::1"):
        host, port = config.listen_host, config.listen_port
    else:
        return ""
    key = load_node_key(home.keys / f"{NODE_KEY}.json", None)
    return format_peer_address(PeerAddress(PeerId(peer_id_of(key.public_key)), host, port))


def _with_peers(config: NodeConfig, genesis: Genesis, own: PeerId) -> NodeConfig:
    """Return settings whose persistent peers include the other validators'."""
    known = {parse_peer_address(text).peer_id for text in config.persistent_peers} | {own}
    added = []
    for one in genesis.validators:
        if one.node_address and parse_peer_address(one.node_address).peer_id not in known:
            added.append(one.node_address)
    return replace(config, persistent_peers=(*config.persistent_peers, *added))
