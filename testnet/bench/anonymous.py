"""What anonymous payments cost, on each backend. EXPERIMENTAL, classical.

    made      a payment among ten accounts: drawn up and proven
    alone     its proof verified
    batch     the proofs of a block, no two payments with an account in common, verified as three sums
    block     everything that a validator does for these payments when it never saw them: decoding, state, proofs,
              execution in memory
    scan      looking for own accounts: each costs one product, whoever's it is
    ring      a signature over eleven coins, made and verified; no two are verified together

Times are CPU seconds of this process, the best of several. With the kernel, made and batch stand beside their bars;
what libsodium does stands beside the kernel.
"""

import argparse
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from apps.anonymous.accounts import payment_claim
from apps.anonymous.records import account_id, add_held, append_account, known_account
from apps.execution import decode_block, execute_block
from apps.genesis import init_genesis
from apps.module import BlockDraft
from apps.prooftask import ProofTask
from apps.validity import signatures_hold
from consensus.types import EMPTY_COMMIT
from crypto.batch import Fault
from crypto.elgamal import Account, new_account
from crypto.errors import Reason, Refused
from crypto.group import NATIVE, available
from crypto.quisquis import Payment, PaymentClaim, PaymentProof, Quisquis, default_quisquis, quisquis_with
from crypto.ristretto import Group
from node.wallet import ChainPoint, body_of
from state.changes import Overlay
from state.encoding import encode
from state.genesis import Genesis, genesis_hash
from state.records import encode_amount, supply_key
from state.transaction import SET_SIZE, AccountPayment, AccountProof, assemble, sign_digest
from state.types import NATIVE as NATIVE_TOKEN
from state.types import Address, BlockId, ChainId, Height
from testnet.bench.execution import bench_genesis
from testnet.bench.zk import beside, best, entropy, ring_figures, scalar
from testnet.measure import Figure, figure, json_lines

BLOCK: Final = 100
TRIES: Final = 3
"""Of what takes a second."""
MADE_BAR: Final = 150.0
"""Milliseconds in which a payment is to be proven, with the kernel."""
BLOCK_BAR: Final = 0.8
"""CPU seconds for the proofs of BLOCK payments, with the kernel."""
VALUE: Final = 1_000_000_000
PAID: Final = 600_000_000
FEE: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Bench:
    """A state with accounts, and payments of which no two have one in common."""

    records: dict[bytes, bytes]
    genesis: Genesis
    raws: tuple[bytes, ...]

    @property
    def chain_id(self) -> ChainId:
        """The chain."""
        return genesis_hash(self.genesis)

    def claims(self) -> list[PaymentClaim]:
        """Return what the payments have to prove."""
        found = []
        for decoded in decode_block(self.raws):
            payload = decoded.body.payload
            assert isinstance(payload, AccountPayment)
            kept = [known_account(self.records, name).account for name in payload.accounts]
            found.append(payment_claim(payload, decoded, kept))
        return found


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="nexus bench anonymous", description=__doc__)
    parser.add_argument("--block", type=int, default=BLOCK)
    bench, kernel = make_bench(parser.parse_args().block), dict[str, Figure]()
    for name in available():
        for row in figures(bench, name):
            first = kernel.setdefault(row.name.removeprefix(name), row)
            for line in json_lines([beside(first, row)]):
                print(line, flush=True)
    return 0


def make_bench(count: int) -> Bench:
    """Make a state of nine accounts for each of `count` payments, and the payments."""
    genesis, proofs = bench_genesis(), default_quisquis()
    records = {key: value for key, value in init_genesis(genesis) if value is not None}
    state, sets = Overlay(records), list[list[tuple[int, bytes]]]()
    for _ in range(count):
        owned = [(secret, _account(proofs.group, secret).encode()) for secret in (scalar() for _ in range(SET_SIZE))]
        sets.append(sorted(owned, key=lambda one: account_id(one[1])))
        for _, account in owned:
            append_account(state, account, Height(0))
    add_held(state, count * SET_SIZE * VALUE)
    state.put(supply_key(NATIVE_TOKEN), encode_amount(count * SET_SIZE * VALUE))
    records |= {key: value for key, value in state.changes() if value is not None}
    chain_id = genesis_hash(genesis)
    point = ChainPoint(chain_id, BlockId(chain_id), Height(0))
    return Bench(records, genesis, tuple(_payment(point, one) for one in sets))


def _payment(point: ChainPoint, owned: Sequence[tuple[int, bytes]]) -> bytes:
    """Return a payment out of one of nine accounts (secret, encoding), in the order of their ids, to a new key."""
    proofs, payer = default_quisquis(), secrets.randbelow(SET_SIZE)
    receiver = proofs.key(scalar(), scalar())
    inputs = [*(account for _, account in owned), proofs.account(receiver, 0)]
    drawn = proofs.arrange(inputs, Payment(payer, owned[payer][0], VALUE, SET_SIZE, PAID, FEE), entropy())
    payload = AccountPayment(tuple(account_id(account) for _, account in owned), receiver, drawn.outputs)
    body = body_of(point, payload, FEE, None)
    proof = proofs.prove(sign_digest(encode(body)), drawn, entropy())
    return assemble(body, (), (AccountProof(*proof),))


def _account(group: Group, secret: int) -> Account:
    return new_account(group, secret, scalar(), VALUE, scalar())


def figures(bench: Bench, name: str) -> Iterator[Figure]:
    """Yield the figures of one backend."""
    proofs, count, claims, native = quisquis_with(name), len(bench.raws), bench.claims(), name == NATIVE
    proof, seconds = best(partial(make_payment, proofs))
    what, size = f"{name} anonymous payment", sum(map(len, bench.raws)) // count
    yield figure(f"{what} made", 1000 * seconds, "ms", MADE_BAR if native else None, "reference: the bar" * native)
    yield figure(f"{what} size", size, "bytes", note=f"of them {sum(map(len, proof))} proof")
    _, alone = best(partial(proofs.verify, claims[0], entropy()))
    yield figure(f"{what} verified alone", 1000 * alone, "ms")
    _, batch = best(partial(check_all, proofs, claims), TRIES)
    yield figure(f"{what} verified, each of {count}", 1000 * batch / count, "ms", 1000 * alone, "reference: alone")
    yield figure(
        f"{name} proofs of a block of {count} anonymous payments", batch, "s",
        BLOCK_BAR * count / BLOCK if native else None, "reference: the bar" * native,
    )
    _, block = best(partial(run_block, bench, proofs), TRIES)
    yield figure(f"{name} block of {count} anonymous payments", block, "s", note="never seen before; all that it takes")
    yield figure(f"{name} wallet scan", scan_rate(proofs, claims), "accounts/s", note="whoever's they are")
    yield from ring_figures(proofs.group)


def make_payment(proofs: Quisquis) -> PaymentProof:
    """Draw up and prove a payment."""
    owned = [scalar() for _ in range(SET_SIZE)]
    inputs = [_account(proofs.group, secret).encode() for secret in owned]
    inputs.append(proofs.account(proofs.key(scalar(), scalar()), 0))
    drawn = proofs.arrange(inputs, Payment(0, owned[0], VALUE, SET_SIZE, PAID, FEE), entropy())
    return proofs.prove(entropy(), drawn, entropy())


def check_all(proofs: Quisquis, claims: Sequence[PaymentClaim]) -> None:
    """Verify all claims in one batch. Raises Refused(UNPROVEN) if one does not hold."""
    if proofs.faults(claims, entropy()):
        raise Refused(Reason.UNPROVEN, "a proof of the bench does not hold")


def run_block(bench: Bench, proofs: Quisquis) -> None:
    """Do what a validator does for a block of bytes that it never saw."""
    draft = BlockDraft(
        bench.chain_id, Height(1), 2_000, Address(bytes(32)), BlockId(bench.chain_id), EMPTY_COMMIT, ()
    )

    def find_faults(tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
        return proofs.faults([task.account for task in tasks if task.account is not None], entropy())

    result = execute_block(bench.records, draft, decode_block(bench.raws), signatures_hold, find_faults)
    assert len(result.receipts) == len(bench.raws)


def scan_rate(proofs: Quisquis, claims: Sequence[PaymentClaim]) -> float:
    """Return of how many new accounts a wallet finds out in a CPU second whether they are its own."""
    secret, accounts = scalar(), [account for claim in claims for account in claim.outputs]
    found, seconds = best(lambda: sum(proofs.owns(secret, account) for account in accounts), TRIES)
    assert not found
    return len(accounts) / seconds


if __name__ == "__main__":
    sys.exit(main())
