"""The genesis document as JSON, for people to write and read.

Addresses are bech32m text, keys and carried records hexadecimal, amounts and voting powers decimal strings, all other
numbers plain.
"""

from functools import cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from state.genesis import (
    MAX_GENESIS,
    CarriedRecord,
    Genesis,
    GenesisAsset,
    GenesisBalance,
    GenesisOutput,
    GenesisValidator,
    check_genesis,
)
from state.params import ChainParams, ProofParams, SecurityParams, StakingParams, Timing
from state.types import Address, Amount

T = TypeVar("T")
_Decimal = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,18})$")]


class _ValidatorForm(msgspec.Struct, forbid_unknown_fields=True):
    public_key: str
    power: _Decimal
    operator: str
    moniker: str
    node_address: str = ""


class _AssetForm(msgspec.Struct, forbid_unknown_fields=True):
    issuer: str
    symbol: str
    decimals: int
    mintable: bool
    burnable: bool
    freezable: bool


class _HoldingForm(msgspec.Struct, forbid_unknown_fields=True):
    owner: str
    symbol: str
    amount: _Decimal


class _GenesisForm(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    name: str
    time: int
    timing: dict[str, int]
    chain: dict[str, int]
    security: dict[str, int]
    validators: list[_ValidatorForm]
    assets: list[_AssetForm] = []
    balances: list[_HoldingForm] = []
    outputs: list[_HoldingForm] = []
    staking: dict[str, int] = {}
    proofs: dict[str, int] = {}
    carried: list[tuple[str, str]] = []


_form_decoder: Final = msgspec.json.Decoder(_GenesisForm)


def _bad(field: str, why: str) -> Refused:
    return Refused(Reason.BAD_GENESIS, f"{field}: {why}")


def genesis_to_json(genesis: Genesis) -> bytes:
    """Return the document form, indented UTF-8 text that ends with a newline."""
    text = cache(encode_address)  # owners repeat, and bech32m is slow

    def holding(one: GenesisBalance | GenesisOutput) -> _HoldingForm:
        return _HoldingForm(text(one.owner), one.symbol, str(one.amount))

    asdict = msgspec.structs.asdict
    form = _GenesisForm(
        genesis.version, genesis.name, genesis.time,
        asdict(genesis.timing), asdict(genesis.chain), asdict(genesis.security),
        [
            _ValidatorForm(one.public_key.hex(), str(one.power), encode_address(one.operator), one.moniker,
                           one.node_address)
            for one in genesis.validators
        ],
        [
            _AssetForm(encode_address(one.issuer), one.symbol, one.decimals, one.mintable, one.burnable, one.freezable)
            for one in genesis.assets
        ],
        [holding(one) for one in genesis.balances],
        [holding(one) for one in genesis.outputs],
        asdict(genesis.staking), asdict(genesis.proofs),
        [(one.key.hex(), one.value.hex()) for one in genesis.carried],
    )
    return msgspec.json.format(msgspec.json.encode(form), indent=1) + b"\n"


def genesis_from_json(raw: bytes) -> Genesis:
    """Return the validated genesis of a document. Raises Refused(BAD_GENESIS), naming the first wrong field."""
    if len(raw) > MAX_GENESIS:
        raise _bad("document", f"{len(raw)} bytes, at most {MAX_GENESIS}")
    try:
        form = _form_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad("document", str(error)) from None
    addresses: dict[str, Address] = {}

    def address(field: str, text: str) -> Address:
        known = addresses.get(text)
        if known is None:
            try:
                known = addresses[text] = Address(decode_address(text))
            except Refused as refused:
                raise _bad(field, refused.detail) from None
        return known

    validators = tuple(
        GenesisValidator(
            _hex(f"validators[{place}].public_key", one.public_key), int(one.power),
            address(f"validators[{place}].operator", one.operator), one.moniker, one.node_address,
        )
        for place, one in enumerate(form.validators)
    )
    assets = tuple(
        GenesisAsset(address(f"assets[{place}].issuer", one.issuer), one.symbol, one.decimals, one.mintable,
                     one.burnable, one.freezable)
        for place, one in enumerate(form.assets)
    )
    balances = tuple(
        GenesisBalance(address(f"balances[{place}].owner", one.owner), one.symbol, Amount(int(one.amount)))
        for place, one in enumerate(form.balances)
    )
    outputs = tuple(
        GenesisOutput(address(f"outputs[{place}].owner", one.owner), one.symbol, Amount(int(one.amount)))
        for place, one in enumerate(form.outputs)
    )
    carried = tuple(
        CarriedRecord(_hex(f"carried[{place}]", key), _hex(f"carried[{place}]", value))
        for place, (key, value) in enumerate(form.carried)
    )
    genesis = Genesis(
        form.version, form.name, form.time,
        _params("timing", Timing, form.timing), _params("chain", ChainParams, form.chain),
        _params("security", SecurityParams, form.security), validators, assets, balances, outputs,
        _params("staking", StakingParams, form.staking), _params("proofs", ProofParams, form.proofs), carried,
    )
    check_genesis(genesis)
    return genesis


def _hex(field: str, text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise _bad(field, "no hexadecimal text") from None
    if raw.hex() != text:
        raise _bad(field, "hexadecimal text has small letters and no spaces")
    return raw


def _params(field: str, kind: type[T], values: dict[str, int]) -> T:
    """Build one group of parameters; what the document leaves out takes its default."""
    known: Any = kind
    unknown = sorted(set(values) - set(known.__struct_fields__))
    if unknown:
        raise _bad(f"{field}.{unknown[0]}", "there is no such parameter")
    return kind(**values)
