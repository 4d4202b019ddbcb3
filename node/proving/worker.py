"""The process that makes one proof: `python -m node.proving.worker`, a JSON job on stdin, JSON lines on stdout.

A damaged plot or a wrong size can end the library that reads it, and with it the process; so nothing of this runs in
the node. Besides its one result line the process may print progress lines, and chiapos prints its own chatter.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import chiavdf
import msgspec
from chiapos import DiskPlotter, DiskProver

from crypto.errors import Reason, Refused
from crypto.hashing import Label, hasher
from crypto.space import check_space, space_challenge
from crypto.vdf import FORM_SIZE, GENERATOR
from crypto.work import meets

LOW_PRIORITY: Final = 15
"""Added to the process's niceness: consensus goes first."""
LARGE_K: Final = 25
"""From this size on a plot is sorted in more and larger parts."""
EVERY: Final = 1 << 16
"""Tries of a hashcash between two lines about its progress."""


class PlotJob(msgspec.Struct, frozen=True, tag="plot"):
    """Make a plot. `plot` is its id; the file appears under its name when it is complete."""

    folder: str
    name: str
    k: int
    plot: bytes


class AnswerJob(msgspec.Struct, frozen=True, tag="answer"):
    """Answer an epoch's challenges from a plot file, until `needed` proofs are found."""

    path: str
    k: int
    plot: bytes
    beacon: bytes
    challenges: int
    needed: int


class WorkJob(msgspec.Struct, frozen=True, tag="work"):
    """Find a nonce: H(label, prefix || nonce as 8 bytes) with that many leading zero bits."""

    label: str
    prefix: bytes
    bits: int


class TimeJob(msgspec.Struct, frozen=True, tag="time"):
    """Evaluate the delay function."""

    challenge: bytes
    bits: int
    iterations: int


class Result(msgspec.Struct, frozen=True, tag="result", kw_only=True):
    """What a job gave: proofs by number of their challenge, or a nonce, or the output and its proof."""

    proofs: tuple[tuple[int, bytes], ...] = ()
    nonce: int = 0
    output: bytes = b""
    proof: bytes = b""


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """Why a job gave nothing: a Reason and a sentence."""

    reason: str
    detail: str


class Tries(msgspec.Struct, frozen=True, tag="tries"):
    """How far a hashcash is."""

    tries: int


Job = PlotJob | AnswerJob | WorkJob | TimeJob
Line = Result | Failure | Tries


def make_plot(job: PlotJob) -> Result:
    """Plot. Raises Refused(BAD_PLOT)."""
    buckets, stripe = (32, 2048) if job.k < LARGE_K else (128, 65536)
    memory = 256 if job.k < LARGE_K else 2048
    folder = job.folder
    try:
        DiskPlotter().create_plot_disk(
            folder, folder, folder, job.name, job.k, b"", job.plot, memory, buckets, stripe, 1, True
        )
    except (RuntimeError, ValueError) as error:
        raise Refused(Reason.BAD_PLOT, f"the plot cannot be made: {error}") from None
    return Result()


def answer(job: AnswerJob) -> Result:
    """Look the challenges up. Raises Refused(BAD_PLOT)."""
    path = Path(job.path)
    try:
        prover = DiskProver(job.path)
        found = prover.get_id(), prover.get_size()
    except (RuntimeError, ValueError) as error:
        raise Refused(Reason.BAD_PLOT, f"{path.name} is no plot: {error}") from None
    if found != (job.plot, job.k):
        raise Refused(Reason.BAD_PLOT, f"{path.name} holds another plot than its name says")
    proofs: list[tuple[int, bytes]] = []
    broken = 0
    for number in range(job.challenges):
        challenge = space_challenge(job.beacon, job.plot, number)
        try:
            if prover.get_qualities_for_challenge(challenge):
                proof = prover.get_full_proof(challenge, 0)
                check_space(job.plot, job.k, challenge, proof)
                proofs.append((number, proof))
        except (RuntimeError, ValueError, Refused):
            broken += 1
        if len(proofs) == job.needed:
            return Result(proofs=tuple(proofs))
    raise Refused(
        Reason.BAD_PLOT, f"{path.name} gives {len(proofs)} proofs of {job.needed}, and {broken} that do not hold"
    )


def search(job: WorkJob, tell: Callable[[Line], None]) -> Result:
    """Try nonces from 0 on."""
    label = hasher(Label[job.label])
    nonce = 0
    while not meets(label(job.prefix + nonce.to_bytes(8, "big")), job.bits):
        nonce += 1
        if nonce % EVERY == 0:
            tell(Tries(nonce))
    return Result(nonce=nonce)


def evaluate(job: TimeJob) -> Result:
    """Square. Raises Refused(INTERNAL) if the library gives up."""
    try:
        both = chiavdf.prove(job.challenge, GENERATOR, job.bits, job.iterations, "")
    except (RuntimeError, ValueError) as error:
        raise Refused(Reason.INTERNAL, f"the delay function cannot be evaluated: {error}") from None
    if len(both) != 2 * FORM_SIZE:
        raise Refused(Reason.INTERNAL, "the delay function was interrupted")
    return Result(output=both[:FORM_SIZE], proof=both[FORM_SIZE:])


def work_on(job: Job, tell: Callable[[Line], None]) -> Line:
    """Return what a job gives."""
    try:
        match job:
            case PlotJob():
                return make_plot(job)
            case AnswerJob():
                return answer(job)
            case WorkJob():
                return search(job, tell)
            case TimeJob():
                return evaluate(job)
    except Refused as refused:
        return Failure(refused.reason.value, refused.detail)


def tell(line: Line) -> None:
    """Write one line for the parent."""
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def end_with_parent() -> None:
    """End this process when its parent closes the pipe, however it died. (The plotter lets no thread run: it ends by
    itself, and what it leaves is a plot.)
    """
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Read one job, a line, do it, say what came out."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.nice(LOW_PRIORITY)
    tell(work_on(job, tell))


if __name__ == "__main__":
    main()
