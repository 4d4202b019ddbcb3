"""Bytes as people write them in a call file or behind `--param`.

    0x1f00                 bytes                       "escrow"               text, in UTF-8
    25                     a number, little-endian, in as many bytes as it needs
    900u64                 a number of 8 bytes; u8, u16, u32 likewise
    @alice   nx1...        an address: of a stored key, or written out
    commitment             that of the very Memo or State (in its data and variables)
    output.1.commitment    that of another output
    input.0.data           of a Memo that is spent; .owner, .asset and .commitment of any output that has it
    input.0.variable.2     of a State that is spent
    hash(a + b)            what the ZkVM's `hash` gives
    a + b                  one behind the other
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.transaction import Coin, Memo, Output, State

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"[^"]*")|(?P<hex>0x[0-9a-fA-F]*)|(?P<number>\d+(?:u(?:8|16|32|64))?)|(?P<hash>hash\s*\()"""
    r"""|(?P<plus>\+)|(?P<close>\))|(?P<address>@[^\s+()"]+|nx1\w+)|(?P<path>[a-z]+(?:\.\w+)*))\s*"""
)
_SHAPES: Final = '0xHEX, "text", 25, 900u64, @name, nx1..., input.0.data, output.1.commitment, commitment, hash(...)'
_MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may speak of.

    Attributes:
        address: returns the address of a stored key's name or of `nx1...`.
        inputs: the outputs that are spent, in order.
        commitments: those of the new outputs that have one, by place.
        own: the commitment of the output whose data this is; empty elsewhere.
    """

    address: Callable[[str], bytes]
    inputs: Sequence[Output] = ()
    commitments: Mapping[int, bytes] = field(default_factory=dict)
    own: bytes = b""


def evaluate(text: str, scope: Scope) -> bytes:
    """Return the bytes that an expression stands for.

    Raises:
        Refused: BAD_ARGUMENT with the part that is wrong; BAD_ADDRESS, KEY_NOT_FOUND.
    """
    parser = _Parser(text, scope)
    value = parser.sum(0)
    if parser.tokens:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r}: {parser.tokens[0][1]!r} does not belong there")
    return value


class _Parser:
    """Takes an expression apart, from the left."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._text = text
        self._scope = scope
        self.tokens = self._split(text)

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise Refused(Reason.BAD_ARGUMENT, f"{text!r}: {text[at:].strip()!r} is none of {_SHAPES}")
            tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        return tokens

    def sum(self, depth: int) -> bytes:
        """Return terms with + between them, one behind the other."""
        value = self._term(depth)
        while self.tokens and self.tokens[0][0] == "plus":
            self.tokens.pop(0)
            value += self._term(depth)
        return value

    def _term(self, depth: int) -> bytes:
        if not self.tokens:
            raise Refused(Reason.BAD_ARGUMENT, f"{self._text!r}: there should be one of {_SHAPES} at the end")
        kind, word = self.tokens.pop(0)
        if kind == "text":
            return word[1:-1].encode()
        if kind == "hex":
            return self._hex(word)
        if kind == "number":
            return self._number(word)
        if kind == "address":
            return self._scope.address(word.removeprefix("@"))
        if kind == "path":
            return self._path(word)
        if kind == "hash" and depth < _MAX_DEPTH:
            return self._hash(depth)
        raise Refused(Reason.BAD_ARGUMENT, f"{self._text!r}: {word!r} does not belong there")

    def _hash(self, depth: int) -> bytes:
        value = self.sum(depth + 1)
        if not self.tokens or self.tokens.pop(0)[0] != "close":
            raise Refused(Reason.BAD_ARGUMENT, f"{self._text!r}: the closing ) is missing")
        return digest(Label.SCRIPT_HASH, value)

    def _hex(self, word: str) -> bytes:
        try:
            return bytes.fromhex(word[2:])
        except ValueError:
            raise Refused(Reason.BAD_ARGUMENT, f"{word} is no even number of hexadecimal digits") from None

    def _number(self, word: str) -> bytes:
        digits, _, width = word.partition("u")
        number = int(digits)
        size = int(width) // 8 if width else max(1, (number.bit_length() + 7) // 8)
        if number.bit_length() > 8 * size or size > 32:
            raise Refused(Reason.BAD_ARGUMENT, f"{digits} does not fit into {8 * min(size, 32)} bits")
        return number.to_bytes(size, "little")

    def _path(self, word: str) -> bytes:
        parts = word.split(".")
        match parts:
            case ["commitment"] if self._scope.own:
                return self._scope.own
            case ["output", place, "commitment"] if place.isdecimal() and int(place) in self._scope.commitments:
                return self._scope.commitments[int(place)]
            case ["input", place, *rest] if place.isdecimal() and int(place) < len(self._scope.inputs):
                found = _part(self._scope.inputs[int(place)], rest)
                if found is not None:
                    return found
        raise Refused(Reason.BAD_ARGUMENT, f"{self._text!r}: there is no {word} here")


def _part(output: Output, rest: list[str]) -> bytes | None:
    """Return a part of an output that is spent, or None if it has none of that name."""
    match rest:
        case ["owner"]:
            return output.owner
        case ["asset"]:
            return output.asset
        case ["commitment"] if not isinstance(output, Coin):
            return output.commitment
        case ["data"] if isinstance(output, Memo):
            return output.data
        case ["variable", place] if isinstance(output, State) and place.isdecimal():
            return output.variables[int(place)] if int(place) < len(output.variables) else None
    return None
