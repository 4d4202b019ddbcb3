"""The stack machine: what each instruction gives, what it cannot take, and where its limits are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.ristretto import ORDER
from state.zkvm.instructions import MAX_PUSH, Form, Instruction, Opcode, encode_program
from state.zkvm.machine import MAX_MULTIPLIERS, MAX_WORK, run_program
from tests.state.zkvm.scenes import ALICE, MEMO, NINE, SCRIPT, SEVEN, reason, run, secrets, sight, text

DATA, NUMBER, CONDITION = "push 1", "alloc", "push 1\npush 1\neq"
KNOWN, HELD = "push 3\nexpr", "push $seven\ncommit"
TAKES = {
    Opcode.SPLIT: (DATA,), Opcode.HASH: (DATA,), Opcode.JOIN: (DATA, DATA), Opcode.EXPR: (DATA,),
    Opcode.NEG: (NUMBER,), Opcode.ADD: (NUMBER, NUMBER), Opcode.MUL: (NUMBER, NUMBER), Opcode.RANGE: (NUMBER,),
    Opcode.AND: (CONDITION, CONDITION), Opcode.OR: (CONDITION, CONDITION), Opcode.NOT: (CONDITION,),
    Opcode.VERIFY: (CONDITION,), Opcode.SIGNED: (DATA,),
}  # fmt: skip
"""What each instruction takes from the stack; COMMIT, which wants 32 bytes, and EQ, which takes pairs, are below."""


def line_of(opcode: Opcode) -> str:
    return f"{opcode.name.lower()} 1" if opcode.form is Form.NUMBER else opcode.name.lower()


@pytest.mark.parametrize("opcode", TAKES)
def test_wrong_types_and_empty_stacks(opcode: Opcode) -> None:
    kinds, line = TAKES[opcode], line_of(opcode)
    assert reason(*kinds, line, *["drop"] * (2 if opcode is Opcode.SPLIT else 0)) is None or opcode in (
        Opcode.AND, Opcode.OR, Opcode.NOT, Opcode.SIGNED,  # a condition is left behind
    )
    for place, kind in enumerate(kinds):
        assert reason(*kinds[:place], line) is Reason.BAD_PROGRAM
        for other in {DATA, NUMBER, CONDITION} - {kind}:
            assert reason(*kinds[:place], other, *kinds[place + 1 :], line) is Reason.BAD_PROGRAM


@pytest.mark.parametrize(
    "lines",
    [
        ["eq"], [DATA, "eq"], [DATA, NUMBER, "eq"], [NUMBER, DATA, "eq"], [CONDITION, CONDITION, "eq"],
        [CONDITION, NUMBER, "eq"], [NUMBER, "commit"], [CONDITION, "commit"], ["commit"], ["drop"], ["dup 0"],
        ["roll 0"], [DATA, "dup 1"], [DATA, "roll 1"], [CONDITION],
    ],
)  # fmt: skip
def test_more_that_no_stack_allows(lines: list[str]) -> None:
    assert reason(*lines) is Reason.BAD_PROGRAM


@pytest.mark.parametrize(
    "lines",
    [
        ["push 0x0102", "split 3"], ["push 0x", "expr"], ["push 0x" + "ff" * 32, "expr"],
        ["push 0x" + "00" * 33, "expr"], ["push 0x01", "commit"], ["push 1", "push 2", "eq", "verify"],
        ["push 4", "expr", "range 2"],
        ["push 3", "expr", "neg", "range 128"], ["inputcoin 0"], ["inputcoin 9"], ["inputmemo 1"], ["inputmemo 4"],
        ["inputstate 0"], ["outputcoin 1"], ["outputcoin 3"], ["outputmemo 0"], ["outputstate 1"],
        ["push $bob", "signed", "verify"], ["push $alice", "signed", "not", "verify"],
    ],
)  # fmt: skip
def test_what_everybody_sees_to_fail(lines: list[str]) -> None:
    assert reason(*lines) is Reason.SCRIPT_FAILED


@pytest.mark.parametrize(
    "lines",
    [
        ["push 0x010203", "split 1", "push 0x01", "eq", "verify", "push 0x0203", "eq", "verify"],
        ["push 0x01", "push 0x02", "join", "push 0x0102", "eq", "verify"],
        [f"push 0x{b'x'.hex()}", "hash", f"push 0x{digest(Label.SCRIPT_HASH, b'x').hex()}", "eq", "verify"],
        ["push 1", "push 2", "push 3", "roll 2", "push 1", "eq", "verify", "dup 1", "push 2", "eq", "verify"],
        ["push 3", "expr", "push 4", "expr", "mul", "push 12", "expr", "eq", "verify"],
        ["push 3", "expr", "push 4", "expr", "neg", "add", "push 1", "expr", "neg", "eq", "verify"],
        ["mintime", "push 10", "expr", "eq", "verify", "maxtime", "push 20", "expr", "eq", "verify"],
        ["inputs", "push 5", "expr", "eq", "verify", "outputs", "push 3", "expr", "eq", "verify"],
        ["push $alice", "signed", "verify", "push $bob", "signed", "not", "verify"],
        ["push $alice", "signed", "push $bob", "signed", "or", "verify"],
        ["push $alice", "signed", "dup 0", "and", "verify"],
        ["push 0x" + "00" * 32, "commit", "push 0", "expr", "eq", "verify"],
        ["push 3", "expr", "range 2", "drop"],
        ["inputcoin 2", "push 5", "expr", "eq", "verify", "push 0x", "eq", "verify", "push $alice", "eq", "verify"],
    ],
)  # fmt: skip
def test_what_everybody_sees_to_hold_needs_no_proof(lines: list[str]) -> None:
    assert not run(*lines).needs_proof


def test_what_a_program_sees_of_outputs() -> None:
    seen = run(
        "inputmemo 0", "drop", 'push "memo"', "eq", "verify", "push $seven", "eq", "verify", "push 0x", "eq", "verify",
        "push $alice", "eq", "verify", "inputstate 1", "drop", "push 2", "expr", "eq", "verify", 'push "two"', "eq",
        "verify", 'push "one"', "eq", "verify", "push 3", "expr", "eq", "verify",
    )  # fmt: skip
    assert not seen.system.constraints


def test_arguments_lie_on_the_stack_the_last_on_top() -> None:
    seen = sight(data=[b"\1", b"\2"])
    assert reason("push 2", "eq", "verify", "push 1", "eq", "verify", seen=seen) is None


@pytest.mark.parametrize(
    ("lines", "multipliers", "constraints"),
    [
        ([HELD, HELD, "eq", "verify"], 0, 0),  # one variable, so everybody sees that it equals itself
        ([HELD, "push $nine", "commit", "eq", "verify"], 0, 1),
        ([HELD, "push $nine", "commit", "mul", "drop"], 1, None),
        ([HELD, KNOWN, "mul", "drop"], 0, 0),
        ([HELD, "range 64", "drop"], 64, None),
        (["alloc", "drop"], 1, None),
        ([HELD, KNOWN, "eq", "not", "verify"], 2, None),
        ([HELD, KNOWN, "eq", "push $nine", "commit", KNOWN, "eq", "or", "verify"], 5, None),
    ],
)
def test_what_nobody_sees_is_constrained(lines: list[str], multipliers: int, constraints: int | None) -> None:
    ran = run(*lines)
    assert ran.system.multipliers == multipliers
    assert constraints is None or len(ran.system.constraints) == constraints


@pytest.mark.parametrize(
    ("lines", "allocated", "holds"),
    [
        ([HELD, "push 7", "expr", "eq", "verify"], (), True),
        ([HELD, "push 8", "expr", "eq", "verify"], (), False),
        ([HELD, "push 8", "expr", "eq", "not", "verify"], (), True),
        ([HELD, "push 7", "expr", "eq", "not", "verify"], (), False),
        ([HELD, "range 3", "drop"], (), True),
        ([HELD, "range 2", "drop"], (), False),
        (["push $nine", "commit", HELD, "neg", "add", "range 2", "drop"], (), True),
        ([HELD, "push $nine", "commit", "neg", "add", "range 64", "drop"], (), False),
        ([HELD, "push 1", "expr", "eq", HELD, "push 7", "expr", "eq", "or", "verify"], (), True),
        ([HELD, "push 1", "expr", "eq", HELD, "push 7", "expr", "eq", "and", "verify"], (), False),
        (["alloc", "alloc", "mul", HELD, "eq", "verify"], (7, 1), True),
        (["alloc", "alloc", "mul", HELD, "eq", "verify"], (7, 2), False),
    ],
)
def test_the_prover_knows_whether_it_holds(lines: list[str], allocated: tuple[int, ...], holds: bool) -> None:
    ran = run(*lines, known=secrets(*allocated))
    assert (ran.system.failing() is None) is holds
    assert run(*lines).system.digest() == ran.system.digest()


def test_a_prover_who_does_not_know() -> None:
    assert reason(HELD, "drop", known=secrets(openings={})) is Reason.BAD_ARGUMENT
    assert reason("alloc", "drop", known=secrets()) is Reason.BAD_ARGUMENT


def test_multipliers_have_a_limit() -> None:
    fits = [HELD, *["range 128"] * (MAX_MULTIPLIERS // 128), "drop"]
    assert run(*fits).system.multipliers == MAX_MULTIPLIERS
    assert reason(*fits[:-1], "range 1", "drop") is Reason.PROGRAM_TOO_COSTLY
    assert reason(*["alloc"] * (MAX_MULTIPLIERS + 1)) is Reason.PROGRAM_TOO_COSTLY


def test_work_has_a_limit() -> None:
    wide = ["alloc", *["alloc", "add"] * 300]
    assert reason(*wide, *["dup 0", "neg", "drop"] * 60) is None
    assert reason(*wide, *["dup 0", "neg", "drop"] * 400) is Reason.PROGRAM_TOO_COSTLY
    long = [f"push 0x{bytes(MAX_PUSH).hex()}", *["dup 0", "hash", "drop"] * (MAX_WORK // (MAX_PUSH // 32) + 1)]
    assert reason(*long) is Reason.PROGRAM_TOO_COSTLY
    assert reason(*[f"push 0x{bytes(MAX_PUSH).hex()}", "push 1", "join"]) is Reason.SCRIPT_FAILED


def test_a_number_is_taken_modulo_nothing() -> None:
    below = (ORDER - 1).to_bytes(32, "little").hex()
    assert reason(f"push 0x{below}", "expr", "push 1", "expr", "neg", "eq", "verify") is None
    assert reason(f"push 0x{ORDER.to_bytes(32, 'little').hex()}", "expr") is Reason.SCRIPT_FAILED


REASONS = {Reason.BAD_PROGRAM, Reason.PROGRAM_TOO_COSTLY, Reason.SCRIPT_FAILED, Reason.BAD_POINT}
ANY = st.sampled_from(Opcode)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=120), st.lists(ANY, max_size=40)), st.lists(st.binary(max_size=40), max_size=12))
def test_hostile_programs_are_refused_by_name(program: bytes | list[Opcode], data: list[bytes]) -> None:
    if isinstance(program, list):
        given_data = [SEVEN, NINE, ALICE, SCRIPT]
        program = encode_program([
            Instruction(one, 2, b"") if one.form is Form.NUMBER
            else Instruction(one, 0, given_data[place % 4] if one.form is Form.BYTES else b"")
            for place, one in enumerate(program)
        ])
    try:
        run_program(program, sight(data=data))
    except Refused as refused:
        assert refused.reason in REASONS


def test_a_commitment_that_is_no_point_is_found_by_whoever_verifies() -> None:
    ran = run_program(text(f"push 0x{'ff' * 32}", "commit", "drop"), sight([MEMO]))
    assert not ran.system.multipliers
