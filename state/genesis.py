"""The genesis document: everything that all nodes of a chain start from. Its hash is the chain id.

Two forms: canonical bytes, which are hashed, and a JSON document for people (`state.genesis_json`). The symbol of an
asset is `nxs` for the native token (amounts in unxs), else a symbol from the document's own list of assets.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.schemes import address_of, check_public_key
from crypto.space import MIN_K
from crypto.vdf import MAX_BITS
from state.encoding import Codec, Record, encode
from state.params import FASTEST_VDF, BasisPoints, ChainParams, ProofParams, SecurityParams, StakingParams, Timing
from state.records import MAX_DECIMALS, MAX_SYMBOL, asset_id
from state.types import (
    HASH_SIZE,
    MAX_AMOUNT,
    MAX_INT,
    NATIVE,
    UNXS_PER_NXS,
    Address,
    AddressField,
    AmountField,
    AssetId,
    ChainId,
    Unsigned,
)
from state.version import SUPPORTED_VERSIONS, check_known

NATIVE_SYMBOL: Final = "nxs"
MAX_GENESIS: Final = 256 << 20
"""Cap in bytes of a genesis document in either form."""
MAX_GENESIS_VALIDATORS: Final = 256
MAX_JSON_INT: Final = 2**53 - 1
"""Plain JSON numbers stay exact up to here in every reader."""
GROUPS: Final = ("timing", "chain", "security", "staking", "proofs")
"""Fields of the document that are groups of plain parameters."""
SHOWN_FAULTS: Final = 50
"""How many wrong fields one refusal names."""
MIN_TIMEOUT: Final = 10
"""Least consensus timeout in ms: with less, rounds would end before anybody could vote."""

Symbol = Annotated[str, Meta(min_length=1, max_length=MAX_SYMBOL, pattern="^[a-z][a-z0-9]*$")]
Short = Annotated[str, Meta(max_length=64)]


class GenesisValidator(Record, frozen=True):
    """A validator of the first block. `node_address` is where its node listens, `ID@[ADDR]:PORT`, or empty.

    Its operator has bonded `power` nxs of its own, which are supply besides the balances and outputs. Operators are
    unique.
    """

    public_key: Annotated[bytes, Meta(min_length=33, max_length=4096)]
    power: Annotated[int, Meta(ge=1, le=2**50)]
    operator: AddressField
    moniker: Short
    node_address: Annotated[str, Meta(max_length=256)] = ""
    commission: BasisPoints = 0


class GenesisAsset(Record, frozen=True):
    """A token that exists from the start."""

    issuer: AddressField
    symbol: Symbol
    decimals: Annotated[int, Meta(ge=0, le=MAX_DECIMALS)]
    mintable: bool
    burnable: bool
    freezable: bool

    @property
    def asset(self) -> AssetId:
        """The asset's id, as if its issuer had issued it by a message."""
        return asset_id(self.issuer, self.symbol)


class GenesisBalance(Record, frozen=True):
    """What an account holds at the start."""

    owner: AddressField
    symbol: Symbol
    amount: AmountField


class GenesisOutput(Record, frozen=True):
    """A Coin that exists at the start; its outpoint is (chain id, place in the list)."""

    owner: AddressField
    symbol: Symbol
    amount: AmountField


class CarriedRecord(Record, frozen=True):
    """A record of the state that the chain takes over from the chain that this document was exported from."""

    key: Annotated[bytes, Meta(min_length=1, max_length=1024)]
    value: Annotated[bytes, Meta(max_length=1 << 20)]


class Genesis(Record, frozen=True):
    """The whole document. `time` in ms since 1970; the first block's time is later."""

    version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    time: Unsigned
    timing: Timing
    chain: ChainParams
    security: SecurityParams
    validators: Annotated[tuple[GenesisValidator, ...], Meta(min_length=1, max_length=MAX_GENESIS_VALIDATORS)]
    assets: tuple[GenesisAsset, ...] = ()
    balances: tuple[GenesisBalance, ...] = ()
    outputs: tuple[GenesisOutput, ...] = ()
    staking: StakingParams = StakingParams()
    proofs: ProofParams = ProofParams()
    carried: tuple[CarriedRecord, ...] = ()
    """In rising order of key. A document with such records lists no assets, balances and outputs, and no module makes
    money of its own at genesis: all of it is here. `apps.genesis` checks which keys may be here, and the supply.
    """

    @property
    def symbols(self) -> dict[str, AssetId]:
        """Asset ids by symbol, the native token included."""
        return {NATIVE_SYMBOL: NATIVE} | {asset.symbol: asset.asset for asset in self.assets}


genesis_codec: Final = Codec(Genesis, max_size=MAX_GENESIS)
_decoders: Final[dict[type[Record], msgspec.msgpack.Decoder[Record]]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (
        Genesis, Timing, ChainParams, SecurityParams, StakingParams, ProofParams, GenesisValidator, GenesisAsset,
        GenesisBalance, GenesisOutput, CarriedRecord,
    )
}
_SOUND_PARTS: Final[dict[str, Any]] = {
    "timing": Timing(), "chain": ChainParams(), "security": SecurityParams(), "staking": StakingParams(),
    "proofs": ProofParams(), "assets": (), "balances": (), "outputs": (), "carried": (),
    "validators": (GenesisValidator(bytes(33), 1, Address(bytes(HASH_SIZE)), ""),),
}  # fmt: skip
"""Stand for the parts of a document while its own fields are checked."""


def _fault(field: str, why: str) -> str:
    return f"{field}: {why}"


def genesis_hash(genesis: Genesis) -> ChainId:
    """Return the chain id: H("genesis", canonical bytes)."""
    return ChainId(digest(Label.GENESIS, encode(genesis)))


def decode_genesis(raw: bytes) -> Genesis:
    """Return the validated genesis of canonical bytes. Raises Refused(BAD_GENESIS)."""
    try:
        genesis = genesis_codec.decode(raw)
    except Refused as refused:
        raise Refused(Reason.BAD_GENESIS, refused.detail) from None
    check_genesis(genesis)
    return genesis


# ---- rules


def check_genesis(genesis: Genesis) -> None:
    """Check every rule, also those that one field's type cannot say.

    Raises:
        Refused: BAD_GENESIS, naming every wrong field.
    """
    faults = genesis_faults(genesis)
    if faults:
        raise all_faults(faults)


def all_faults(faults: Sequence[str]) -> Refused:
    """Return the refusal that names the first SHOWN_FAULTS of some faults."""
    more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return Refused(Reason.BAD_GENESIS, "; ".join(faults[:SHOWN_FAULTS]) + more)


def genesis_faults(genesis: Genesis) -> list[str]:
    """Return all that is wrong with a document, each as "field: why"; nothing if it is right.

    Rules between fields are looked at once each field for itself is right.
    """
    faults = list(_check_fields(genesis))
    if faults:
        return faults
    try:
        check_known(genesis.version, SUPPORTED_VERSIONS, "the chain")
    except Refused as refused:
        faults.append(f"version: {refused.detail}")
    for check in (_check_params, _check_validators, _check_money, _check_carried):
        faults += check(genesis)
    return faults


def _check_fields(genesis: Genesis) -> Iterator[str]:
    """Check sizes and ranges. A struct that was built in this process has not met its own field types yet."""
    for name in GROUPS:
        yield from _check_struct(f"{name}.", getattr(genesis, name))
    for name in ("validators", "assets", "balances", "outputs", "carried"):
        for place, one in enumerate(getattr(genesis, name)):
            yield from _check_struct(f"{name}[{place}].", one)
    yield from _check_struct("", replace(genesis, **_SOUND_PARTS))
    if not genesis.validators:
        yield _fault("validators", "there are none: a draft becomes a genesis document by `nexus genesis collect`")
    if len(genesis.validators) > MAX_GENESIS_VALIDATORS:
        yield _fault("validators", f"{len(genesis.validators)}, at most {MAX_GENESIS_VALIDATORS}")


def _check_struct(prefix: str, value: Record) -> Iterator[str]:
    for name, number in msgspec.structs.asdict(value).items():
        if isinstance(number, int) and abs(number) > MAX_INT:
            yield _fault(prefix + name, "more than 63 bits")
            return
    try:
        _decoders[type(value)].decode(encode(value))
    except msgspec.DecodeError:
        for one in msgspec.structs.fields(type(value)):
            try:
                msgspec.msgpack.decode(encode(getattr(value, one.name)), type=one.type)
            except msgspec.DecodeError as error:
                yield _fault(prefix + one.name, str(error).partition(" - at ")[0])


def _check_params(genesis: Genesis) -> Iterator[str]:
    plain = [("", "time", genesis.time)]
    for group in GROUPS:
        plain += [(f"{group}.", name, value) for name, value in msgspec.structs.asdict(getattr(genesis, group)).items()]
    for group, name, value in plain:
        if value > MAX_JSON_INT:
            yield _fault(group + name, f"{value} is more than 2**53 - 1")
    timing, chain, security = genesis.timing, genesis.chain, genesis.security
    for name in ("timeout_propose", "timeout_prevote", "timeout_precommit"):
        if not MIN_TIMEOUT <= getattr(timing, name) <= timing.timeout_max:
            yield _fault(f"timing.{name}", f"must lie between {MIN_TIMEOUT} ms and timeout_max ({timing.timeout_max})")
    if chain.expiry_window < chain.anchor_window:
        yield _fault("chain.expiry_window", f"must not be smaller than anchor_window ({chain.anchor_window})")
    if security.unbonding > security.evidence_age:
        why = f"must not be longer than evidence_age ({security.evidence_age}): evidence age >= unbonding"
        yield _fault("security.unbonding", why)
    if security.trust_period >= security.unbonding:
        why = f"must be shorter than unbonding ({security.unbonding}): unbonding > trust period"
        yield _fault("security.trust_period", why)
    if genesis.staking.unbonding_blocks > chain.evidence_window:
        why = f"must not be more than chain.evidence_window ({chain.evidence_window}): evidence age >= unbonding"
        yield _fault("staking.unbonding_blocks", why)
    yield from _check_proofs(genesis)
    if not security.trust_period:
        yield _fault("security.trust_period", "must not be zero: no light client could trust anything")


def _check_proofs(genesis: Genesis) -> Iterator[str]:
    proofs, timing = genesis.proofs, genesis.timing
    if proofs.space_k and proofs.space_k < MIN_K:
        yield _fault("proofs.space_k", f"must be 0 or at least {MIN_K}, the smallest plot")
    if proofs.vdf_bits % 8:
        yield _fault("proofs.vdf_bits", "must be a multiple of 8")
    if proofs.target_gas and proofs.max_difficulty < genesis.chain.difficulty:
        yield _fault("proofs.max_difficulty", f"must not be less than chain.difficulty ({genesis.chain.difficulty})")
    if proofs.where and not proofs.space_k:
        yield _fault("proofs.where", "must be 0 on a chain that asks for no space")
    if proofs.vdf_iterations and proofs.vdf_bits >= MAX_BITS:
        steps = (timing.timeout_propose, timing.timeout_prevote, timing.timeout_precommit)
        waits = [min(step + timing.timeout_delta * round, timing.timeout_max) for step in steps for round in range(3)]
        least = FASTEST_VDF * sum(waits) // 1000
        if proofs.vdf_iterations < least:
            yield _fault("proofs.vdf_iterations", f"must be 0 or at least {least}: longer than three rounds' timeouts")


def _check_validators(genesis: Genesis) -> Iterator[str]:
    seen: set[bytes] = set()
    operators: set[bytes] = set()
    for place, validator in enumerate(genesis.validators):
        field = f"validators[{place}]"
        try:
            check_public_key(validator.public_key)
        except Refused as refused:
            yield _fault(f"{field}.public_key", refused.detail)
            continue
        address = address_of(validator.public_key)
        if address in seen:
            yield _fault(f"{field}.public_key", "another validator has the same key")
        seen.add(address)
        if validator.operator in operators:
            yield _fault(f"{field}.operator", "another validator has the same operator")
        operators.add(validator.operator)


def _check_money(genesis: Genesis) -> Iterator[str]:
    totals = {NATIVE_SYMBOL: 0}
    if not genesis.carried:
        for place, validator in enumerate(genesis.validators):
            yield from _add(totals, f"validators[{place}].power", NATIVE_SYMBOL, validator.power * UNXS_PER_NXS)
    for place, asset in enumerate(genesis.assets):
        if asset.symbol in totals:
            yield _fault(f"assets[{place}].symbol", f"{asset.symbol} is taken")
            continue
        totals[asset.symbol] = 0
    held: set[tuple[bytes, str]] = set()
    for place, balance in enumerate(genesis.balances):
        if (balance.owner, balance.symbol) in held:
            yield _fault(f"balances[{place}].owner", f"a second balance of {balance.symbol} for the same account")
        held.add((balance.owner, balance.symbol))
        yield from _add_listed(totals, f"balances[{place}]", balance.symbol, balance.amount)
    for place, output in enumerate(genesis.outputs):
        yield from _add_listed(totals, f"outputs[{place}]", output.symbol, output.amount)


def _add_listed(totals: dict[str, int], field: str, symbol: str, amount: int) -> Iterator[str]:
    if symbol not in totals:
        yield _fault(f"{field}.symbol", f"no asset {symbol} is listed; there are {', '.join(sorted(totals))}")
        return
    yield from _add(totals, f"{field}.amount", symbol, amount)


def _add(totals: dict[str, int], field: str, symbol: str, amount: int) -> Iterator[str]:
    if not amount:
        yield _fault(field, "must not be zero")
    over = totals[symbol] > MAX_AMOUNT
    totals[symbol] += amount
    if totals[symbol] > MAX_AMOUNT and not over:
        yield _fault(field, f"the supply of {symbol} grows over {MAX_AMOUNT}")


def _check_carried(genesis: Genesis) -> Iterator[str]:
    for place, (one, other) in enumerate(pairwise(genesis.carried), start=1):
        if one.key >= other.key:
            yield _fault(f"carried[{place}].key", "the records are not in rising order of key")
    if genesis.carried and (genesis.assets or genesis.balances or genesis.outputs):
        yield _fault("carried", "a document that takes over another chain's records lists no money of its own")
