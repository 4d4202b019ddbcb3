"""How a chain with many validators begins: their parts, collected into the draft that they were made for.

    draft      rules and accounts, no validators        nexus genesis draft, add-account
    part       one operator's stake, key and signature  nexus genesis gentx        (apps.staking.gentx)
    document   what all nodes start from                nexus genesis collect

The stake comes out of the operators' balances, so the supply stays what the draft says. The document depends on the
draft and the set of parts alone, whatever order they come in: everybody who collects the same can compare its hash.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from apps.genesis import init_genesis
from apps.staking.gentx import Gentx, SignedGentx, check_gentx, terms_of
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from state.genesis import MAX_GENESIS_VALIDATORS, NATIVE_SYMBOL, Genesis, GenesisBalance, GenesisValidator
from state.types import UNXS_PER_NXS, Address, Amount

STOPPER: Final = 3
"""Who has a third of the power can stop the chain alone."""


class Fault(NamedTuple):
    """Why a part cannot be collected."""

    name: str
    reason: Reason
    why: str


def collect(draft: Genesis, parts: Mapping[str, SignedGentx]) -> Genesis:
    """Return the document of a draft and its validators' parts.

    Args:
        draft: has no validators; checked.
        parts: by the names that a person knows them by.

    Raises:
        Refused: the reason of the first fault (BAD_GENTX, BAD_KEY, BAD_SIGNATURE, VALIDATOR_EXISTS, KEY_IN_USE,
            INSUFFICIENT_FUNDS, INSUFFICIENT_STAKE), naming all of them; BAD_GENESIS.
    """
    faults = list(part_faults(draft, parts))
    if faults:
        raise refusal(faults)
    gentxs = [part.gentx for part in parts.values()]
    bonded = {gentx.operator: gentx.power * UNXS_PER_NXS for gentx in gentxs}
    document = replace(
        draft,
        validators=tuple(sorted((_validator(gentx) for gentx in gentxs), key=lambda one: address_of(one.public_key))),
        balances=tuple(_balances(draft, bonded)),
    )
    init_genesis(document)
    return document


def refusal(faults: list[Fault]) -> Refused:
    """Return the refusal that names these faults."""
    return Refused(faults[0].reason, "; ".join(f"{fault.name}: {fault.why}" for fault in faults))


def part_faults(draft: Genesis, parts: Mapping[str, SignedGentx]) -> Iterator[Fault]:
    """Yield all that is wrong with the parts, one by one and together."""
    if not parts:
        yield Fault("parts", Reason.BAD_GENTX, "there are none: no chain begins without a validator")
    room = min(draft.staking.max_validators, MAX_GENESIS_VALIDATORS)
    if len(parts) > room:
        yield Fault("parts", Reason.BAD_GENTX, f"there are {len(parts)}, and staking.max_validators lets {room} vote")
    terms = terms_of(draft)
    held = {one.owner: one.amount for one in draft.balances if one.symbol == NATIVE_SYMBOL}
    operators: dict[Address, str] = {}
    keys: dict[bytes, str] = {}
    for name in sorted(parts):
        gentx = parts[name].gentx
        if gentx.terms != terms:
            why = f"it is for another draft: its rules have the hash {gentx.terms.hex()}, this draft's {terms.hex()}"
            yield Fault(name, Reason.BAD_GENTX, why)
            continue
        try:
            check_gentx(parts[name])
        except Refused as refused:
            yield Fault(name, refused.reason, refused.detail)
            continue
        yield from _stake_faults(name, gentx, held.get(gentx.operator, 0), draft.staking.min_self_stake)
        other = operators.setdefault(gentx.operator, name)
        if other != name:
            yield Fault(name, Reason.VALIDATOR_EXISTS, f"{other} is of the same operator: keep one of the two")
        other = keys.setdefault(gentx.public_key, name)
        if other != name:
            yield Fault(name, Reason.KEY_IN_USE, f"{other} has the same consensus key: each validator needs its own")


def warnings(document: Genesis) -> Iterator[str]:
    """Yield what a coordinator should know of a document that is right."""
    total = sum(one.power for one in document.validators)
    held = {one.owner for one in document.balances if one.symbol == NATIVE_SYMBOL}
    for one in document.validators:
        if one.power * STOPPER >= total and len(document.validators) > 1:
            yield f"{one.moniker} has {one.power} of {total} of the power: a third or more stops the chain alone"
        if one.operator not in held and not document.carried:
            yield f"{one.moniker} bonds all it has: its operator cannot pay a fee"


def _stake_faults(name: str, gentx: Gentx, held: int, least: int) -> Iterator[Fault]:
    bonded, owner = gentx.power * UNXS_PER_NXS, encode_address(gentx.operator)
    if not held:
        yield Fault(name, Reason.INSUFFICIENT_FUNDS, f"the draft has no account {owner}: add-account it first")
    elif bonded > held:
        why = f"it bonds {bonded} unxs, and the draft gives {owner} {held}: at most {held // UNXS_PER_NXS}nxs"
        yield Fault(name, Reason.INSUFFICIENT_FUNDS, why)
    if bonded < least:
        yield Fault(name, Reason.INSUFFICIENT_STAKE, f"it bonds {bonded} unxs, the least is {least}")


def _validator(gentx: Gentx) -> GenesisValidator:
    return GenesisValidator(
        gentx.public_key, gentx.power, gentx.operator, gentx.moniker, gentx.node_address, gentx.commission
    )


def _balances(draft: Genesis, bonded: Mapping[Address, int]) -> Iterator[GenesisBalance]:
    for one in draft.balances:
        left = one.amount - (bonded.get(one.owner, 0) if one.symbol == NATIVE_SYMBOL else 0)
        if left:
            yield replace(one, amount=Amount(left))
