"""The stack machine. Prover and verifier run the same program over the same transaction; both end with a constraint
system, and a proof shows that its variables exist.

What everybody sees is decided at once: a program fails when data, heights or signers are not as it wants. What nobody
sees becomes a constraint. A program without hidden numbers ends with an empty system, and needs no proof.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from crypto import gadgets
from crypto.constraints import ConstraintSystem, Linear, linear
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.ristretto import ENCODING_SIZE, IDENTITY, ORDER
from state.transaction import Coin, HiddenCoin, Memo, Output, State
from state.zkvm.instructions import MAX_PUSH, Instruction, Opcode, decode_program
from state.zkvm.sight import Secrets, Sight
from state.zkvm.values import Bit, Condition, Data, Known, Number, Value, Zero, as_bit, from_bit, when_zero

MAX_MULTIPLIERS: Final = 1024
"""In one program: 16 ranges of 64 bits. A proof of it takes a verifier some 20 ms with the native kernel."""
MAX_WORK: Final = 1 << 17
"""Terms written, values pushed and 32-byte pieces hashed: 50 ms."""
_PIECE: Final = 32

Kind = TypeVar("Kind", bound=Value)


class Ran(NamedTuple):
    """What running a program gave.

    Attributes:
        system: what is left to prove.
        work: what was done besides, in units of MAX_WORK.
    """

    system: ConstraintSystem
    work: int

    @property
    def needs_proof(self) -> bool:
        """Whether anything is left to prove."""
        return bool(self.system.constraints or self.system.multipliers)


def run_program(program: bytes, sight: Sight, secrets: Secrets | None = None) -> Ran:
    """Run a program.

    Args:
        program: its bytes.
        sight: the transaction.
        secrets: what the prover knows; nothing for a verifier.

    Raises:
        Refused: BAD_PROGRAM for bytes that are none, or an instruction that finds on the stack what it cannot take;
            PROGRAM_TOO_COSTLY; SCRIPT_FAILED if a condition that everybody sees does not hold; BAD_ARGUMENT if the
            prover lacks an opening or a number.
    """
    instructions = decode_program(program)
    machine = _Machine(sight, secrets)
    for place, instruction in enumerate(instructions):
        try:
            machine.step(instruction)
        except Refused as refused:
            name = instruction.opcode.name.lower()
            raise Refused(refused.reason, f"instruction {place} ({name}): {refused.detail}") from None
    machine.end()
    return Ran(machine.system, machine.work)


class _Machine:
    """A program on its way."""

    def __init__(self, sight: Sight, secrets: Secrets | None) -> None:
        self.system = ConstraintSystem(proving=secrets is not None)
        self.work = 0
        self._sight = sight
        self._secrets = secrets
        self._stack: list[Value] = [Data(argument) for argument in sight.data]
        self._committed: dict[bytes, Linear] = {}
        self._plain: dict[Opcode, Callable[[], None]] = {
            Opcode.DROP: self._drop, Opcode.HASH: self._hash, Opcode.JOIN: self._join, Opcode.EXPR: self._expr,
            Opcode.COMMIT: self._commit, Opcode.ALLOC: self._alloc, Opcode.NEG: self._neg, Opcode.ADD: self._add,
            Opcode.MUL: self._mul, Opcode.EQ: self._eq, Opcode.AND: self._and, Opcode.OR: self._or,
            Opcode.NOT: self._not, Opcode.VERIFY: self._verify, Opcode.SIGNED: self._signed,
            Opcode.MINTIME: lambda: self._push_constant(sight.mintime),
            Opcode.MAXTIME: lambda: self._push_constant(sight.maxtime),
            Opcode.INPUTS: lambda: self._push_constant(len(sight.inputs)),
            Opcode.OUTPUTS: lambda: self._push_constant(len(sight.outputs)),
        }
        self._numbered: dict[Opcode, Callable[[int], None]] = {
            Opcode.DUP: self._dup, Opcode.ROLL: self._roll, Opcode.SPLIT: self._split, Opcode.RANGE: self._range,
            Opcode.INPUTCOIN: lambda place: self._coin(self._nth(sight.inputs, place, "input")),
            Opcode.INPUTMEMO: lambda place: self._memo(self._nth(sight.inputs, place, "input")),
            Opcode.INPUTSTATE: lambda place: self._state(self._nth(sight.inputs, place, "input")),
            Opcode.OUTPUTCOIN: lambda place: self._coin(self._nth(sight.outputs, place, "output")),
            Opcode.OUTPUTMEMO: lambda place: self._memo(self._nth(sight.outputs, place, "output")),
            Opcode.OUTPUTSTATE: lambda place: self._state(self._nth(sight.outputs, place, "output")),
        }

    def step(self, instruction: Instruction) -> None:
        """Carry out one instruction."""
        opcode = instruction.opcode
        if opcode is Opcode.PUSH:
            self._push(Data(instruction.data))
        elif opcode in self._plain:
            self._plain[opcode]()
        else:
            self._numbered[opcode](instruction.number)
        if self.system.multipliers > MAX_MULTIPLIERS:
            raise Refused(Reason.PROGRAM_TOO_COSTLY, f"a program has at most {MAX_MULTIPLIERS} multipliers")

    def end(self) -> None:
        """Refuse a program that forgot to verify what it asked: it would bind nobody."""
        if any(isinstance(value, Known | Zero | Bit) for value in self._stack):
            raise Refused(Reason.BAD_PROGRAM, "a condition is left on the stack: verify it, or drop it")

    # ---- the stack

    def _push(self, value: Value) -> None:
        self._charge(1)
        self._stack.append(value)

    def _push_number(self, of: Linear) -> None:
        self._charge(len(of.terms))
        self._push(Number(of))

    def _push_constant(self, number: int) -> None:
        self._push_number(linear(number))

    def _pop(self, kind: type[Kind]) -> Kind:
        return _expect(self._pop_any(), kind)

    def _pop_condition(self) -> Condition:
        value = self._pop_any()
        if isinstance(value, Known | Zero | Bit):
            return value
        raise Refused(Reason.BAD_PROGRAM, f"wants a condition, finds {_named(value)}")

    def _pop_any(self) -> Value:
        if not self._stack:
            raise Refused(Reason.BAD_PROGRAM, "the stack is empty")
        return self._stack.pop()

    def _place(self, depth: int) -> int:
        if depth >= len(self._stack):
            raise Refused(Reason.BAD_PROGRAM, f"the stack holds {len(self._stack)} values, there is no number {depth}")
        return len(self._stack) - 1 - depth

    def _charge(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            raise Refused(Reason.PROGRAM_TOO_COSTLY, f"a program does at most {MAX_WORK} units of work")

    def _drop(self) -> None:
        self._pop_any()

    def _dup(self, depth: int) -> None:
        self._push(self._stack[self._place(depth)])

    def _roll(self, depth: int) -> None:
        self._push(self._stack.pop(self._place(depth)))

    # ---- data

    def _split(self, size: int) -> None:
        content = self._pop(Data).content
        if size > len(content):
            raise Refused(Reason.SCRIPT_FAILED, f"the data has {len(content)} bytes, not {size}")
        self._push(Data(content[size:]))
        self._push(Data(content[:size]))

    def _join(self) -> None:
        behind, front = self._pop(Data).content, self._pop(Data).content
        if len(front) + len(behind) > MAX_PUSH:
            raise Refused(Reason.SCRIPT_FAILED, f"data has at most {MAX_PUSH} bytes")
        self._charge((len(front) + len(behind)) // _PIECE)
        self._push(Data(front + behind))

    def _hash(self) -> None:
        content = self._pop(Data).content
        self._charge(len(content) // _PIECE)
        self._push(Data(digest(Label.SCRIPT_HASH, content)))

    def _signed(self) -> None:
        self._push(Known(self._pop(Data).content in self._sight.signers))

    # ---- numbers

    def _expr(self) -> None:
        content = self._pop(Data).content
        number = int.from_bytes(content, "little")
        if not 1 <= len(content) <= ENCODING_SIZE or number >= ORDER:
            raise Refused(Reason.SCRIPT_FAILED, "a number has 1 to 32 bytes and is below the order of the group")
        self._push_constant(number)

    def _commit(self) -> None:
        content = self._pop(Data).content
        if len(content) != ENCODING_SIZE:
            raise Refused(Reason.SCRIPT_FAILED, f"a commitment has {ENCODING_SIZE} bytes, not {len(content)}")
        self._push_number(self._held(content))

    def _held(self, commitment: bytes) -> Linear:
        """Return the number that a commitment holds: one variable for each commitment, however often it is read."""
        if commitment == IDENTITY:
            return linear(0)
        if commitment not in self._committed:
            opening = None
            if self._secrets is not None:
                opening = self._secrets.openings.get(commitment)
                if opening is None:
                    raise Refused(Reason.BAD_ARGUMENT, f"nobody told what the commitment {commitment.hex()} holds")
            self._committed[commitment] = self.system.commit(commitment, opening)
        return self._committed[commitment]

    def _alloc(self) -> None:
        value = None
        if self._secrets is not None:
            value = next(self._secrets.allocated, None)
            if value is None:
                raise Refused(Reason.BAD_ARGUMENT, "nobody told which number this is")
        self._push_number(self.system.allocate(value, None if value is None else 0).left)

    def _neg(self) -> None:
        self._push_number(-self._pop(Number).of)

    def _add(self) -> None:
        right, left = self._pop(Number).of, self._pop(Number).of
        self._push_number(left + right)

    def _mul(self) -> None:
        right, left = self._pop(Number).of, self._pop(Number).of
        self._charge(len(left.terms) + len(right.terms))
        self._push_number(self.system.multiply(left, right))

    def _range(self, bits: int) -> None:
        number = self._pop(Number).of
        constant = number.constant
        if constant is None:
            self._charge(len(number.terms))
            gadgets.in_range(self.system, number, bits)
        elif constant >> bits:
            raise Refused(Reason.SCRIPT_FAILED, f"the number is not in 0 .. 2^{bits} - 1")
        self._push_number(number)

    # ---- conditions

    def _eq(self) -> None:
        right = self._pop_any()
        if isinstance(right, Data):
            self._push(Known(self._pop(Data).content == right.content))
        else:
            difference = self._pop(Number).of - _expect(right, Number).of
            self._charge(len(difference.terms))
            self._push(when_zero(difference))

    def _and(self) -> None:
        self._push(from_bit(gadgets.both(self.system, *self._pop_bits())))

    def _or(self) -> None:
        self._push(from_bit(gadgets.either(self.system, *self._pop_bits())))

    def _not(self) -> None:
        self._push(from_bit(gadgets.negated(as_bit(self.system, self._pop_condition()))))

    def _pop_bits(self) -> tuple[Linear, Linear]:
        right, left = self._pop_condition(), self._pop_condition()
        return as_bit(self.system, left), as_bit(self.system, right)

    def _verify(self) -> None:
        condition = self._pop_condition()
        if isinstance(condition, Zero):
            self.system.constrain(condition.of)
        elif isinstance(condition, Bit):
            self.system.constrain(condition.of - 1)
        elif not condition.holds:
            raise Refused(Reason.SCRIPT_FAILED, "the condition does not hold")

    # ---- the transaction

    def _nth(self, outputs: tuple[Output, ...], place: int, what: str) -> Output:
        if place >= len(outputs):
            raise Refused(Reason.SCRIPT_FAILED, f"there are {len(outputs)} {what}s, and none is number {place}")
        return outputs[place]

    def _coin(self, output: Output) -> None:
        if isinstance(output, Coin):
            amount = linear(output.amount)
        elif isinstance(output, HiddenCoin):
            amount = self._held(output.commitment)
        else:
            raise Refused(Reason.SCRIPT_FAILED, f"it is a {type(output).__name__}, not a coin")
        self._push(Data(output.owner))
        self._push(Data(output.asset))
        self._push_number(amount)

    def _memo(self, output: Output) -> None:
        if not isinstance(output, Memo) or output.script != self._sight.script:
            raise Refused(Reason.SCRIPT_FAILED, "it is no Memo of this script")
        for content in (output.owner, output.asset, output.commitment, output.data):
            self._push(Data(content))
        self._push_number(self._held(output.commitment))

    def _state(self, output: Output) -> None:
        if not isinstance(output, State) or output.script != self._sight.script:
            raise Refused(Reason.SCRIPT_FAILED, "it is no State of this script")
        self._push(Data(output.owner))
        self._push(Data(output.asset))
        self._push_constant(output.nonce)
        for variable in output.variables:
            self._push(Data(variable))
        self._push_constant(len(output.variables))
        self._push_number(self._held(output.commitment))


def _expect(value: Value, kind: type[Kind]) -> Kind:
    if isinstance(value, kind):
        return value
    raise Refused(Reason.BAD_PROGRAM, f"wants {_WORDS[kind]}, finds {_named(value)}")


def _named(value: Value) -> str:
    return _WORDS.get(type(value), "a condition")


_WORDS: Final[dict[type, str]] = {Data: "data", Number: "a number"}
