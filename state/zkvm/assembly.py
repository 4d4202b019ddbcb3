"""Programs as text: one instruction a line, `#` begins a comment.

    push 0x1f00        bytes
    push 25            a number: as many bytes as it needs, little-endian, for `expr`
    push "escrow"      text, in UTF-8
    push $seller       a parameter, given when the text is compiled
    dup 2              instructions with a number, which may be a $parameter, too
"""

import shlex
from collections.abc import Mapping
from typing import Final

from crypto.errors import Reason, Refused
from state.zkvm.instructions import Form, Instruction, Opcode, decode_program, encode_program

_NAMES: Final = {opcode.name.lower(): opcode for opcode in Opcode}


def assemble_program(text: str, parameters: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a program.

    Args:
        text: the assembler text.
        parameters: what stands for `$name`.

    Raises:
        Refused: BAD_PROGRAM with the line and what would be right; PROGRAM_TOO_COSTLY.
    """
    instructions = []
    for place, line in enumerate(text.splitlines(), start=1):
        try:
            words = shlex.split(line, comments=True, posix=False)
            if words:
                instructions.append(_instruction(words, parameters))
        except ValueError as error:
            raise Refused(Reason.BAD_PROGRAM, f"line {place}: {error}") from None
        except Refused as refused:
            raise Refused(refused.reason, f"line {place}: {refused.detail}") from None
    return encode_program(instructions)


def disassemble_program(program: bytes) -> str:
    """Return the text of a program, one instruction a line. Raises Refused(BAD_PROGRAM, PROGRAM_TOO_COSTLY)."""
    return "".join(f"{_line(instruction)}\n" for instruction in decode_program(program))


def parameters_of(text: str) -> tuple[str, ...]:
    """Return the names of the parameters that a text asks for, in the order in which they appear."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        for word in line.partition("#")[0].split():
            if word.startswith("$"):
                found[word[1:]] = None
    return tuple(found)


def _instruction(words: list[str], parameters: Mapping[str, bytes]) -> Instruction:
    name, operands = words[0].lower(), words[1:]
    opcode = _NAMES.get(name)
    if opcode is None:
        raise Refused(Reason.BAD_PROGRAM, f"there is no instruction {words[0]!r}; there are {', '.join(_NAMES)}")
    wanted = 0 if opcode.form is Form.PLAIN else 1
    if len(operands) != wanted:
        what = {Form.PLAIN: "nothing", Form.NUMBER: "one number", Form.BYTES: "bytes, a number, text or $parameter"}
        raise Refused(Reason.BAD_PROGRAM, f"{name} takes {what[opcode.form]}, not {len(operands)} words")
    if opcode.form is Form.NUMBER:
        if operands[0].startswith("$"):
            return Instruction(opcode, int.from_bytes(_bytes(operands[0], parameters), "little"))
        if not operands[0].isdecimal():
            raise Refused(Reason.BAD_PROGRAM, f"{name} takes one number, not {operands[0]!r}")
        return Instruction(opcode, int(operands[0]))
    return Instruction(opcode, data=_bytes(operands[0], parameters)) if operands else Instruction(opcode)


def _bytes(word: str, parameters: Mapping[str, bytes]) -> bytes:
    """Return what an operand of push stands for."""
    if word.startswith("$"):
        if word[1:] not in parameters:
            given = ", ".join(parameters) or "none is given"
            raise Refused(Reason.BAD_PROGRAM, f"nothing is given for the parameter {word} ({given})")
        return parameters[word[1:]]
    if len(word) > 1 and word[0] == word[-1] == '"':
        return word[1:-1].encode()
    if word.startswith("0x"):
        try:
            return bytes.fromhex(word[2:])
        except ValueError:
            raise Refused(Reason.BAD_PROGRAM, f"{word} is no even number of hexadecimal digits") from None
    if word.isdecimal():
        number = int(word)
        return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "little")
    raise Refused(Reason.BAD_PROGRAM, f'{word!r} is no 0xHEX, no number, no "text" and no $parameter')


def _line(instruction: Instruction) -> str:
    opcode, number, data = instruction
    name = opcode.name.lower()
    if opcode.form is Form.NUMBER:
        return f"{name} {number}"
    return f"{name} 0x{data.hex()}" if opcode.form is Form.BYTES else name
