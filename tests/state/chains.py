"""A small chain for tests of the store: blocks that spend and make coins, and a model of what must be there."""

import random
from dataclasses import dataclass, field
from hashlib import sha3_256

from crypto.schemes import Scheme
from state.blockrows import BlockBytes
from state.chainstore import ChainOptions, ChainStore
from state.changes import Changes
from state.genesis import Genesis, GenesisValidator
from state.params import ChainParams, SecurityParams, Timing
from state.receipt import BlockResult, Event, Receipt
from state.records import encode_output, output_key
from state.store import Store
from state.transaction import Coin, OutPoint
from state.types import NATIVE, Address, Amount, Height, TxId, WtxId

OWNERS = tuple(Address(sha3_256(bytes([number])).digest()) for number in range(5))
COUNTER = b"chain/counter"
START_OUTPUTS = 60
# A Falcon key of zeros: canonical in form, and nobody's.
KEY = bytes([Scheme.FALCON, 0x0A]) + bytes(1792)

GENESIS = Genesis(
    1, "test", 1_700_000_000_000, Timing(), ChainParams(), SecurityParams(),
    (GenesisValidator(KEY, 10, OWNERS[0], "first"),),
)


def coin(owner: int, amount: int) -> bytes:
    return encode_output(Coin(NATIVE, OWNERS[owner], Amount(amount)))


def initial(genesis: Genesis) -> Changes:
    entries: dict[bytes, tuple[bytes | None, bytes | None]] = {
        output_key(TxId(bytes(32)), number): (None, coin(number % 5, number + 1)) for number in range(START_OUTPUTS)
    }
    entries[COUNTER] = (None, b"0")
    return Changes(entries)


@dataclass
class Chain:
    """A store with the model of its records after each height."""

    store: Store
    options: ChainOptions = field(default_factory=ChainOptions)
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.chain = ChainStore.open(self.store, GENESIS, initial, self.options)
        self.past: list[dict[bytes, bytes]] = [{key: value for key, value in initial(GENESIS) if value is not None}]
        self.blocks: list[tuple[BlockBytes, BlockResult]] = []

    def reopen(self) -> None:
        self.chain = ChainStore.open(self.store, GENESIS, initial, self.options)

    def make(self, transactions: int = 3) -> tuple[BlockBytes, BlockResult]:
        """Make the next block: each transaction spends one output and makes two (or none, now and then)."""
        rng, height = self.random, Height(self.chain.height + 1)
        records = dict(self.past[-1])
        entries: dict[bytes, tuple[bytes | None, bytes | None]] = {}
        receipts, touched = [], []
        spendable = sorted(key for key in records if key.startswith(b"utxo/"))
        for index in range(transactions):
            txid = TxId(rng.randbytes(32))
            spent = spendable.pop(rng.randrange(len(spendable)))
            entries[spent] = (records[spent], None)
            for place in range(rng.choice((0, 2, 2))):
                entries[output_key(txid, place)] = (None, coin(rng.randrange(5), rng.randrange(1, 1000)))
            event = Event("transfer", (("amount", "1"),))
            receipts.append(Receipt(txid, WtxId(txid), height, index, "", "", Amount(1), 1, 1, (event,)))
            touched.append((OWNERS[index % 5], OWNERS[height % 5]))
        entries[COUNTER] = (records[COUNTER], str(height).encode())
        block = BlockBytes(
            height, b"header %d" % height, b"last commit", b"evidence", b"commit %d" % height,
            tuple(b"transaction %d of %d" % (index, height) for index in range(transactions)),
        )
        events = (Event("block", (("height", str(height)),)),)
        return block, BlockResult(Changes(entries), tuple(receipts), bytes([height]) * 32, events, tuple(touched))

    def take(self, block: BlockBytes, result: BlockResult) -> None:
        """Put a committed block into the model."""
        records = dict(self.past[-1])
        for key, value in result.changes:
            if value is None:
                del records[key]
            else:
                records[key] = value
        self.past.append(records)
        self.blocks.append((block, result))

    def grow(self, blocks: int = 1, transactions: int = 3) -> None:
        for _ in range(blocks):
            block, result = self.make(transactions)
            self.chain.commit_block(block, result)
            self.take(block, result)


def outpoint(key: bytes) -> OutPoint:
    return OutPoint(TxId(key[5:37]), int.from_bytes(key[37:], "big"))
