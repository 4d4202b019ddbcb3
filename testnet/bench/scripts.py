"""What a block of script transactions costs its verifiers: each runs the program again, and all proofs are one sum.

The escrow's release into a hidden coin, and a claim of a vesting grant, whose range of 128 bits nobody sees. Times are
CPU seconds for the programs and their proofs alone; signatures, range proofs and balances are those of hidden coins
(`nexus bench confidential`).
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from crypto.confidential import Opening, default_proofs
from crypto.constraints import Opening as Committed
from crypto.group import available, load
from crypto.r1cs import ConstraintClaim, ConstraintProofs
from crypto.ristretto import ORDER
from crypto.transcript import Transcript
from state.transaction import NOTE_SIZE, HiddenCoin, Memo, State
from state.types import MAX_INT, NATIVE, Address, Height
from state.zkvm.assembly import assemble_program
from state.zkvm.machine import MAX_MULTIPLIERS, run_program
from state.zkvm.proving import PROTOCOL
from state.zkvm.sight import Secrets, Sight
from testnet.measure import Figure, figure, json_lines

BLOCK: Final = 100
CONTRACTS: Final = Path(__file__).resolve().parents[2] / "docs" / "contracts"
_SCRIPT: Final = bytes(32)
_HASH_SIZE: Final = 32
_SELLER, _BUYER = Address(b"s" * 32), Address(b"b" * 32)
_AMOUNT: Final = 1000
_LEFT: Final = 600


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="nexus bench scripts", description=__doc__)
    parser.add_argument("--block", type=int, default=BLOCK)
    block = parser.parse_args().block
    for name in available():
        for line in json_lines(list(figures(name, block))):
            print(line, flush=True)
    return 0


def figures(name: str, block: int) -> Iterator[Figure]:
    """Yield what a block of each contract's calls costs on one backend."""
    proofs = ConstraintProofs(load(name), MAX_MULTIPLIERS)
    for contract, scene in (("escrow-release", _escrow), ("vesting-claim", _vesting)):
        program = assemble_program((CONTRACTS / f"{contract}.zk").read_text("utf-8"), {})
        begun = time.process_time()
        calls = [_proven(proofs, program, scene) for _ in range(block)]
        each = (time.process_time() - begun) / block
        multipliers, size = run_program(program, calls[0].sight).system.multipliers, len(calls[0].proof)
        what = f"{name} {contract}, {multipliers} multipliers"
        yield figure(f"{what}, prove", 1000 * each, "ms", note=f"{size} bytes")
        begun = time.process_time()
        claims = [
            ConstraintClaim(Transcript(PROTOCOL, one.context), run_program(program, one.sight).system, one.proof)
            for one in calls
        ]
        proofs.verify_batch(claims, secrets.token_bytes(_HASH_SIZE))
        yield figure(f"{what}, verify a block of {block}", 1000 * (time.process_time() - begun), "ms")


class _Call(NamedTuple):
    """A transaction that runs a program, with commitments of its own."""

    context: bytes
    sight: Sight
    proof: bytes


def _proven(proofs: ConstraintProofs, program: bytes, scene: Callable[[dict[bytes, Opening]], Sight]) -> _Call:
    openings: dict[bytes, Opening] = {}
    seen, context = scene(openings), secrets.token_bytes(_HASH_SIZE)
    known = Secrets({key: Committed(*one) for key, one in openings.items()}, iter(()))
    system = run_program(program, seen, known).system
    return _Call(context, seen, proofs.prove(Transcript(PROTOCOL, context), system, secrets.token_bytes(_HASH_SIZE)))


def _commit(openings: dict[bytes, Opening], amount: int) -> bytes:
    opening = Opening(amount, secrets.randbelow(ORDER))
    commitment = default_proofs().commit(opening)
    openings[commitment] = opening
    return commitment


def _sight(spent: Memo | State, *made: HiddenCoin | State) -> Sight:
    return Sight(_SCRIPT, (spent,), made, (), Height(150), Height(160), frozenset({_BUYER}))


def _escrow(openings: dict[bytes, Opening]) -> Sight:
    data = _SELLER + _BUYER + (900).to_bytes(8, "little")
    held = _commit(openings, _AMOUNT)
    paid = HiddenCoin(NATIVE, _SELLER, _commit(openings, _AMOUNT), bytes(NOTE_SIZE))
    return _sight(Memo(_SCRIPT, _BUYER, NATIVE, held, data, Height(0), Height(MAX_INT)), paid)


def _vesting(openings: dict[bytes, Opening]) -> Sight:
    whole = _commit(openings, _AMOUNT)
    end, duration = ((number).to_bytes(8, "little") for number in (200, 100))
    before, after = (
        State(nonce, _SCRIPT, _SELLER, NATIVE, held, (_BUYER, end, duration, whole), Height(0), Height(MAX_INT))
        for nonce, held in ((0, whole), (1, _commit(openings, _LEFT)))
    )
    return _sight(before, after)


if __name__ == "__main__":
    sys.exit(main())
