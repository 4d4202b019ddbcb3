"""The instructions of the ZkVM: one opcode of a byte each, and for some a small number or bytes behind it.

A program is a straight line: no jumps, no loops. What it costs is seen before it runs, and each instruction runs once.

    plain     opcode
    number    opcode, u8
    bytes     opcode, u16 big-endian length, bytes
"""

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused

MAX_PROGRAM: Final = 8192
"""Bytes of one program."""
MAX_PUSH: Final = 4096
"""Bytes that one instruction pushes."""
MAX_RANGE: Final = 128
"""Bits of a range: as many as the product of two amounts has."""
_LENGTH_SIZE: Final = 2


class Form(Enum):
    """What stands behind an opcode."""

    PLAIN = "plain"
    NUMBER = "number"
    BYTES = "bytes"


class Opcode(IntEnum):
    """Every instruction. A line of documentation is: stack before, arrow, stack after; the top is on the right."""

    documentation: str
    form: Form

    def __new__(cls, value: int, form: Form, documentation: str) -> "Opcode":
        """Make a member that carries its form and its documentation."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.form = form
        member.documentation = documentation
        return member

    PUSH = 0x01, Form.BYTES, "-> data: these bytes"
    DROP = 0x02, Form.PLAIN, "x ->"
    DUP = 0x03, Form.NUMBER, "x ... -> x ... x: a copy of the k-th from the top (0 is the top)"
    ROLL = 0x04, Form.NUMBER, "x ... -> ... x: the k-th from the top itself"
    SPLIT = 0x05, Form.NUMBER, "data -> rest first: the first k bytes are on top, what follows them below"
    HASH = 0x06, Form.PLAIN, "data -> data: SHA3-256 with a label"
    JOIN = 0x07, Form.PLAIN, "a b -> ab: both data, one behind the other"
    EXPR = 0x10, Form.PLAIN, "data -> number: 1 to 32 bytes, little-endian, below the order of the group"
    COMMIT = 0x11, Form.PLAIN, "data -> number: what a Pedersen commitment of 32 bytes holds"
    ALLOC = 0x12, Form.PLAIN, "-> number: any, known to the prover alone"
    NEG = 0x13, Form.PLAIN, "a -> -a"
    ADD = 0x14, Form.PLAIN, "a b -> a+b"
    MUL = 0x15, Form.PLAIN, "a b -> a*b"
    EQ = 0x16, Form.PLAIN, "a b -> condition: two numbers, or two data, are equal"
    RANGE = 0x17, Form.NUMBER, "a -> a: fails unless a is in 0 .. 2^k - 1"
    AND = 0x18, Form.PLAIN, "c d -> condition"
    OR = 0x19, Form.PLAIN, "c d -> condition"
    NOT = 0x1A, Form.PLAIN, "c -> condition"
    VERIFY = 0x1B, Form.PLAIN, "c ->: fails unless c holds"
    MINTIME = 0x20, Form.PLAIN, "-> number: the first height at which the transaction may be in a block"
    MAXTIME = 0x21, Form.PLAIN, "-> number: the last one"
    SIGNED = 0x22, Form.PLAIN, "data -> condition: the owner of this address signed the transaction"
    INPUTCOIN = 0x30, Form.NUMBER, "-> owner asset amount: of the k-th input, a coin in clear or hidden"
    INPUTMEMO = 0x31, Form.NUMBER, "-> owner asset commitment data amount: of the k-th input, a Memo of this script"
    INPUTSTATE = 0x32, Form.NUMBER, "-> owner asset nonce variables... count amount: of a State of this script"
    OUTPUTCOIN = 0x33, Form.NUMBER, "-> owner asset amount: of the k-th output, a coin in clear or hidden"
    OUTPUTMEMO = 0x34, Form.NUMBER, "-> owner asset commitment data amount: of the k-th output, a Memo of this script"
    OUTPUTSTATE = 0x35, Form.NUMBER, "-> owner asset nonce variables... count amount: of a State of this script"
    INPUTS = 0x36, Form.PLAIN, "-> number: how many inputs the transaction has"
    OUTPUTS = 0x37, Form.PLAIN, "-> number: how many outputs it has"


class Instruction(NamedTuple):
    """One instruction. `number` counts where the form is NUMBER, `data` where it is BYTES."""

    opcode: Opcode
    number: int = 0
    data: bytes = b""


def encode_program(instructions: Sequence[Instruction]) -> bytes:
    """Return a program's bytes.

    Raises:
        Refused: BAD_PROGRAM for an operand that does not fit; PROGRAM_TOO_COSTLY for too many bytes.
    """
    encoded = b"".join(_encode(instruction) for instruction in instructions)
    _check_size(encoded)
    return encoded


def decode_program(program: bytes) -> tuple[Instruction, ...]:
    """Return a program's instructions.

    Raises:
        Refused: PROGRAM_TOO_COSTLY for too many bytes; BAD_PROGRAM for bytes that are no instructions.
    """
    _check_size(program)
    instructions: list[Instruction] = []
    at = 0
    while at < len(program):
        begin, value = at, program[at]
        opcode = _OPCODES.get(value)
        if opcode is None:
            raise Refused(Reason.BAD_PROGRAM, f"byte {at}: there is no instruction 0x{value:02x}")
        at += 1
        number, data = 0, b""
        if opcode.form is Form.NUMBER:
            number, at = int.from_bytes(program[at : at + 1], "big"), at + 1
        elif opcode.form is Form.BYTES:
            size = int.from_bytes(program[at : at + _LENGTH_SIZE], "big")
            data, at = program[at + _LENGTH_SIZE : at + _LENGTH_SIZE + size], at + _LENGTH_SIZE + size
        if at > len(program):
            raise Refused(Reason.BAD_PROGRAM, f"byte {begin}: the program ends within {opcode.name.lower()}")
        instructions.append(Instruction(opcode, number, data))
        check_operand(instructions[-1])
    return tuple(instructions)


def check_operand(instruction: Instruction) -> None:
    """Check that an operand fits its instruction. Raises Refused(BAD_PROGRAM)."""
    opcode, number, data = instruction
    name = opcode.name.lower()
    if not 0 <= number <= 0xFF:
        raise Refused(Reason.BAD_PROGRAM, f"{name} takes a number from 0 to 255, not {number}")
    if opcode is Opcode.RANGE and not 1 <= number <= MAX_RANGE:
        raise Refused(Reason.BAD_PROGRAM, f"{name} takes 1 to {MAX_RANGE} bits, not {number}")
    if len(data) > MAX_PUSH:
        raise Refused(Reason.BAD_PROGRAM, f"{name} takes at most {MAX_PUSH} bytes, not {len(data)}")


def _encode(instruction: Instruction) -> bytes:
    check_operand(instruction)
    opcode, number, data = instruction
    size = len(data).to_bytes(_LENGTH_SIZE, "big")
    return bytes([opcode]) + {Form.PLAIN: b"", Form.NUMBER: bytes([number]), Form.BYTES: size + data}[opcode.form]


def _check_size(program: bytes) -> None:
    if len(program) > MAX_PROGRAM:
        raise Refused(Reason.PROGRAM_TOO_COSTLY, f"a program has at most {MAX_PROGRAM} bytes, not {len(program)}")


_OPCODES: Final = {opcode.value: opcode for opcode in Opcode}
