"""Parameters that a chain is born with: groups of the genesis document, kept in the state by the module they steer.

All are plain whole numbers, so that a document can leave out what it does not change. Shares are in basis points
(hundredths of a percent), money in unxs.
"""

from typing import Annotated, Final

from msgspec import Meta

from state.encoding import Record
from state.types import UNXS_PER_NXS, Unsigned

BASIS: Final = 10_000
"""Basis points of the whole."""
FASTEST_VDF: Final = 1_000_000
"""Squarings a second, at 1,024 bits, of the fastest machine that the rules reckon with: several times that of a
processor of 2025 (this code's own reference machine does 150,000)."""
BasisPoints = Annotated[int, Meta(ge=0, le=BASIS)]


class ChainParams(Record, frozen=True):
    """Rules that a block's transactions are checked against. Part of the genesis document and of the state."""

    anchor_window: Annotated[int, Meta(ge=1, le=2**20)] = 1024
    """A: a transaction's anchor is one of this many last block ids."""
    expiry_window: Annotated[int, Meta(ge=1, le=2**20)] = 2048
    """E: a transaction expires at most this many heights after its anchor."""
    min_gas_price: Unsigned = 1
    """Least fee in unxs for one unit of gas."""
    difficulty: Annotated[int, Meta(ge=0, le=64)] = 0
    """Leading zero bits that the hashcash of a transaction needs; 0 asks for none."""
    max_block_bytes: Annotated[int, Meta(ge=1, le=32 << 20)] = 4 << 20
    """Cap on the wire bytes of a block's transactions together."""
    max_block_gas: Unsigned = 20_000_000
    """Cap on the gas wanted of a block's transactions together."""
    evidence_window: Annotated[int, Meta(ge=1, le=2**40)] = 100_000
    """Evidence older than this many heights is refused."""


class Timing(Record, frozen=True):
    """Timing of consensus in ms: the fields of `consensus.types.ConsensusParams`, in the same order."""

    timeout_propose: Unsigned = 1500
    timeout_prevote: Unsigned = 500
    timeout_precommit: Unsigned = 500
    timeout_delta: Unsigned = 500
    timeout_max: Unsigned = 10_000
    block_interval: Unsigned = 400
    precision: Unsigned = 500
    message_delay: Unsigned = 15_000


class SecurityParams(Record, frozen=True):
    """What ties stake to misbehaviour: evidence_age >= unbonding > trust_period, so that who signed a header that a
    light client still trusts can still be slashed for it. Times in ms.
    """

    evidence_age: Unsigned = 21 * 86_400_000
    """Evidence older than this and than the chain parameters' evidence window is refused."""
    unbonding: Unsigned = 21 * 86_400_000
    """Stake stays slashable this long after it stops voting."""
    trust_period: Unsigned = 14 * 86_400_000
    """A light client trusts a header no longer than this."""
    epoch_length: Annotated[int, Meta(ge=1, le=2**32)] = 600
    """Blocks of an epoch; validator sets change at its end."""


class StakingParams(Record, frozen=True):
    """Rules of stake, rewards and punishment (`apps/staking`)."""

    max_validators: Annotated[int, Meta(ge=1, le=256)] = 100
    """Of all candidates this many with the most power vote."""
    min_self_stake: Unsigned = UNXS_PER_NXS
    """An operator with less own stake leaves the set."""
    unbonding_blocks: Annotated[int, Meta(ge=1, le=2**40)] = 50_000
    """Stake that leaves stays slashable for this many blocks, and for `security.unbonding` ms."""
    slash_double_sign: BasisPoints = 500
    """Share of the stake that an equivocator loses."""
    slash_downtime: BasisPoints = 1
    """Share of the stake that an absent validator loses."""
    downtime_window: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Blocks over which a validator's signatures are counted."""
    min_signed: BasisPoints = 5000
    """Share of the window that it has to sign."""
    jail_blocks: Annotated[int, Meta(ge=1, le=2**40)] = 600
    """Least stay in jail after downtime."""
    max_commission_step: BasisPoints = 100
    """A commission rises at most by so much, once in an epoch."""
    inflation: BasisPoints = 0
    """Share of the native supply that is minted in a year of chain time and paid like fees."""


class ProofParams(Record, frozen=True):
    """Which of the proofs besides stake the chain asks for (`apps/proofs`). Zero asks for none of that kind."""

    space_k: Annotated[int, Meta(ge=0, le=50)] = 0
    """Least size of a plot: 2**k entries. k = 18 is remade in seconds and proves only that the code path works."""
    work_bits: Annotated[int, Meta(ge=0, le=64)] = 0
    """Leading zero bits of a validator's hashcash against the epoch's challenge."""
    vdf_iterations: Annotated[int, Meta(ge=0, le=2**40)] = 0
    """Sequential squarings between two beacons. With 1,024 bits they take the fastest machine known longer than three
    rounds of the last block, so that nobody can try blocks for their beacons while he may still replace them."""
    vdf_bits: Annotated[int, Meta(ge=256, le=1024)] = 1024
    """Size of the class group's discriminant; less than 1,024 is for tests alone."""
    target_gas: Unsigned = 0
    """Gas of a block above which the hashcash of transactions gets harder, and below which easier; 0 never changes."""
    max_difficulty: Annotated[int, Meta(ge=0, le=64)] = 24
    """Most leading zero bits that a transaction ever needs."""
    where: Annotated[int, Meta(ge=0, le=1)] = 0
    """1: every transaction names a space record, its payer's or a co-signing sponsor's."""
