"""What zero-knowledge proofs cost, on each backend.

Range proofs of 64 bits over 1, 2 and 16 outputs, sigma proofs, a constraint system of 1,024 multipliers (16 ranges of
64 bits), a shuffle of nine accounts, a ring signature of eleven. Constraint systems and shuffles are also verified in
a batch; ring signatures cannot be.

Times are CPU seconds, of single operations the best of several. The reference is the crate `bulletproofs`, built and
timed in the same run (crypto/native/reference; the first time takes a minute): proving beside its proving, verifying
and each proof of a batch beside its single verification. Where cargo or the crates are not to be had, there is no
reference. What else libsodium does stands beside the kernel. The crate also judges proofs that we make over its own
transcript, true ones and one that is not.
"""

import argparse
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from pqcrypto.sign import falcon_padded_1024 as pqclean

from crypto import falcon, ring, sigma
from crypto.constraints import ConstraintSystem, Opening
from crypto.elgamal import new_account
from crypto.errors import Reason, Refused
from crypto.falcon_batch import Signed, verify_many
from crypto.gadgets import in_range
from crypto.group import NATIVE, available, load
from crypto.merlin import Merlin
from crypto.pedersen import pedersen
from crypto.r1cs import ConstraintClaim, ConstraintProofs
from crypto.rangeproof import RangeClaim, RangeProof, RangeProofs
from crypto.ristretto import ENCODING_SIZE, ORDER, Group
from crypto.shuffle import Moves, ShuffleClaim, Shuffles, shuffled
from crypto.transcript import FiatShamir, Transcript
from testnet.measure import Figure, figure, json_lines

OUTPUTS: Final = (1, 2, 16)
BATCH: Final = 100
TRIES: Final = 5
PROGRAM: Final = Path(__file__).resolve().parents[2] / "crypto" / "native" / "reference"
LABEL: Final = b"nexus bench"
SIGNATURES: Final = 400
SIGNED: Final = 40
RANGES: Final = 16
RANGE_BITS: Final = 64
SYSTEMS: Final = 5
"""Constraint systems in a batch, at most: one takes as long as twenty range proofs."""
ACCOUNTS: Final = 9
MEMBERS: Final = 11
SYSTEM_BAR: Final = 30.0
"""Milliseconds in which a constraint system of 1,024 multipliers is to be verified in the kernel."""

Result = TypeVar("Result")


class Reference(NamedTuple):
    """Seconds that the crate takes."""

    prove: float
    verify: float


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="nexus bench zk", description=__doc__)
    parser.add_argument("--batch", type=int, default=BATCH)
    batch = parser.parse_args().batch
    known = references()
    if known:
        check_against_reference()
    kernel: dict[str, Figure] = {}
    for name in available():
        for row in figures(name, known, batch):
            kernel.setdefault(_what(row, name), row)
            for line in json_lines([beside(kernel[_what(row, name)], row)]):
                print(line, flush=True)
    for line in json_lines(falcon_figures()):
        print(line)
    return 0


def figures(name: str, known: dict[int, Reference], batch: int) -> Iterator[Figure]:
    """Yield what range and sigma proofs cost on one backend."""
    group = load(name)
    proofs = RangeProofs(group)
    for outputs in OUTPUTS:
        about = known.get(outputs)
        what, note = f"{name} range proof x{outputs}", "" if about else "the crate could not be built here"
        made, proving = best(partial(prove, proofs, fresh, outputs))
        yield figure(f"{what} prove", 1000 * proving, "ms", about and 1000 * about.prove, note)
        _, alone = best(partial(verify, proofs, made, 1))
        reference = about and 1000 * about.verify
        yield figure(f"{what} verify", 1000 * alone, "ms", reference, note)
        _, together = best(partial(verify, proofs, made, batch), 2)
        yield figure(f"{what} verify, each of {batch}", 1000 * together / batch, "ms", reference, note)
    alone, together = schnorr_seconds(group, batch)
    yield figure(f"{name} Schnorr verify, each of {batch}", 1e6 * together, "us", 1e6 * alone, "reference: one alone")
    yield from system_figures(group, min(batch, SYSTEMS))
    yield from shuffle_figures(group, batch)
    yield from ring_figures(group)


def system_figures(group: Group, batch: int) -> Iterator[Figure]:
    """Yield what a constraint system of many ranges costs; building it, as a verifier has to, counts in."""
    multipliers = RANGES * RANGE_BITS
    proofs = ConstraintProofs(group, multipliers)
    openings = [Opening(secrets.randbits(RANGE_BITS), secrets.randbelow(ORDER)) for _ in range(RANGES)]
    commitments = [proofs.pedersen.commit(*opening).encode() for opening in openings]

    def system(proving: bool) -> ConstraintSystem:
        made = ConstraintSystem(proving=proving)
        for commitment, opening in zip(commitments, openings, strict=True):
            in_range(made, made.commit(commitment, opening if proving else None), RANGE_BITS)
        return made

    def check(times: int) -> None:
        proofs.verify_batch([ConstraintClaim(fresh(), system(False), proof) for _ in range(times)], entropy())

    what = f"{group.name} R1CS, {multipliers} multipliers"
    proof, proving = best(lambda: proofs.prove(fresh(), system(True), entropy()), 1)
    yield figure(f"{what} prove", 1000 * proving, "ms", note=f"{len(proof)} bytes")
    _, alone = best(partial(check, 1), 3)
    bar = SYSTEM_BAR if group.name == NATIVE else None
    yield figure(f"{what} verify", 1000 * alone, "ms", bar, "reference: the bar" if bar else "")
    _, together = best(partial(check, batch), 1)
    yield figure(f"{what} verify, each of {batch}", 1000 * together / batch, "ms", 1000 * alone, "reference: one alone")


def shuffle_figures(group: Group, batch: int) -> Iterator[Figure]:
    """Yield what a shuffle of accounts costs, those that go into a transfer."""
    proofs, order = Shuffles(group, ACCOUNTS), list(range(ACCOUNTS))
    secrets.SystemRandom().shuffle(order)
    inputs = [new_account(group, scalar(), scalar(), place, scalar()) for place in range(ACCOUNTS)]
    moves = Moves(order, [scalar() for _ in order], [scalar() for _ in order])
    outputs = shuffled(group, inputs, moves)
    before, after = ([account.encode() for account in side] for side in (inputs, outputs))

    def check(times: int) -> None:
        proofs.verify_batch([ShuffleClaim(fresh(), before, after, proof) for _ in range(times)], entropy())

    what = f"{group.name} shuffle of {ACCOUNTS}"
    proof, proving = best(lambda: proofs.prove(fresh(), inputs, outputs, moves, entropy()))
    yield figure(f"{what} prove", 1000 * proving, "ms", note=f"{len(proof)} bytes")
    _, alone = best(partial(check, 1))
    yield figure(f"{what} verify", 1000 * alone, "ms")
    _, together = best(partial(check, batch), 2)
    yield figure(f"{what} verify, each of {batch}", 1000 * together / batch, "ms", 1000 * alone, "reference: one alone")


def ring_figures(group: Group) -> Iterator[Figure]:
    """Yield what a ring signature costs."""
    bases, owners = pedersen(group), [scalar() for _ in range(MEMBERS)]
    keys = tuple(ring.public_key(group, owner) for owner in owners)
    commitments = tuple(bases.commit(place, owner).encode() for place, owner in enumerate(owners))
    place, blinding = secrets.randbelow(MEMBERS), scalar()
    coins = ring.Ring(keys, commitments, bases.commit(place, blinding).encode(), ring.key_image(group, owners[place]))
    spend = ring.Spend(place, owners[place], owners[place] - blinding)
    what = f"{group.name} ring of {MEMBERS}"
    signature, signing = best(lambda: ring.sign(group, fresh(), coins, spend, entropy()))
    yield figure(f"{what} sign", 1000 * signing, "ms", note=f"{len(signature)} bytes")
    _, verifying = best(lambda: ring.verify(group, ring.RingClaim(fresh(), coins, signature)))
    yield figure(f"{what} verify", 1000 * verifying, "ms")


def beside(kernel: Figure, row: Figure) -> Figure:
    """Return a row of libsodium with the kernel's as its reference, if it has no other; any other row as it is."""
    if kernel is row or row.reference is not None:
        return row
    note = "; ".join(part for part in (row.note, "reference: the kernel") if part)
    return figure(row.name, row.value, row.unit, kernel.value, note)


def falcon_figures() -> Iterator[Figure]:
    """Yield what a Falcon-1024 signature and its verification cost in the kernel, beside PQClean's."""
    if NATIVE not in available():
        return
    public, secret = falcon.generate()
    signed = [Signed(public, b"message", falcon.sign(secret, b"message"))] * SIGNATURES
    _, seconds = best(lambda: verify_many(signed))
    _, plain = best(lambda: [falcon.verify(*one) for one in signed])
    one, reference = 1e6 * seconds / SIGNATURES, 1e6 * plain / SIGNATURES
    yield figure("native Falcon-1024 verify", one, "us", reference, "one thread, one key; reference: PQClean")
    _, seconds = best(lambda: [falcon.sign(secret, b"message") for _ in range(SIGNED)])
    _, plain = best(lambda: [pqclean.sign(secret, b"message") for _ in range(SIGNED)])
    one, reference = 1e6 * seconds / SIGNED, 1e6 * plain / SIGNED
    yield figure("native Falcon-1024 sign", one, "us", reference, "reference: PQClean")


def schnorr_seconds(group: Group, batch: int) -> tuple[float, float]:
    """Return how long a Schnorr proof takes to verify alone, and each in a batch."""
    base = pedersen(group).blinding_base
    secret = secrets.randbelow(ORDER)
    statement = sigma.schnorr(base, group.multiply(secret, base))
    proof = sigma.prove(group, fresh(), statement, [secret], entropy())

    def claims(count: int) -> list[sigma.Claim]:
        return [sigma.Claim(fresh(), statement, proof) for _ in range(count)]

    _, alone = best(lambda: sigma.verify(group, claims(1)[0]))
    _, together = best(lambda: sigma.verify_batch(group, claims(batch), entropy()))
    return alone, together / batch


def references() -> dict[int, Reference]:
    """Return outputs -> seconds of the crate, nothing where it cannot be built."""
    if shutil.which("cargo") is None or not PROGRAM.exists():
        return {}
    try:
        lines = run_reference("time", *map(str, OUTPUTS)).splitlines()
    except subprocess.CalledProcessError:
        return {}
    parts = [line.split() for line in lines]
    return {int(outputs): Reference(float(proving), float(verifying)) for outputs, proving, verifying in parts}


def check_against_reference() -> None:
    """Let the crate judge proofs of every backend, and one whose commitment is another's.

    Raises:
        Refused: UNPROVEN if its opinion differs from ours.
    """
    lines: list[str] = []
    for name in available():
        proofs = RangeProofs(load(name))
        made = [prove(proofs, partial(Merlin, LABEL), outputs) for outputs in OUTPUTS]
        spoilt = made[0]._replace(commitments=made[1].commitments[:1])
        for one in (*made, spoilt):
            lines.append(" ".join(part.hex() for part in (one.proof, *one.commitments)))
    told = run_reference("verify", LABEL.decode(), given="\n".join(lines)).split()
    if told != ["true", "true", "true", "false"] * len(available()):
        raise Refused(Reason.UNPROVEN, f"the crate judges our proofs otherwise: {told}")


def run_reference(*arguments: str, given: str = "") -> str:
    """Return what the reference program prints."""
    command = ["cargo", "run", "--release", "--quiet", "--locked", "--", *arguments]
    return subprocess.run(command, cwd=PROGRAM, input=given, capture_output=True, text=True, check=True).stdout


def prove(proofs: RangeProofs, begin: Callable[[], FiatShamir], outputs: int) -> RangeProof:
    """Return a proof over random values of 64 bits."""
    values = [secrets.randbits(64) for _ in range(outputs)]
    return proofs.prove(begin(), values, [secrets.randbelow(ORDER) for _ in values], entropy())


def verify(proofs: RangeProofs, made: RangeProof, times: int) -> None:
    """Verify a proof so many times in one batch."""
    claims = [RangeClaim(fresh(), made.commitments, made.proof) for _ in range(times)]
    proofs.verify_batch(claims, entropy())


def scalar() -> int:
    """Return a random scalar, not zero."""
    return 1 + secrets.randbelow(ORDER - 1)


def fresh() -> Transcript:
    """Return a transcript for one proof."""
    return Transcript(LABEL, bytes(32))


def _what(row: Figure, backend: str) -> str:
    return row.name.removeprefix(backend)


def entropy() -> bytes:
    """Return fresh randomness."""
    return secrets.token_bytes(ENCODING_SIZE)


def best(run: Callable[[], Result], tries: int = TRIES) -> tuple[Result, float]:
    """Return what it gives, and the CPU seconds of the fastest of several runs."""
    taken: list[float] = []
    results: list[Result] = []
    for _ in range(tries):
        begun = time.process_time()
        results.append(run())
        taken.append(time.process_time() - begun)
    return results[-1], min(taken)


if __name__ == "__main__":
    sys.exit(main())
