"""The genesis document as JSON, for people to write and read.

Addresses are bech32m text, keys and carried records hexadecimal, amounts and voting powers decimal strings, all other
numbers plain. A draft is the same document before it has validators (`apps.ceremony`).
"""

import difflib
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from state.encoding import Record
from state.genesis import (
    MAX_GENESIS,
    CarriedRecord,
    Genesis,
    GenesisAsset,
    GenesisBalance,
    GenesisOutput,
    GenesisValidator,
    all_faults,
    genesis_faults,
)
from state.params import ChainParams, ProofParams, SecurityParams, StakingParams, Timing
from state.types import Address, Amount
from state.version import PROTOCOL_VERSION

T = TypeVar("T")
Group = TypeVar("Group", bound=Record)
_DECIMAL: Final = re.compile("0|[1-9][0-9]{0,18}")
Read = Callable[[Any], Any]
"""Returns the value that a JSON value stands for. Raises Refused with why it is none."""
REQUIRED: Final = object()
"""Stands for the usual value of a field that has none."""
_USUAL: Final[Mapping[str, Any]] = MappingProxyType({
    "version": PROTOCOL_VERSION, "name": "unnamed", "time": 0, "timing": Timing(), "chain": ChainParams(),
    "security": SecurityParams(), "validators": (),
})
"""Stand for what could not be read."""


def genesis_to_json(genesis: Genesis) -> bytes:
    """Return the document form, indented UTF-8 text that ends with a newline."""
    text = cache(encode_address)  # owners repeat, and bech32m is slow

    def holding(one: GenesisBalance | GenesisOutput) -> dict[str, Any]:
        return {"owner": text(one.owner), "symbol": one.symbol, "amount": str(one.amount)}

    asdict = msgspec.structs.asdict
    form = {
        "version": genesis.version, "name": genesis.name, "time": genesis.time,
        "timing": asdict(genesis.timing), "chain": asdict(genesis.chain), "security": asdict(genesis.security),
        "validators": [
            asdict(one) | {
                "public_key": one.public_key.hex(), "power": str(one.power), "operator": encode_address(one.operator)
            }
            for one in genesis.validators
        ],
        "assets": [asdict(one) | {"issuer": encode_address(one.issuer)} for one in genesis.assets],
        "balances": [holding(one) for one in genesis.balances],
        "outputs": [holding(one) for one in genesis.outputs],
        "staking": asdict(genesis.staking), "proofs": asdict(genesis.proofs),
        "carried": [(one.key.hex(), one.value.hex()) for one in genesis.carried],
    }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(form), indent=1) + b"\n"


def genesis_from_json(raw: bytes) -> Genesis:
    """Return the validated genesis of a document. Raises Refused(BAD_GENESIS), naming every wrong field."""
    genesis, faults = read_genesis_json(raw)
    if genesis is None or faults:
        raise all_faults(faults)
    return genesis


def draft_from_json(raw: bytes) -> Genesis:
    """Return a document that has no validators yet; all else of it is checked. Raises Refused(BAD_GENESIS)."""
    genesis, faults = read_genesis_json(raw)
    faults = [fault for fault in faults if not fault.startswith("validators: ")]
    if genesis is None or faults:
        raise all_faults(faults)
    if genesis.validators:
        raise Refused(Reason.BAD_GENESIS, "validators: this is no draft, it has validators already")
    return genesis


def read_genesis_json(raw: bytes) -> tuple[Genesis | None, list[str]]:
    """Return a document and all that is wrong with it, each as "field: why".

    Parts that cannot be read are left out, or take their usual value, so that the rest can be checked all the same;
    there is no document if there is no JSON object.
    """
    if len(raw) > MAX_GENESIS:
        return None, [f"document: {len(raw)} bytes, at most {MAX_GENESIS}"]
    try:
        form = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, [f"document: this is no JSON text: {error}"]
    if not isinstance(form, dict):
        return None, ["document: must be a JSON object: {...}"]
    reading = Reading()
    fields, _ = reading.fields("", form, _document(reading))
    genesis = Genesis(**{**_USUAL, **fields})
    broken = genesis_faults(genesis)
    if reading.faults:  # what is missing may be among what could not be read
        broken = [one for one in broken if not one.startswith("validators:") and ".symbol: no asset" not in one]
    return genesis, [*reading.faults, *broken]


# ---- reading


def whole(value: Any) -> int:
    """Read a plain number."""
    if type(value) is not int:
        raise _no("must be a plain whole number, as 1000" + (", without quotes" if isinstance(value, str) else ""))
    return value


def boolean(value: Any) -> bool:
    """Read true or false."""
    if type(value) is not bool:
        raise _no("must be true or false")
    return value


def text(value: Any) -> str:
    """Read text."""
    if not isinstance(value, str):
        raise _no('must be text in quotes, as "text"')
    return value


def decimal(value: Any) -> int:
    """Read an amount or a power."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise _no('must be a decimal number in quotes, as "1000000", without sign, point or leading zero')
    return int(value)


def hexadecimal(value: Any) -> bytes:
    """Read bytes."""
    try:
        raw = bytes.fromhex(value if isinstance(value, str) else "?")
    except ValueError:
        raise _no("no hexadecimal text") from None
    if raw.hex() != value:
        raise _no("hexadecimal text has small letters and no spaces")
    return raw


def address(value: Any) -> Address:
    """Read an account's address."""
    if not isinstance(value, str):
        raise _no("must be an address in quotes: nx1...")
    return Address(decode_address(value))


Fields = Mapping[str, tuple[Read, Any]]
"""How to read each field of an object, and what it is if it is left out, or REQUIRED."""


class Reading:
    """Reads JSON values and remembers what is wrong with them.

    Attributes:
        faults: each as "field: why".
    """

    def __init__(self) -> None:
        self.faults: list[str] = []

    def struct(self, prefix: str, form: Any, fields: Fields) -> dict[str, Any] | None:
        """Return an object's fields, or None if one is missing or wrong that cannot be left out."""
        if not isinstance(form, dict):
            self.faults.append(f"{prefix.rstrip('.') or 'document'}: must be an object: {{...}}")
            return None
        values, sound = self.fields(prefix, form, fields)
        return values if sound else None

    def fields(self, prefix: str, form: dict[str, Any], fields: Fields) -> tuple[dict[str, Any], bool]:
        """Return the fields of an object that could be read, and whether all of it could."""
        sound = True
        for name in form:
            if name not in fields:
                sound = False
                self.faults.append(f"{prefix}{name}: {no_such(name, fields)}")
        values: dict[str, Any] = {}
        for name, (read, default) in fields.items():
            if name not in form:
                if default is REQUIRED:
                    sound = False
                    self.faults.append(f"{prefix}{name}: is missing")
                else:
                    values[name] = default
                continue
            try:
                values[name] = read(form[name])
            except Refused as refused:
                self.faults.append(f"{prefix}{name}: {refused.detail}")
                sound = False
        return values, sound

    def group(self, prefix: str, kind: type[Group]) -> Read:
        """Return how to read a group of parameters; what the document leaves out takes its default."""
        fields: Fields = {one.name: (whole, one.default) for one in msgspec.structs.fields(kind)}

        def read(form: Any) -> Group:
            if not isinstance(form, dict):
                raise _no("must be an object: {...}")
            return kind(**self.fields(f"{prefix}.", form, fields)[0])

        return read

    def rows(self, prefix: str, kind: type[T], fields: Fields) -> Read:
        """Return how to read a list of objects; those that are wrong are left out."""

        def read(form: Any) -> tuple[T, ...]:
            if not isinstance(form, list):
                raise _no("must be a list: [...]")
            found = (self.struct(f"{prefix}[{place}].", one, fields) for place, one in enumerate(form))
            return tuple([kind(**values) for values in found if values is not None])

        return read

    def carried(self, form: Any) -> tuple[CarriedRecord, ...]:
        """Read the carried records: pairs of hexadecimal texts."""
        if not isinstance(form, list):
            raise _no("must be a list: [...]")
        records = []
        for place, pair in enumerate(form):
            try:
                if not isinstance(pair, list) or len(pair) != 2:
                    raise _no("must be a pair of hexadecimal texts: [key, value]")
                records.append(CarriedRecord(hexadecimal(pair[0]), hexadecimal(pair[1])))
            except Refused as refused:
                self.faults.append(f"carried[{place}]: {refused.detail}")
        return tuple(records)


def no_such(name: str, known: Mapping[str, Any]) -> str:
    """Return the sentence for a name that nobody knows, with the one that was probably meant."""
    near = difflib.get_close_matches(name, known, 1)
    return "there is no such field" + (f"; {near[0]!r} is meant?" if near else f"; there are {', '.join(known)}")


def _document(reading: Reading) -> Fields:
    known: dict[str, Address] = {}

    def owner(value: Any) -> Address:
        found = known.get(value) if isinstance(value, str) else None
        if found is None:
            found = known[value] = address(value)
        return found

    holding: Fields = {"owner": (owner, REQUIRED), "symbol": (text, REQUIRED), "amount": (_amount, REQUIRED)}
    return {
        "version": (whole, REQUIRED), "name": (text, REQUIRED), "time": (whole, REQUIRED),
        "timing": (reading.group("timing", Timing), REQUIRED),
        "chain": (reading.group("chain", ChainParams), REQUIRED),
        "security": (reading.group("security", SecurityParams), REQUIRED),
        "validators": (reading.rows("validators", GenesisValidator, {
            "public_key": (hexadecimal, REQUIRED), "power": (decimal, REQUIRED), "operator": (owner, REQUIRED),
            "moniker": (text, REQUIRED), "node_address": (text, ""), "commission": (whole, 0),
        }), REQUIRED),
        "assets": (reading.rows("assets", GenesisAsset, {
            "issuer": (owner, REQUIRED), "symbol": (text, REQUIRED), "decimals": (whole, REQUIRED),
            "mintable": (boolean, REQUIRED), "burnable": (boolean, REQUIRED), "freezable": (boolean, REQUIRED),
        }), ()),
        "balances": (reading.rows("balances", GenesisBalance, holding), ()),
        "outputs": (reading.rows("outputs", GenesisOutput, holding), ()),
        "staking": (reading.group("staking", StakingParams), StakingParams()),
        "proofs": (reading.group("proofs", ProofParams), ProofParams()),
        "carried": (reading.carried, ()),
    }  # fmt: skip


def _amount(value: Any) -> Amount:
    return Amount(decimal(value))


def _no(why: str) -> Refused:
    return Refused(Reason.BAD_GENESIS, why)
