"""Execution in one process: blocks of 1,000 transfers on a state of many outputs, down to the synced batch on disk.

Each transfer has two inputs, two outputs and one Falcon-1024 signature, spends outputs that nobody touched before, and
leaves a receipt with four events. Time is CPU time of the whole process: steps are that of the main thread, and
`background` is what LevelDB's compaction took besides until it had caught up. It comes in lumps every ten blocks or so,
so that of the whole run is spread over all transactions.

    cold      the block comes from elsewhere: decode, check, verify every signature, execute, hash, write
    checked   the transactions waited in the mempool: signatures are known to hold, records are in the cache;
              decode, check, execute, hash, write
    bare      as `checked`, without the rows of the three indexes (by txid, by address, by owner)

Signing is done before, on all cores, and is not counted. The reference of each rate is what the machine does if it
verifies signatures and nothing else, measured in the same minute.
"""

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from apps.admission import check_for_admission
from apps.chain.records import params
from apps.chain.tip import genesis_tip, tip_after
from apps.execution import execute_block
from apps.genesis import init_genesis
from apps.module import BlockDraft, draft_after
from apps.validity import SignatureCheck, resolve_keys, signatures_hold, stateless_check, view_after
from consensus.block import make_header
from consensus.types import Commit, Tip
from crypto.keys import SecretKey
from crypto.schemes import verify
from state.blockrows import BlockBytes, block_rows, record_rows
from state.chainstore import ChainStore
from state.changes import Changes
from state.columns import ADDRESS_INDEX, OWNER_INDEX, TX_INDEX
from state.encoding import encode
from state.genesis import Genesis, GenesisValidator, genesis_hash
from state.leveldb import LevelDB
from state.pages import state_key
from state.params import ChainParams, SecurityParams, Timing
from state.proof import verify_state_proof
from state.receipt import BlockResult
from state.records import encode_amount, encode_output, key_owner_key, output_key, public_key_key, supply_key
from state.transaction import (
    Body,
    Coin,
    Decoded,
    OutPoint,
    Transfer,
    Witness,
    assemble,
    decode_transaction,
    sign_digest,
    tx_id,
)
from state.types import NATIVE, Address, Amount, BlockId, Height, Round, TxId

KEYS: Final = 8
"""Signers: few, since making a key takes a while; addresses of outputs are spread over them."""
BLOCK_SIZE: Final = 1000
COIN: Final = 1_000_000
FEE: Final = 10_000
CALIBRATIONS: Final = 300
UNSIGNED_BLOCKS: Final = 4
"""Enough blocks for compaction to show what it costs over time."""
PROOFS: Final = 50
SETTLE_STEP: Final = 0.1
"""Seconds between two looks at whether compaction is still busy ..."""
SETTLE_TRIES: Final = 300
"""... and how often to look before going on all the same."""
INDEXES: Final = (TX_INDEX, ADDRESS_INDEX, OWNER_INDEX)

Result = dict[str, Any]
"""One figure: name, value, unit, reference, ratio, and for rates the split by step in us per transaction."""


@dataclass(slots=True)
class Clock:
    """CPU seconds of the main thread by step."""

    steps: dict[str, float] = field(default_factory=dict)
    last: float = 0.0
    """What the last step took."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the CPU time of the body to a step."""
        start = time.thread_time()
        yield
        self.last = time.thread_time() - start
        self.steps[name] = self.steps.get(name, 0.0) + self.last


@dataclass(slots=True)
class Bench:
    """A chain with many outputs, and the keys that own them."""

    chain: ChainStore
    tip: Tip
    keys: list[SecretKey]
    used: int = 0
    """Outputs that transactions were made of so far."""


def bench_genesis() -> Genesis:
    """Return a genesis with one validator and no money: the outputs are loaded behind its back."""
    key = SecretKey.generate()
    rules = ChainParams(max_block_bytes=16 << 20, max_block_gas=1 << 40)
    validator = GenesisValidator(key.public_key, 1, Address(key.address), "bench")
    return Genesis(1, "bench", 1_000, Timing(), rules, SecurityParams(), (validator,))


def outpoint_at(number: int) -> OutPoint:
    """Return where output `number` of the loaded ones is."""
    return OutPoint(TxId(tx_id(number.to_bytes(8, "big"))), number % 4)


def loaded_state(genesis: Genesis, owners: list[SecretKey], outputs: int) -> Changes:
    """Return the first state: genesis, the owners' keys, and the outputs."""
    entries = dict(init_genesis(genesis).entries)
    for key in owners:
        entries[public_key_key(Address(key.address))] = (None, key.public_key)
        entries[key_owner_key(Address(key.address))] = (None, key.address)
    values = [encode_output(Coin(NATIVE, Address(key.address), Amount(COIN))) for key in owners]
    for number in range(outputs):
        outpoint = outpoint_at(number)
        # Two in a row have one owner: they are the two inputs of one transaction.
        entries[output_key(outpoint.txid, outpoint.index)] = (None, values[number // 2 % len(values)])
    entries[supply_key(NATIVE)] = (None, encode_amount(outputs * COIN))
    return Changes(entries)


def load(folder: Path, genesis: Genesis, owners: list[SecretKey], outputs: int) -> None:
    """Make the database."""
    store = LevelDB.open(folder)
    ChainStore.open(store, genesis, lambda one: loaded_state(one, owners, outputs))
    store.close()


def open_bench(folder: Path, outputs: int) -> Bench:
    """Load the outputs into a new LevelDB, and open it as a node would.

    Another process loads: what a million records leave in its memory would slow down what is measured here.
    """
    keys = [SecretKey.generate() for _ in range(KEYS)]
    genesis = bench_genesis()
    with ProcessPoolExecutor(1) as pool:
        pool.submit(load, folder, genesis, keys, outputs).result()
    chain = ChainStore.open(LevelDB.open(folder), genesis, init_genesis)
    tip = genesis_tip(chain, genesis_hash(genesis), genesis.time, chain.state_root)
    return Bench(chain, tip, keys)


def bodies(bench: Bench, count: int) -> list[tuple[Body, SecretKey]]:
    """Return transfers of outputs that were not used before, with their signers."""
    made = []
    for number in range(bench.used, bench.used + count):
        key = bench.keys[number % len(bench.keys)]
        to = Address(bench.keys[(number * 7 + 3) % len(bench.keys)].address)
        inputs = (outpoint_at(2 * number), outpoint_at(2 * number + 1))
        change = Coin(NATIVE, Address(key.address), Amount(COIN - FEE))
        payload = Transfer(inputs, (Coin(NATIVE, to, Amount(COIN)), change))
        body = Body(
            1, bench.tip.chain_id, bench.tip.block_id, Height(bench.tip.height + 500), 0, Amount(FEE), payload
        )
        made.append((body, key))
    bench.used += count
    return made


def _sign(unsigned: tuple[Body, SecretKey]) -> bytes:
    body, key = unsigned
    signature = key.sign(sign_digest(encode(body)))
    return assemble(body, (Witness(Address(key.address), b"", signature),))


def signed(unsigned: list[tuple[Body, SecretKey]]) -> list[bytes]:
    """Sign on all cores: 0.4 ms each in the native kernel, about 12 without."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_sign, unsigned, chunksize=50))


def pretended(unsigned: list[tuple[Body, SecretKey]]) -> list[bytes]:
    """Put random bytes in the place of signatures, for runs that know them to hold."""
    return [
        assemble(body, (Witness(Address(key.address), b"", b"\x01" + secrets.token_bytes(1280)),))
        for body, key in unsigned
    ]


def known(_decoded: Decoded, _keys: tuple[bytes, ...]) -> bool:
    """Stand for a cache of verified transactions that knows them all."""
    return True


def admit(bench: Bench, raws: list[bytes]) -> None:
    """Do what the mempool did before: it leaves the records of inputs in the cache."""
    view = view_after(bench.chain, params(bench.chain), bench.tip.chain_id, bench.tip.height, bench.tip.block_id)
    for raw in raws:
        check_for_admission(decode_transaction(raw), view)


def run_block(bench: Bench, raws: list[bytes], is_verified: SignatureCheck, *, indexes: bool, clock: Clock) -> None:
    """Take one block from wire bytes to the disk, and move the tip."""
    chain, tip = bench.chain, bench.tip
    rules = params(chain)
    draft = draft_after(tip, tip.time + 1000, tip.validators.validators[0].address)
    with clock.step("decode"):
        decoded = [decode_transaction(raw) for raw in raws]
    with clock.step("stateless"):
        for one in decoded:
            stateless_check(one, tip.chain_id, rules, tip.version)
    with clock.step("signatures"):
        for one in decoded:
            if not is_verified(one, resolve_keys(one, chain)):
                raise ValueError("a signature of the benchmark does not hold")
    with clock.step("execute"):
        result = execute_block(chain, draft, decoded, known)
    commit_result(bench, draft, raws, decoded, result, indexes=indexes, clock=clock)


def commit_result(
    bench: Bench, draft: BlockDraft, raws: list[bytes], decoded: list[Decoded], result: BlockResult, *,
    indexes: bool, clock: Clock,
) -> None:
    """Hash and write an executed block, and move the tip."""
    chain = bench.chain
    if any(receipt.reason for receipt in result.receipts):
        raise ValueError("a transaction of the benchmark failed")
    header = make_header(
        bench.tip, time=draft.time, proposer=draft.proposer, wtxids=[one.wtxid for one in decoded],
        last_commit=draft.last_commit,
    )
    commit = Commit(header.height, Round(0), BlockId(header.block_id), ())
    block = BlockBytes(
        header.height, encode(header), encode(draft.last_commit), encode(()), encode(commit), tuple(raws)
    )
    if not indexes:
        result = replace(result, touched=((),) * len(decoded))
    before = chain.output_counts
    with clock.step("tree"):
        prepared = chain.prepare(block, result)
    keys = [state_key(key) for key in result.changes.entries]
    with clock.step("rows"):  # a second time, to tell them from the tree's part of `prepare`
        record_rows(result.changes, keys, before)
        block_rows(block, result, prepared.meta.state_root)
    clock.steps["tree"] -= clock.last
    written = prepared
    if not indexes:
        written = replace(prepared, rows=[row for row in prepared.rows if row[0][:1] not in INDEXES])
    with clock.step("batch and sync"):
        chain.write(written)
        chain.finish(prepared)
    bench.tip = tip_after(
        chain, header, commit, state_root=chain.state_root, receipts_root=chain.receipts_root, needs_proof_block=True
    )


def calibrate(key: SecretKey) -> float:
    """Return the CPU microseconds of one verification of a Falcon-1024 signature, now and here."""
    message = sign_digest(b"calibration")
    signature = key.sign(message)
    start = time.thread_time()
    for _ in range(CALIBRATIONS):
        verify(key.public_key, message, signature)
    return (time.thread_time() - start) / CALIBRATIONS * 1e6


def background_time() -> float:
    """Return the CPU seconds that other threads than this one have taken: LevelDB's compaction."""
    return time.process_time() - time.thread_time()


def settle() -> None:
    """Wait until compaction has nothing left to do."""
    for _ in range(SETTLE_TRIES):
        before = background_time()
        time.sleep(SETTLE_STEP)
        if background_time() - before < SETTLE_STEP / 20:
            return


def measure(
    bench: Bench, name: str, blocks: list[list[bytes]], is_verified: SignatureCheck, *, warm: bool, indexes: bool
) -> Result:
    """Run blocks, the first of them unmeasured, and return the split by step in microseconds per transaction."""
    clock = Clock()
    calibrations = []
    for number, raws in enumerate(blocks):
        if warm:
            admit(bench, raws)
        if number == 1:
            clock = Clock()
        calibrations.append(calibrate(bench.keys[0]))
        run_block(bench, raws, is_verified, indexes=indexes, clock=clock)
    count = sum(len(raws) for raws in blocks[1:])
    verification = sum(calibrations[1:]) / len(calibrations[1:])
    split = {step: round(seconds / count * 1e6, 1) for step, seconds in clock.steps.items()}
    return {"name": f"execution {name}", "split_us": split, "falcon_verify_us": round(verification, 1)}


def rated(measured: Result, background: float) -> Result:
    """Add the rate to a measurement, and the background's microseconds for each transaction."""
    split = {**measured["split_us"], "background": round(background, 1)}
    value, ceiling = 1e6 / sum(split.values()), 1e6 / measured["falcon_verify_us"]
    return {
        "name": measured["name"],
        "value": round(value),
        "unit": "tx per CPU-second",
        "reference": round(ceiling),
        "ratio": round(value / ceiling, 3),
        "split_us": split,
        "falcon_verify_us": measured["falcon_verify_us"],
    }


def measure_proofs(bench: Bench) -> list[Result]:
    """Prove single outputs, and return size and time of verification at the median."""
    sizes, times = [], []
    for number in range(bench.used * 2, bench.used * 2 + PROOFS):
        outpoint = outpoint_at(number)
        key = output_key(outpoint.txid, outpoint.index)
        proof = bench.chain.prove(key, bench.chain.height)
        sizes.append(len(encode(proof)))
        start = time.thread_time()
        if verify_state_proof(bench.chain.state_root, key, proof) is None:
            raise ValueError("an output of the benchmark is not in the state")
        times.append((time.thread_time() - start) * 1e3)
    figures = (("size", sorted(sizes)[PROOFS // 2], "bytes", 5000), ("verify", sorted(times)[PROOFS // 2], "ms", 1.0))
    return [
        {"name": f"proof {name}", "value": round(value, 3), "unit": unit, "reference": bound,
         "ratio": round(value / bound, 3)}
        for name, value, unit, bound in figures
    ]  # fmt: skip


def run(
    outputs: int = 1_000_000, blocks: int = 3, block_size: int = BLOCK_SIZE, folder: Path | None = None
) -> list[Result]:
    """Load the outputs and measure.

    Args:
        outputs: how many unspent outputs the state holds at the start.
        blocks: measured cold blocks; of the other two kinds, which nobody has to sign, UNSIGNED_BLOCKS times as many.
            One more of each kind runs before them.
        block_size: transactions in a block.
        folder: where the database goes for the time of the run; default is a temporary folder.
    """
    count, unsigned = (blocks + 1) * block_size, (UNSIGNED_BLOCKS * blocks + 1) * block_size
    spent = 2 * (count + 2 * unsigned)
    if outputs < spent + PROOFS:
        raise ValueError(f"so many blocks spend {spent} outputs")
    place = Path(tempfile.mkdtemp(prefix="nexus-bench-", dir=folder))
    try:
        bench = open_bench(place / "chain", outputs)
        settle()
        start = background_time()
        cold = signed(bodies(bench, count))
        results = [measure(bench, "cold", slices(cold, block_size), signatures_hold, warm=False, indexes=True)]
        for name, indexes in (("checked", True), ("bare", False)):
            raws = pretended(bodies(bench, unsigned))
            results.append(measure(bench, name, slices(raws, block_size), known, warm=True, indexes=indexes))
        settle()
        background = (background_time() - start) / bench.used * 1e6
        results = [rated(result, background) for result in results] + measure_proofs(bench)
    finally:
        shutil.rmtree(place)
    return [{**result, "outputs": outputs, "block": block_size} for result in results]


def slices(raws: list[bytes], size: int) -> list[list[bytes]]:
    """Cut transactions into blocks."""
    return [raws[start : start + size] for start in range(0, len(raws), size)]


if __name__ == "__main__":
    for line in run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        print(json.dumps(line))
