"""Records of the staking module.

    key                                         value
    staking/params                              StakingParams
    staking/validator/ operator                 Operator
    staking/key/ address of a consensus key     the operator that it is or was of, raw; never removed
    staking/candidates                          operators that the next set is chosen from, concatenated
    staking/pool/ operator                      Pool of bonded unxs
    staking/delegation/ owner operator          Position in that pool
    staking/delegations/ owner                  operators that the owner has a position with, concatenated
    staking/commission/ operator                unxs of commission that wait for the operator
    staking/leaving, moving, cohorts, queue ... see `apps.staking.leaving`

An *operator* is an account; its validator is named by it for ever, whatever consensus key it votes with.
"""

from typing import Final

from apps.chain.records import fee_pool, set_fee_pool
from apps.staking.messages import MonikerField
from apps.staking.pool import NO_INDEX, Pool, Position
from consensus.types import KeyField
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from state.changes import Overlay, Reader
from state.encoding import Codec, Record, encode
from state.ledger import read_number, write_number
from state.params import BASIS, BasisPoints, StakingParams
from state.types import HASH_SIZE, UNXS_PER_NXS, Address, Amount, Height, HeightField, Unsigned

PARAMS: Final = b"staking/params"
OPERATOR: Final = b"staking/validator/"
KEY: Final = b"staking/key/"
CANDIDATES: Final = b"staking/candidates"
POOL: Final = b"staking/pool/"
DELEGATION: Final = b"staking/delegation/"
DELEGATIONS: Final = b"staking/delegations/"
COMMISSION: Final = b"staking/commission/"

MAX_CANDIDATES: Final = 1024
"""Operators that a set is chosen from: the choice reads each at the end of an epoch."""
MAX_DELEGATIONS: Final = 64
"""Operators that one account may have stake with."""
FIRST_SCORE: Final = BASIS // 2
"""Reputation that a validator begins with."""


class Operator(Record, frozen=True):
    """An operator's validator, as far as it is not stake.

    Attributes:
        public_key: consensus key that it votes with, or from the next epoch on.
        moniker: for people.
        commission: its share of what its pool earns.
        raised: the epoch in which the commission was last raised, plus one; 0 for never.
        rotated_height: of the last change of key.
        rotated_time: of that block, in ms; 0 for none.
        jailed_until: 0, or, in jail, the first height at which it can be unjailed.
        tombstoned: signed two things where it may sign one; it never votes again.
        score: reputation, 0 .. BASIS (`apps.slashing.reputation`).
    """

    public_key: KeyField
    moniker: MonikerField
    commission: BasisPoints
    raised: Unsigned = 0
    rotated_height: HeightField = Height(0)
    rotated_time: Unsigned = 0
    jailed_until: HeightField = Height(0)
    tombstoned: bool = False
    score: BasisPoints = FIRST_SCORE

    @property
    def jailed(self) -> bool:
        """It does not vote."""
        return bool(self.jailed_until)

    @property
    def address(self) -> Address:
        """Of the consensus key: what names it in validator sets."""
        return Address(address_of(self.public_key))


_params_codec: Final = Codec(StakingParams)
_operator_codec: Final = Codec(Operator)
_pool_codec: Final = Codec(Pool)
_position_codec: Final = Codec(Position)


def staking_params(reader: Reader) -> StakingParams:
    """Return the rules of stake. Raises Refused(CORRUPT_DATABASE) in a state without genesis."""
    value = reader.get(PARAMS)
    if value is None:
        raise Refused(Reason.CORRUPT_DATABASE, "the record staking/params is missing")
    return _params_codec.decode(value)


def set_staking_params(state: Overlay, new: StakingParams) -> None:
    """Write the rules of stake."""
    state.put(PARAMS, encode(new))


# ---- operators and their keys


def find_operator(reader: Reader, operator: bytes) -> Operator | None:
    """Return an operator's record, or None if the account never made a validator."""
    value = reader.get(OPERATOR + operator)
    return None if value is None else _operator_codec.decode(value)


def get_operator(reader: Reader, operator: bytes) -> Operator:
    """Return an operator's record. Raises Refused(UNKNOWN_VALIDATOR)."""
    found = find_operator(reader, operator)
    if found is None:
        raise Refused(Reason.UNKNOWN_VALIDATOR, f"{encode_address(operator)} operates no validator")
    return found


def set_operator(state: Overlay, operator: Address, new: Operator) -> None:
    """Write an operator's record."""
    state.put(OPERATOR + operator, encode(new))


def operator_of_key(reader: Reader, key_address: bytes) -> Address | None:
    """Return the operator whose consensus key this is or ever was, or None."""
    value = reader.get(KEY + key_address)
    return None if value is None else Address(value)


def bind_key(state: Overlay, key_address: Address, operator: Address) -> None:
    """Note for ever that a consensus key is an operator's."""
    state.put(KEY + key_address, operator)


# ---- pools and positions


def pool_of(reader: Reader, operator: bytes) -> Pool:
    """Return what is bonded with an operator; an empty pool if nothing is."""
    value = reader.get(POOL + operator)
    return Pool() if value is None else _pool_codec.decode(value)


def set_pool(state: Overlay, operator: Address, new: Pool) -> None:
    """Write what is bonded with an operator. What is left in a pool without owners goes to the fees."""
    if new.shares:
        state.put(POOL + operator, encode(new))
        return
    state.delete(POOL + operator)
    if new.amount or new.unpaid:
        set_fee_pool(state, fee_pool(state) + new.amount + new.unpaid)


def bonded(reader: Reader, operator: bytes) -> Amount:
    """Return the unxs that are bonded with an operator, by itself and by others."""
    return pool_of(reader, operator).amount


def power_of(amount: int, halves: int = 2) -> int:
    """Return the voting power of bonded unxs: one for each whole nxs, times the share that the proofs leave of it."""
    return amount // UNXS_PER_NXS * halves // 2


def position_of(reader: Reader, owner: bytes, operator: bytes) -> Position:
    """Return an owner's part of an operator's pool; one without shares if it has none."""
    value = reader.get(DELEGATION + owner + operator)
    return Position(Amount(0), NO_INDEX) if value is None else _position_codec.decode(value)


def set_position(state: Overlay, owner: Address, operator: Address, new: Position) -> None:
    """Write an owner's part of an operator's pool, and keep the list of the owner's operators."""
    key = DELEGATION + owner + operator
    if not new.shares:
        if state.get(key) is not None:
            state.delete(key)
            write_list(state, DELEGATIONS + owner, [one for one in delegations(state, owner) if one != operator])
        return
    if state.get(key) is None:
        write_list(state, DELEGATIONS + owner, [*delegations(state, owner), operator])
    state.put(key, encode(new))


def delegations(reader: Reader, owner: bytes) -> list[Address]:
    """Return the operators that an owner has stake with, in the order in which it began."""
    return read_list(reader, DELEGATIONS + owner)


def candidates(reader: Reader) -> list[Address]:
    """Return the operators that the next set is chosen from."""
    return read_list(reader, CANDIDATES)


def set_candidates(state: Overlay, new: list[Address]) -> None:
    """Write the operators that the next set is chosen from."""
    write_list(state, CANDIDATES, new)


def read_list(reader: Reader, key: bytes, size: int = HASH_SIZE) -> list[Address]:
    """Return a record's fields of equal size; an absent record has none."""
    joined = reader.get(key) or b""
    return [Address(joined[start : start + size]) for start in range(0, len(joined), size)]


def write_list(state: Overlay, key: bytes, items: list[Address]) -> None:
    """Write fields of equal size; without any the record goes."""
    if items:
        state.put(key, b"".join(items))
    else:
        state.delete(key)


# ---- money that waits


def commission_of(reader: Reader, operator: bytes) -> Amount:
    """Return the commission in unxs that waits for an operator."""
    return read_number(reader, COMMISSION + operator)


def set_commission(state: Overlay, operator: Address, amount: int) -> None:
    """Write the commission that waits for an operator."""
    write_number(state, COMMISSION + operator, amount)
