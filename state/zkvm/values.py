"""What lies on the stack of a program: data, numbers and conditions."""

from typing import NamedTuple

from crypto import gadgets
from crypto.constraints import ConstraintSystem, Linear, linear


class Data(NamedTuple):
    """Bytes that everybody sees."""

    content: bytes


class Number(NamedTuple):
    """A scalar: a constant that everybody sees, or a sum of variables that the prover alone knows."""

    of: Linear


class Known(NamedTuple):
    """A condition of which everybody sees whether it holds."""

    holds: bool


class Zero(NamedTuple):
    """The condition that a sum is zero. Nothing is spent on it until it is verified or combined."""

    of: Linear


class Bit(NamedTuple):
    """A condition that holds if a sum is 1; it is 0 otherwise."""

    of: Linear


Condition = Known | Zero | Bit
Value = Data | Number | Condition


def when_zero(of: Linear) -> Condition:
    """Return the condition that a sum is zero."""
    constant = of.constant
    return Zero(of) if constant is None else Known(constant == 0)


def as_bit(system: ConstraintSystem, condition: Condition) -> Linear:
    """Return a sum that is 1 if a condition holds, else 0; 2 multipliers for a Zero."""
    if isinstance(condition, Known):
        return linear(int(condition.holds))
    return condition.of if isinstance(condition, Bit) else gadgets.is_zero(system, condition.of)


def from_bit(bit: Linear) -> Condition:
    """Return the condition that a sum, 0 or 1, is 1."""
    constant = bit.constant
    return Bit(bit) if constant is None else Known(constant == 1)
