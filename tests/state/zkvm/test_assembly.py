"""Programs as text and as bytes are the same thing; what is neither is refused with its line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from state.zkvm.assembly import assemble_program, disassemble_program, parameters_of
from state.zkvm.instructions import (
    MAX_PROGRAM,
    MAX_PUSH,
    MAX_RANGE,
    Form,
    Instruction,
    Opcode,
    decode_program,
    encode_program,
)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    opcode = draw(st.sampled_from(Opcode))
    if opcode.form is Form.BYTES:
        return Instruction(opcode, data=draw(st.binary(max_size=40)))
    if opcode.form is Form.NUMBER:
        low, high = (1, MAX_RANGE) if opcode is Opcode.RANGE else (0, 255)
        return Instruction(opcode, draw(st.integers(low, high)))
    return Instruction(opcode)


@settings(max_examples=150)
@given(st.lists(instructions(), max_size=60))
def test_text_bytes_and_instructions_are_the_same(program: list[Instruction]) -> None:
    raw = encode_program(program)
    assert list(decode_program(raw)) == program
    assert assemble_program(disassemble_program(raw), {}) == raw


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_decode_to_what_encodes_to_them_or_are_refused(raw: bytes) -> None:
    try:
        found = decode_program(raw)
    except Refused as refused:
        assert refused.reason is Reason.BAD_PROGRAM
    else:
        assert encode_program(found) == raw


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_any_text_assembles_or_is_refused(source: str) -> None:
    try:
        decode_program(assemble_program(source, {"x": b"\1"}))
    except Refused as refused:
        assert refused.reason is Reason.BAD_PROGRAM


@pytest.mark.parametrize(
    "line",
    [
        "jump 3", "push", "push 0x1", "push 0xzz", "push seven", "push $missing", "push 1 2", "dup", "dup x", "dup 256",
        "dup -1", "range 0", "range 129", "add 1", 'push "open', "drop drop",
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(line: str) -> None:
    with pytest.raises(Refused) as caught:
        assemble_program(f"# a comment\n\npush 1\n{line}\n", {})
    assert caught.value.reason is Reason.BAD_PROGRAM
    if line not in ("dup 256", "range 0", "range 129"):
        assert "line 4" in caught.value.detail


@pytest.mark.parametrize(
    ("word", "content"),
    [
        ("0x", b""), ("0x1f00", b"\x1f\0"), ("0", b"\0"), ("255", b"\xff"), ("256", b"\0\1"),
        ('"two words"', b"two words"), ('"# no comment"', b"# no comment"), ("$x", b"given"),
    ],
)  # fmt: skip
def test_operands_of_push(word: str, content: bytes) -> None:
    [found] = decode_program(assemble_program(f"push {word}  # a comment", {"x": b"given"}))
    assert found == Instruction(Opcode.PUSH, data=content)


def test_parameters_are_found_in_order() -> None:
    assert parameters_of("push $b # $c\ndup $a\npush $b") == ("b", "a")


def test_limits_of_size() -> None:
    encode_program([Instruction(Opcode.PUSH, data=bytes(MAX_PUSH))])
    with pytest.raises(Refused) as caught:
        encode_program([Instruction(Opcode.PUSH, data=bytes(MAX_PUSH + 1))])
    assert caught.value.reason is Reason.BAD_PROGRAM
    whole = bytes([Opcode.ALLOC]) * MAX_PROGRAM
    assert len(decode_program(whole)) == MAX_PROGRAM
    for refuse in (decode_program, disassemble_program):
        with pytest.raises(Refused) as caught:
            refuse(whole + b"\x12")
        assert caught.value.reason is Reason.PROGRAM_TOO_COSTLY


@pytest.mark.parametrize("raw", ["01", "0100", "010002ff", "03", "17", "1700", "1781", "ff", "00"])
def test_bytes_that_are_no_program(raw: str) -> None:
    with pytest.raises(Refused) as caught:
        decode_program(bytes.fromhex(raw))
    assert caught.value.reason is Reason.BAD_PROGRAM
