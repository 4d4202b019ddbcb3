"""What a block does to outputs: from the API's answers to rows. Pure.

Which outputs a transaction spent and made stands in the events of its receipt, for transfers, scripts and calls alike;
what an output holds beyond that, in the transaction's body. A node is trusted to tell the truth, as its API is;
what can be compared is compared, so that a fault shows here and not in the tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api.shapes import EventView
from node.api.stream import BlockEvent, TransactionEvent
from node.api.text import asset_from, hash_from
from state.encoding import encode
from state.genesis import Genesis
from state.records import UTXO, asset_text, decode_output, outpoint_of
from state.transaction import (
    NO_SCRIPT,
    Call,
    Coin,
    Decoded,
    HiddenCoin,
    Memo,
    OutPoint,
    Output,
    State,
    decode_transaction,
    held,
    made_by,
)
from state.types import Address, Amount, ChainId, TxId

MADE: Final = "output/made"
SPENT: Final = "output/spent"
KINDS: Final[Mapping[type[Any], str]] = {Coin: "coin", HiddenCoin: "hidden", Memo: "memo", State: "state"}
"""How the tables name the types of outputs."""


class Made(NamedTuple):
    """A new output."""

    outpoint: OutPoint
    output: Output


class Spent(NamedTuple):
    """An output that is gone, and the transaction that spent it."""

    outpoint: OutPoint
    by: TxId


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """What the database is told of one block. Hashes in hex, time in ms since 1970.

    Attributes:
        height: of the block; 0 for genesis.
        block_id: its id; the chain id for genesis.
        previous: the id of the block before.
        state_root: after the block *before*, as in every header.
        time: of the block.
        made: new outputs in order, also such as the same block spends.
        spent: outputs that the block spends.
    """

    height: int
    block_id: str
    previous: str
    state_root: str
    time: int
    made: tuple[Made, ...]
    spent: tuple[Spent, ...]


class Holding(NamedTuple):
    """Whose outputs of which asset: the key of the table `address`."""

    owner: str
    asset: str


class Totals(NamedTuple):
    """A row of the table `address`: an amount in clear, and numbers of unspent outputs."""

    balance: int = 0
    coins: int = 0
    hidden: int = 0
    memos: int = 0
    states: int = 0

    def __add__(self, other: tuple[Any, ...]) -> "Totals":
        """Return the sums, field by field."""
        return Totals(*(mine + its for mine, its in zip(self, other, strict=True)))

    def negated(self) -> "Totals":
        """Return what takes these away."""
        return Totals(*(-value for value in self))


# ---- reading what the node says


def genesis_block(genesis: Genesis, chain_id: ChainId) -> IndexedBlock:
    """Return the outputs that exist before the first block, as those of block 0."""
    symbols = genesis.symbols
    made = [
        Made(OutPoint(TxId(chain_id), index), Coin(symbols[one.symbol], one.owner, one.amount))
        for index, one in enumerate(genesis.outputs)
    ]
    made += [
        Made(outpoint_of(record.key), decode_output(record.value))
        for record in genesis.carried
        if record.key.startswith(UTXO)
    ]
    name = chain_id.hex()
    return IndexedBlock(0, name, name, "", genesis.time, tuple(made), ())


def read_block(block: BlockEvent, transactions: Sequence[TransactionEvent], raws: Sequence[bytes]) -> IndexedBlock:
    """Return what a block made and spent.

    Args:
        block: its event.
        transactions: the events of all its transactions, in order.
        raws: their wire bytes.

    Raises:
        Refused: PROTOCOL_VIOLATION if the three do not belong together.
    """
    if not block.transactions == len(transactions) == len(raws):
        raise _wrong(block, f"{block.transactions} transactions, {len(transactions)} receipts, {len(raws)} bodies")
    made: list[Made] = []
    spent: list[Spent] = []
    for index, (told, raw) in enumerate(zip(transactions, raws, strict=True)):
        try:
            decoded = decode_transaction(raw)
            if told.index != index + 1 or told.receipt.wtxid != decoded.wtxid.hex():
                raise _wrong(block, f"receipt {told.index} is not that of transaction {index}")
            for event in told.receipt.events:
                if event.name == MADE:
                    made.append(_made(event, decoded))
                elif event.name == SPENT:
                    spent.append(Spent(_outpoint(event), decoded.txid))
        except (KeyError, ValueError, IndexError) as error:
            raise _wrong(block, f"transaction {index} tells of no outputs that it has: {error}") from None
        except Refused as refused:
            if refused.reason is Reason.PROTOCOL_VIOLATION:
                raise
            raise _wrong(block, f"transaction {index}: {refused.detail}") from None
    header = block.header
    return IndexedBlock(
        int(block.height), header.block_id, header.previous, header.state_root, int(header.time), tuple(made),
        tuple(spent),
    )


def _made(event: EventView, decoded: Decoded) -> Made:
    told = dict(event.attributes)
    index = int(told["index"])
    payload = decoded.body.payload
    if not isinstance(payload, Call):
        return Made(OutPoint(decoded.txid, index), made_by(payload)[index])
    # The messages of a call make coins in clear, and nothing but their event says which.
    owner, asset = Address(hash_from(told["owner"])), asset_from(told["asset"])
    return Made(OutPoint(decoded.txid, index), Coin(asset, owner, Amount(int(told["amount"]))))


def _outpoint(event: EventView) -> OutPoint:
    txid, _, index = dict(event.attributes)["outpoint"].partition(":")
    return OutPoint(TxId(hash_from(txid)), int(index))


def _wrong(block: BlockEvent, what: str) -> Refused:
    return Refused(Reason.PROTOCOL_VIOLATION, f"what the node tells of block {block.height} does not fit: {what}")


# ---- what the tables hold


def utxo_row(made: Made, height: int) -> dict[str, Any]:
    """Return the row of a new output in the table `utxo`."""
    outpoint, output = made
    hidden = held(output)
    guarded = output.script.hex() if isinstance(output, Memo | State) and output.script != NO_SCRIPT else None
    return {
        "txid": outpoint.txid.hex(), "output_index": outpoint.index, "kind": KINDS[type(output)],
        "owner": encode_address(output.owner), "asset": asset_text(output.asset),
        "amount": output.amount if isinstance(output, Coin) else None,
        "commitment": None if hidden is None else hidden.commitment.hex(), "script": guarded,
        "nonce": output.nonce if isinstance(output, State) else None, "raw": encode(output),
        "made_height": height, "spent_height": None, "spent_by": None,
    }  # fmt: skip


def weight(kind: str, amount: int | None) -> Totals:
    """Return what one unspent output adds to the row of its owner."""
    return Totals(amount or 0, kind == "coin", kind == "hidden", kind == "memo", kind == "state")


def differences(
    made: Iterable[Mapping[str, Any]], spent: Iterable[Mapping[str, Any]]
) -> dict[Holding, Totals]:
    """Return by how much each row of the table `address` changes, given rows of the table `utxo`."""
    found: dict[Holding, Totals] = {}
    for rows, sign in ((made, 1), (spent, -1)):
        for row in rows:
            holding = Holding(row["owner"], row["asset"])
            one = weight(row["kind"], row["amount"])
            found[holding] = found.get(holding, Totals()) + (one if sign > 0 else one.negated())
    return {holding: change for holding, change in found.items() if any(change)}


def added(before: Mapping[Holding, Totals], change: Mapping[Holding, Totals]) -> dict[Holding, Totals]:
    """Return the changed rows of the table `address` after a block; a row without outputs is to be left out.

    Raises:
        Refused: CORRUPT_DATABASE if a number would be negative.
    """
    after = {holding: before.get(holding, Totals()) + by for holding, by in change.items()}
    for holding, totals in after.items():
        if min(totals) < 0:
            raise Refused(Reason.CORRUPT_DATABASE, f"{holding.owner} would have fewer outputs than none: {totals}")
    return {holding: totals for holding, totals in after.items() if any(totals[1:])}
