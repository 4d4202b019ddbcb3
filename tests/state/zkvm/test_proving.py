"""Proofs that a program ran: both backends make and take the same, and no mutant of anything passes."""

import random

import pytest

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.r1cs import ConstraintClaim, ConstraintProofs
from crypto.transcript import Transcript
from state.zkvm.machine import MAX_MULTIPLIERS, run_program
from state.zkvm.proving import PROTOCOL, ProgramClaim, check_proof_size, program_faults, prove_program
from tests.state.zkvm.scenes import HIDDEN, MEMO, SEVEN, secrets, sight, text

CONTEXT, ENTROPY = b"c" * 32, b"e" * 32
LINES = ("inputmemo 0", "roll 1", "drop", "outputcoin 0", "roll 2", "drop", "roll 1", "drop", "roll 1", "neg", "add",
         "range 16", "drop")
PROGRAM = text(*LINES)
SEEN = sight([MEMO], [HIDDEN])


def claim(program: bytes = PROGRAM, context: bytes = CONTEXT, proof: bytes | None = None) -> ProgramClaim:
    made = prove_program(PROGRAM, SEEN, secrets(), CONTEXT, ENTROPY)
    return ProgramClaim(context, run_program(program, SEEN).system, made if proof is None else proof)


def test_a_proof_holds_beside_others() -> None:
    assert program_faults([claim(), claim(), claim()], ENTROPY) == ()


def test_the_false_one_among_many_is_found() -> None:
    faults = program_faults([claim(), claim(context=b"d" * 32), claim()], ENTROPY)
    assert [(fault.place, fault.refused.reason) for fault in faults] == [(1, Reason.UNPROVEN)]


def test_both_backends_make_the_same_and_take_it() -> None:
    provers = [ConstraintProofs(load(name), MAX_MULTIPLIERS) for name in available()]
    known = run_program(PROGRAM, SEEN, secrets()).system
    made = [one.prove(Transcript(PROTOCOL, CONTEXT), known, ENTROPY) for one in provers]
    assert len(set(made)) == 1
    assert made[0] == prove_program(PROGRAM, SEEN, secrets(), CONTEXT, ENTROPY)
    for one in provers:
        seen = run_program(PROGRAM, SEEN).system
        one.verify_batch([ConstraintClaim(Transcript(PROTOCOL, CONTEXT), seen, made[0])], ENTROPY)
        with pytest.raises(Refused) as caught:
            one.verify_batch([ConstraintClaim(Transcript(PROTOCOL, bytes(32)), seen, made[0])], ENTROPY)
        assert caught.value.reason is Reason.UNPROVEN


def test_nothing_to_prove_has_no_proof() -> None:
    program = text("push $alice", "signed", "verify")
    assert prove_program(program, SEEN, secrets(), CONTEXT, ENTROPY) == b""
    system = run_program(program, SEEN).system
    check_proof_size(system, b"", needed=False)
    for proof, needed, reason in (
        (b"", True, Reason.MISSING_PROOF), (b"x", False, Reason.SURPLUS_PROOF), (b"x", True, Reason.MALFORMED)
    ):
        with pytest.raises(Refused) as caught:
            check_proof_size(run_program(PROGRAM, SEEN).system, proof, needed=needed)
        assert caught.value.reason is reason


def test_what_does_not_hold_is_not_proven() -> None:
    with pytest.raises(Refused) as caught:
        prove_program(PROGRAM, sight([HIDDEN, MEMO], [MEMO]), secrets(), CONTEXT, ENTROPY)
    assert caught.value.reason is Reason.SCRIPT_FAILED
    smaller = text("inputmemo 0", "push 8", "expr", "neg", "add", "range 16", *["drop"] * 5)
    with pytest.raises(Refused) as caught:
        prove_program(smaller, SEEN, secrets(), CONTEXT, ENTROPY)
    assert caught.value.reason is Reason.UNPROVEN


def test_an_opening_that_does_not_open() -> None:
    known = secrets(openings={SEVEN: Opening(8, 11)})
    with pytest.raises(Refused) as caught:
        prove_program(text("push $seven", "commit", "range 8", "drop"), SEEN, known, CONTEXT, ENTROPY)
    assert caught.value.reason is Reason.UNPROVEN


def test_no_mutant_of_a_proof_passes() -> None:
    good, chance = claim().proof, random.Random(5)
    for _ in range(200):
        mutant = bytearray(good)
        if chance.random() < 0.5:
            mutant[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        else:  # two of its 32-byte parts change places: it still decodes
            one, other = chance.sample(range(len(good) // 32), 2)
            mutant[32 * one : 32 * one + 32], mutant[32 * other : 32 * other + 32] = (
                good[32 * other : 32 * other + 32], good[32 * one : 32 * one + 32]
            )
        if bytes(mutant) == good:
            continue
        [fault] = program_faults([claim(proof=bytes(mutant))], ENTROPY)
        assert fault.refused.reason in (Reason.UNPROVEN, Reason.BAD_POINT, Reason.BAD_SCALAR)


@pytest.mark.parametrize(
    "lines",
    [
        (*LINES[:-2], "range 17", "drop"), (*LINES[:-2], "range 15", "drop"), (*LINES[:-3], "neg", "add", *LINES[-2:]),
        (*LINES, "alloc", "drop"), (*LINES, "push $seven", "commit", "push 7", "expr", "eq", "verify"),
    ],
)  # fmt: skip
def test_a_proof_of_another_program_does_not_hold(lines: tuple[str, ...]) -> None:
    try:
        changed = claim(text(*lines))
    except Refused as refused:
        assert refused.reason is Reason.BAD_PROGRAM
        return
    [fault] = program_faults([changed], ENTROPY)
    assert fault.refused.reason in (Reason.UNPROVEN, Reason.MALFORMED)


def test_a_proof_over_other_amounts_does_not_hold() -> None:
    swapped = HIDDEN.__class__(HIDDEN.asset, HIDDEN.owner, SEVEN, HIDDEN.note)
    system = run_program(PROGRAM, sight([MEMO], [swapped])).system
    [fault] = program_faults([ProgramClaim(CONTEXT, system, claim().proof)], ENTROPY)
    assert fault.refused.reason in (Reason.UNPROVEN, Reason.MALFORMED)
