"""From the node's values to the API's shapes."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from apps.registry import MESSAGES
from consensus.types import Commit, Header, Tip, ValidatorSet
from crypto.address import encode_address
from crypto.errors import Refused
from crypto.schemes import scheme_of
from node.api import shapes
from node.api.text import Decimal
from node.progress import Progress
from node.service import NodeStatus, ProvenReceipt
from p2p.network import PeerInfo
from state.encoding import encode
from state.genesis import Genesis
from state.params import ChainParams
from state.receipt import Event, Receipt
from state.records import Lock, asset_text
from state.transaction import Coin, Decoded, HiddenCoin, Message, OutPoint, Output
from state.types import AssetId, Height


def _version() -> str:
    try:
        return version("nexus-node")
    except PackageNotFoundError:
        return "unknown"


VERSION: Final = _version()
_ADDRESS_FIELDS: Final = frozenset({"owner", "to", "sender", "signer", "spender", "account", "issuer", "from"})


def status_view(status: NodeStatus, power: int) -> shapes.Status:
    """Return the status; `power` is the node's in the present validator set."""
    return shapes.Status(
        chain_id=status.chain_id.hex(), chain_name=status.chain_name, moniker=status.moniker,
        node_id=status.node_id.hex(), version=VERSION, protocol_version=status.version,
        height=Decimal(status.height), best_height=Decimal(status.best_height), block_id=status.block_id.hex(),
        block_time=Decimal(status.block_time), state_root=status.state_root.hex(), round=status.step.round,
        step=status.step.name, catching_up=status.catching_up, seconds_left=status.seconds_left,
        validator=None if status.validator is None else encode_address(status.validator),
        voting_power=Decimal(power), peers=status.peers,
        external_address=status.external_address, mempool_transactions=status.mempool_transactions,
        mempool_bytes=Decimal(status.mempool_bytes), started_at=Decimal(status.started_at),
        difficulty=status.difficulty, joining=None if status.joining is None else _joining_view(status.joining),
    )


def joining_status(
    tip: Tip, progress: Progress, *, moniker: str, node_id: bytes, genesis: Genesis, started_at: int
) -> shapes.Status:
    """Return the status of a node that joins before it runs; `tip` is that of the chain in its home."""
    return shapes.Status(
        chain_id=tip.chain_id.hex(), chain_name=genesis.name, moniker=moniker, node_id=node_id.hex(), version=VERSION,
        protocol_version=tip.version, height=Decimal(tip.height),
        best_height=Decimal(max(progress.best, tip.height)), block_id=tip.block_id.hex(),
        block_time=Decimal(tip.time), state_root=tip.state_root.hex(), round=0, step="joining", catching_up=True,
        seconds_left=progress.seconds_left or 0, validator=None, voting_power=Decimal(0), peers=progress.peers,
        external_address="",
        mempool_transactions=0, mempool_bytes=Decimal(0), started_at=Decimal(started_at), difficulty=0,
        joining=_joining_view(progress),
    )


def _joining_view(progress: Progress) -> shapes.JoiningView:
    return shapes.JoiningView(
        stage=progress.stage.value, snapshot_height=Decimal(progress.height), done=progress.done,
        total=progress.total, bytes=Decimal(progress.bytes), seconds_left=progress.seconds_left,
    )


def validators_view(height: int, validators: ValidatorSet) -> shapes.ValidatorsView:
    """Return a validator set."""
    return shapes.ValidatorsView(
        height=Decimal(height), hash=validators.hash.hex(), total_power=Decimal(validators.total_power),
        validators=[
            shapes.ValidatorView(
                index=index, address=encode_address(one.address), operator=encode_address(one.operator),
                power=Decimal(one.power), public_key=one.public_key,
            )
            for index, one in enumerate(validators.validators)
        ],
    )


def header_view(header: Header) -> shapes.HeaderView:
    """Return a header."""
    return shapes.HeaderView(
        block_id=header.block_id.hex(), version=header.version, chain_id=header.chain_id.hex(),
        height=Decimal(header.height), time=Decimal(header.time), proposer=encode_address(header.proposer),
        previous=header.previous.hex(), last_commit_hash=header.last_commit_hash.hex(),
        transactions_root=header.transactions_root.hex(), state_root=header.state_root.hex(),
        receipts_root=header.receipts_root.hex(), validators_hash=header.validators_hash.hex(),
        next_validators_hash=header.next_validators_hash.hex(), evidence_root=header.evidence_root.hex(),
        beacon=header.beacon.hex(),
    )


def commit_view(commit: Commit) -> shapes.CommitView:
    """Return a commit."""
    return shapes.CommitView(
        height=Decimal(commit.height), round=commit.round, block_id=commit.block_id.hex(),
        signatures=[
            shapes.CommitSignatureView(validator=one.validator, signature=one.signature) for one in commit.signatures
        ],
    )


def event_views(events: Sequence[Event]) -> list[shapes.EventView]:
    """Return events."""
    return [shapes.EventView(name=event.name, attributes=list(event.attributes)) for event in events]


def receipt_view(receipt: Receipt) -> shapes.ReceiptView:
    """Return a receipt."""
    return shapes.ReceiptView(
        txid=receipt.txid.hex(), wtxid=receipt.wtxid.hex(), height=Decimal(receipt.height), index=receipt.index,
        reason=receipt.reason, detail=receipt.detail, fee=Decimal(receipt.fee),
        gas_wanted=Decimal(receipt.gas_wanted), gas_used=Decimal(receipt.gas_used), events=event_views(receipt.events),
    )


def receipt_answer(proven: ProvenReceipt) -> shapes.ReceiptAnswer:
    """Return a receipt with its proof."""
    return shapes.ReceiptAnswer(
        receipt=receipt_view(proven.receipt), raw=encode(proven.receipt), proof_size=proven.proof.size,
        proof_path=list(proven.proof.path),
    )


def transaction_view(decoded: Decoded, place: tuple[Height, int] | None) -> shapes.TransactionView:
    """Return a transaction; `place` is its block and index, or None while it waits."""
    body = decoded.body
    return shapes.TransactionView(
        txid=decoded.txid.hex(), wtxid=decoded.wtxid.hex(), raw=decoded.raw,
        height=None if place is None else Decimal(place[0]), index=None if place is None else place[1],
        kind=type(body.payload).__name__.lower(), signers=[encode_address(signer) for signer in decoded.signers],
        fee=Decimal(body.fee), expiry=Decimal(body.expiry), body=readable(body.payload),
    )


def output_kind(output: Output) -> str:
    """Return how the API names an output's type."""
    return type(output).__name__.lower()


def output_view(outpoint: OutPoint, output: Output) -> shapes.OutputView:
    """Return an unspent output."""
    coin = output if isinstance(output, Coin) else None
    asset = output.asset if isinstance(output, Coin | HiddenCoin) else None
    return shapes.OutputView(
        txid=outpoint.txid.hex(), index=outpoint.index, kind=output_kind(output),
        owner=encode_address(output.owner), asset=None if asset is None else asset_text(asset),
        amount=None if coin is None else Decimal(coin.amount), raw=encode(output),
    )


def lock_view(lock_id: bytes, lock: Lock) -> shapes.LockView:
    """Return a lock."""
    return shapes.LockView(
        lock_id=lock_id.hex(), asset=asset_text(lock.asset), amount=Decimal(lock.amount),
        release_height=Decimal(lock.release_height),
    )


def params_view(chain: ChainParams, genesis: Genesis) -> shapes.ParamsView:
    """Return the chain's parameters."""
    consensus = {**msgspec.structs.asdict(genesis.timing), **msgspec.structs.asdict(genesis.security)}
    return shapes.ParamsView(
        chain={name: Decimal(value) for name, value in msgspec.structs.asdict(chain).items()},
        consensus={name: Decimal(value) for name, value in consensus.items()},
    )


def peer_view(peer: PeerInfo) -> shapes.PeerView:
    """Return a live connection."""
    return shapes.PeerView(
        node_id=peer.peer_id.hex(), host=peer.host, port=peer.port, inbound=peer.inbound,
        bytes_sent=Decimal(peer.bytes_sent), bytes_received=Decimal(peer.bytes_received),
        rtt_us=Decimal(max(0, int(peer.rtt * 1e6))),
    )


def scheme_name(public_key: bytes) -> str:
    """Return the scheme's name, or nothing for an account without a key on chain."""
    return scheme_of(public_key).name.lower() if public_key else ""


def readable(value: Any, field: str = "") -> Any:
    """Return any record as JSON for people: integers as decimal text, hashes in hex, addresses in bech32m.

    A message of a known module is shown by the fields of its own struct.
    """
    if isinstance(value, Message):
        return {"name": value.name, "value": _message_value(value)}
    if isinstance(value, msgspec.Struct):
        fields = {name: readable(item, name) for name, item in msgspec.structs.asdict(value).items()}
        tag = value.__struct_config__.tag
        return fields if tag is None else {"kind": type(value).__name__.lower(), **fields}
    if isinstance(value, bytes):
        if field == "asset":
            return asset_text(AssetId(value))
        return encode_address(value) if field in _ADDRESS_FIELDS and len(value) == 32 else value.hex()
    return json_text(value)


def json_text(value: Any) -> Any:
    """Return plain data with its integers as decimal text."""
    if isinstance(value, Mapping):
        return {str(name): readable(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    return value


def _message_value(message: Message) -> Any:
    kind = MESSAGES.get(message.name)
    if kind is None:
        return message.value.hex()
    try:
        return readable(kind.codec.decode(message.value))
    except Refused:
        return message.value.hex()
