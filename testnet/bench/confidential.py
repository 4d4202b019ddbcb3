"""What hidden coins cost, on each backend: proving and verifying transfers of two into two, and scanning for own coins.

    block     everything that a validator does for a block that it never saw: decoding, state, Falcon signatures, proofs
              in one batch, execution in memory
    each      the batch of proofs alone, beside one transfer alone
    scan      coins that are all the wallet's own: opening the note, recomputing the commitment; others cost nothing

Times are CPU seconds of this process, the best of several.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from apps.execution import decode_block, execute_block
from apps.genesis import init_genesis
from apps.hidden import movement
from apps.module import BlockDraft
from apps.prooftask import ProofTask
from apps.validity import signatures_hold
from consensus.types import EMPTY_COMMIT
from crypto.batch import Fault
from crypto.confidential import Claim, ConfidentialProofs, Opening, default_proofs, proofs_with
from crypto.errors import Reason, Refused
from crypto.group import available
from crypto.keys import SecretKey
from crypto.ristretto import UNIFORM_SIZE, scalar_from_uniform
from node.hidden.paying import Payment, Purse, Spendable, draft_hidden
from node.hidden.viewing import Viewer, ViewKeys, view_keys, viewing_seed
from node.wallet import Account, ChainPoint, sign_draft
from state.genesis import Genesis, genesis_hash
from state.records import (
    decode_output,
    encode_amount,
    encode_output,
    key_owner_key,
    output_key,
    pool_key,
    public_key_key,
    supply_key,
)
from state.transaction import NOTE_SIZE, Decoded, HiddenCoin, Transfer
from state.types import NATIVE, Address, Amount, BlockId, ChainId, Height
from testnet.bench.execution import bench_genesis, outpoint_at
from testnet.measure import Figure, figure, json_lines

BLOCK: Final = 100
TRIES: Final = 3
BLOCK_BAR: Final = 0.4
"""CPU seconds for a block of BLOCK transfers, with the kernel."""
SCAN_BAR: Final = 2_000
"""Outputs a second."""
VALUE: Final = 1_000_000_000
_ENTROPY: Final = 32

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bench:
    """A state with hidden coins of one owner, and transfers that spend two each."""

    records: dict[bytes, bytes]
    genesis: Genesis
    key: SecretKey
    keys: ViewKeys
    raws: tuple[bytes, ...]
    proving: float
    """CPU seconds of drafting one of them: notes and proofs, without the signature."""

    @property
    def chain_id(self) -> ChainId:
        """The chain."""
        return genesis_hash(self.genesis)

    def claims(self) -> list[Claim]:
        """Return what the transfers have to show."""
        found = []
        for decoded in decode_block(self.raws):
            payload = decoded.body.payload
            assert isinstance(payload, Transfer)
            spent = [
                decode_output(self.records[output_key(one.txid, one.index)]) for one in payload.inputs
            ]
            claim = movement(payload, decoded, spent, self.records).claim
            assert claim is not None
            found.append(claim)
        return found


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="nexus bench confidential", description=__doc__)
    parser.add_argument("--block", type=int, default=BLOCK)
    count = parser.parse_args().block
    bench = make_bench(count)
    for name in available():
        for line in json_lines(figures(bench, name)):
            print(line, flush=True)
    return 0


def make_bench(count: int) -> Bench:
    """Make a state and `count` transfers, signed."""
    genesis, key = bench_genesis(), SecretKey.generate()
    keys, owner = view_keys(viewing_seed(key)), Address(key.address)
    records = {key: value for key, value in init_genesis(genesis) if value is not None}
    records[public_key_key(owner)], records[key_owner_key(owner)] = key.public_key, owner
    coins = [_fund(records, owner, number) for number in range(2 * count)]
    records[pool_key(NATIVE)] = records[supply_key(NATIVE)] = encode_amount(2 * count * VALUE)
    chain_id = genesis_hash(genesis)
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    raws, proving = [], 0.0
    for number in range(count):
        purse = Purse(Account(owner, key.public_key, registered=True), keys, coins[2 * number : 2 * number + 2])
        payment = Payment(owner, NATIVE, Amount(VALUE + VALUE // 2), keys.receiving)
        begun = time.process_time()
        draft = draft_hidden(point, purse, [payment], secrets.token_bytes)
        proving += time.process_time() - begun
        raws.append(sign_draft(draft, {owner: key}).raw)
    return Bench(records, genesis, key, keys, tuple(raws), proving / count)


def _fund(records: dict[bytes, bytes], owner: Address, number: int) -> Spendable:
    opening = Opening(VALUE, scalar_from_uniform(secrets.token_bytes(UNIFORM_SIZE)))
    outpoint, commitment = outpoint_at(number), default_proofs().commit(opening)
    coin = HiddenCoin(NATIVE, owner, commitment, bytes(NOTE_SIZE))
    records[output_key(outpoint.txid, outpoint.index)] = encode_output(coin)
    return Spendable(outpoint, NATIVE, opening, commitment)


def figures(bench: Bench, name: str) -> Iterator[Figure]:
    """Yield the figures of one backend."""
    proofs, count, claims = proofs_with(name), len(bench.raws), bench.claims()
    if proofs is default_proofs():
        yield figure(f"{name} hidden transfer made", 1000 * bench.proving, "ms", note="two notes and the proofs")
    _, alone = best(partial(proofs.verify, claims[0], secrets.token_bytes(_ENTROPY)))
    yield figure(f"{name} hidden transfer verified alone", 1000 * alone, "ms", note="proofs only")
    _, batch = best(partial(check_all, proofs, claims))
    yield figure(
        f"{name} hidden transfer verified, each of {count}", 1000 * batch / count, "ms", 1000 * alone,
        "proofs only; reference: alone",
    )
    _, block = best(partial(run_block, bench, proofs))
    yield figure(
        f"{name} block of {count} hidden transfers", block, "s", BLOCK_BAR * count / BLOCK,
        f"CPU; two into two, {sum(map(len, bench.raws)) // count} bytes each; never seen before",
    )
    rate = scan_rate(bench, proofs)
    yield figure(f"{name} wallet scan", rate, "outputs/s", SCAN_BAR, "all of them the wallet's own; CPU")


def verify_seconds(bench: Bench) -> float:
    """Return the CPU seconds that a node takes to verify the proofs of one transfer alone."""
    return best(partial(default_proofs().verify, bench.claims()[0], secrets.token_bytes(_ENTROPY)))[1]


def check_all(proofs: ConfidentialProofs, claims: list[Claim]) -> None:
    """Verify all claims in one batch. Raises Refused(UNPROVEN) if one does not hold."""
    if proofs.faults(claims, secrets.token_bytes(_ENTROPY)):
        raise Refused(Reason.UNPROVEN, "a proof of the bench does not hold")


def run_block(bench: Bench, proofs: ConfidentialProofs) -> None:
    """Do what a validator does for a block of bytes that it never saw."""
    draft = BlockDraft(
        bench.chain_id, Height(1), 2_000, Address(bytes(32)), BlockId(bench.chain_id), EMPTY_COMMIT, ()
    )

    def find_faults(tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
        return proofs.faults([task.claim for task in tasks if task.claim is not None], secrets.token_bytes(_ENTROPY))

    result = execute_block(bench.records, draft, decode_block(bench.raws), signatures_hold, find_faults)
    assert len(result.receipts) == len(bench.raws)


def scan_rate(bench: Bench, proofs: ConfidentialProofs) -> float:
    """Return how many own outputs a wallet opens in a CPU second."""
    owner = Address(bench.key.address)
    viewer = Viewer(bench.chain_id, owner, bench.keys.incoming, proofs=proofs)
    outputs = [
        (index, output) for decoded in decode_block(bench.raws) for index, output in enumerate(_made(decoded))
    ]
    found, seconds = best(lambda: sum(viewer.received(output, index) is not None for index, output in outputs))
    assert found == len(outputs)
    return found / seconds


def _made(decoded: Decoded) -> list[HiddenCoin]:
    payload = decoded.body.payload
    return [one for one in payload.outputs if isinstance(one, HiddenCoin)] if isinstance(payload, Transfer) else []


def best(action: Callable[[], Result]) -> tuple[Result, float]:
    """Return what an action gives, and the CPU seconds of its fastest run."""
    least = float("inf")
    for _ in range(TRIES):
        begun = time.process_time()
        result = action()
        least = min(least, time.process_time() - begun)
    return result, least


if __name__ == "__main__":
    sys.exit(main())
