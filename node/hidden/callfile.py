"""The file that says what a script transaction does: TOML for people, checked as a whole.

    programs = ["escrow-release.zk", "escrow-refund.zk"]   # all of the script, in order; FILE:name=value,... each
    run = 0                                                # which of them
    inputs = ["TXID:0"]
    signers = ["buyer"]                                    # besides who pays; keys in this home
    not_before = 0                                         # heights
    not_after = 900
    data = ["0x00"]                                        # arguments (node.hidden.expressions)
    allocated = [3]                                        # numbers for `alloc`

    [parameters]                                           # for all programs
    winner = 1

    [[outputs]]
    type = "hidden"                                        # coin, hidden, memo, state
    owner = "seller"                                       # a stored key, or nx1...
    amount = "7nxs"                                        # or input.0: all that it holds
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crypto.errors import Reason, Refused
from state.transaction import OutPoint
from state.types import MAX_INT, Height, TxId

KINDS: Final = ("coin", "hidden", "memo", "state")
_KEYS: Final = ("programs", "run", "parameters", "inputs", "outputs", "data", "signers", "not_before", "not_after",
                "allocated")
_COMMON: Final = ("type", "owner", "amount")
_GUARDED: Final = (*_COMMON, "script", "not_before", "not_after")
_OUTPUT_KEYS: Final = {
    "coin": _COMMON, "hidden": (*_COMMON, "text"), "memo": (*_GUARDED, "data"),
    "state": (*_GUARDED, "nonce", "variables"),
}  # fmt: skip
_TXID_DIGITS: Final = 64
_INDEX_DIGITS: Final = 9
_BEGIN: Final = Height(0)
_FOREVER: Final = Height(MAX_INT)


@dataclass(frozen=True, slots=True)
class OutputPart:
    """An output that is to be made; texts are not looked into yet.

    Attributes:
        kind: one of KINDS.
        owner: a name or an address.
        amount: an amount, `input.K`, or nothing: a Memo or a State without money.
        text: for the note of a hidden coin.
        data: of a Memo.
        variables, nonce: of a State.
        guarded: whether the script guards it; else its owner's signature does.
        not_before, not_after: time bounds of a Memo or a State.
    """

    kind: str
    owner: str
    amount: str = ""
    text: str = ""
    data: str = "0x"
    variables: tuple[str, ...] = ()
    nonce: int = 0
    guarded: bool = True
    not_before: Height = _BEGIN
    not_after: Height = _FOREVER


@dataclass(frozen=True, slots=True)
class CallFile:
    """What a script transaction is to do."""

    programs: tuple[str, ...]
    run: int
    inputs: tuple[OutPoint, ...]
    outputs: tuple[OutputPart, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    not_before: Height = _BEGIN
    not_after: Height = _FOREVER
    allocated: tuple[int, ...] = ()


def read_call(text: str) -> CallFile:
    """Return what a call file says.

    Raises:
        Refused: BAD_ARGUMENT with everything that is wrong, and what would be right.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"the call file is no TOML: {error}") from None
    reader = _Reader(table, "")
    reader.only(_KEYS)
    programs = reader.texts("programs")
    if not programs:
        reader.wrong("programs = [...] has to name all programs of the script, in order")
    call = CallFile(
        programs, reader.which("run", programs), reader.outpoints("inputs"), _outputs(table, reader.faults),
        reader.expressions_of("parameters"), reader.expressions("data"), reader.texts("signers"),
        Height(reader.number("not_before", 0)), Height(reader.number("not_after", MAX_INT)),
        reader.numbers("allocated"),
    )
    if reader.faults:
        raise Refused(Reason.BAD_ARGUMENT, "the call file: " + "; ".join(reader.faults))
    return call


def read_outpoint(text: str) -> OutPoint:
    """Return the outpoint of TXID:INDEX. Raises Refused(BAD_ARGUMENT)."""
    txid, _, index = text.partition(":")
    try:
        raw = bytes.fromhex(txid) if len(txid) == _TXID_DIGITS else b""
    except ValueError:
        raw = b""
    if not raw or not index.isdecimal() or len(index) > _INDEX_DIGITS:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is no TXID:INDEX")
    return OutPoint(TxId(raw), int(index))


def _outputs(table: Mapping[str, Any], faults: list[str]) -> tuple[OutputPart, ...]:
    given = table.get("outputs", [])
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        faults.append("outputs are written as [[outputs]] tables")
        return ()
    return tuple(_output(_Reader(one, f"output {place}: ", faults)) for place, one in enumerate(given))


def _output(reader: "_Reader") -> OutputPart:
    kind = reader.text("type", "")
    if kind not in KINDS:
        reader.wrong(f"type is one of {', '.join(KINDS)}, not {kind!r}")
        return OutputPart("coin", "")
    reader.only(_OUTPUT_KEYS[kind])
    owner, amount = reader.text("owner", ""), reader.text("amount", "")
    if not owner:
        reader.wrong('owner = "NAME or nx1..." is missing')
    if not amount and kind in ("coin", "hidden"):
        reader.wrong('amount = "7nxs", or "input.0" for all that input 0 holds, is missing')
    script = reader.text("script", "this")
    if script not in ("this", "none"):
        reader.wrong(f'script is "this" or "none", not {script!r}')
    data = reader.expressions("data") if isinstance(reader.table.get("data"), list) else (reader.expression("data"),)
    return OutputPart(
        kind, owner, amount, reader.text("text", ""), " + ".join(data) or "0x", reader.expressions("variables"),
        reader.number("nonce", 0), script == "this", Height(reader.number("not_before", 0)),
        Height(reader.number("not_after", MAX_INT)),
    )


class _Reader:
    """Reads the keys of one table, and remembers what is wrong."""

    def __init__(self, table: Mapping[str, Any], place: str, faults: list[str] | None = None) -> None:
        self.table = table
        self.faults: list[str] = [] if faults is None else faults
        self._place = place

    def wrong(self, what: str) -> None:
        """Remember that something is wrong."""
        self.faults.append(self._place + what)

    def only(self, keys: tuple[str, ...]) -> None:
        """Remember each key that does not belong here."""
        for key in self.table:
            if key not in keys:
                self.wrong(f"there is no key {key!r}; there are {', '.join(keys)}")

    def text(self, key: str, default: str) -> str:
        """Return a text."""
        value = self.table.get(key, default)
        if isinstance(value, str):
            return value
        self.wrong(f'{key} = "..." is a text, not {value!r}')
        return default

    def number(self, key: str, default: int) -> int:
        """Return a number that is not negative."""
        value = self.table.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INT:
            return value
        self.wrong(f"{key} is a number from 0 on, not {value!r}")
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.table.get(key, [])
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        self.wrong(f'{key} = ["...", "..."] is a list of texts, not {value!r}')
        return ()

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return a list of numbers that are not negative."""
        value = self.table.get(key, [])
        if isinstance(value, list) and all(type(one) is int and one >= 0 for one in value):
            return tuple(value)
        self.wrong(f"{key} = [1, 2] is a list of numbers, not {value!r}")
        return ()

    def expression(self, key: str) -> str:
        """Return an expression, which may be written as a bare number."""
        [found] = self._expressions(key, [self.table.get(key, "0x")]) or ("0x",)
        return found

    def expressions(self, key: str) -> tuple[str, ...]:
        """Return a list of expressions."""
        value = self.table.get(key, [])
        return self._expressions(key, value if isinstance(value, list) else [None])

    def expressions_of(self, key: str) -> dict[str, str]:
        """Return a table of expressions."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            self.wrong(f"{key} is a table [{key}], not {value!r}")
            return {}
        found = self._expressions(key, list(value.values()))
        return dict(zip(value, found, strict=False))

    def _expressions(self, key: str, values: list[Any]) -> tuple[str, ...]:
        if all(isinstance(one, str) or (type(one) is int and one >= 0) for one in values):
            return tuple(str(one) for one in values)
        self.wrong(f"{key} holds expressions: numbers, or texts such as 0x1f, '\"text\"', 900u64, @name")
        return ()

    def outpoints(self, key: str) -> tuple[OutPoint, ...]:
        """Return a list of outpoints."""
        found = []
        for text in self.texts(key):
            try:
                found.append(read_outpoint(text))
            except Refused as refused:
                self.wrong(f"{key}: {refused.detail}")
        return tuple(found)

    def which(self, key: str, programs: tuple[str, ...]) -> int:
        """Return which program: by number, or by its text in the list."""
        value = self.table.get(key)
        if type(value) is int and 0 <= value < len(programs):
            return value
        if isinstance(value, str) and value in programs:
            return programs.index(value)
        names = ", ".join(f"{place} ({name})" for place, name in enumerate(programs)) or "none"
        self.wrong(f"{key} says which program runs: {names}; not {value!r}")
        return 0
