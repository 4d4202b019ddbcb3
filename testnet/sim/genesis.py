"""The genesis of a run: parameters small enough for their limits to be met within a hundred blocks."""

from collections.abc import Sequence
from random import Random
from typing import Final

from consensus.effects import Signer
from state.genesis import NATIVE_SYMBOL, Genesis, GenesisBalance, GenesisOutput, GenesisValidator
from state.params import BASIS, ChainParams, ProofParams, SecurityParams, StakingParams, Timing
from state.version import PROTOCOL_VERSION
from testnet.sim.load import COIN, COINS, FUNDS, Person

GENESIS_TIME: Final = 1_700_000_000_000
POWER: Final = 10
MINUTE: Final = 60_000


def make_genesis(
    signers: Sequence[Signer], operators: Sequence[Person], people: Sequence[Person], liars: bool, random: Random
) -> Genesis:
    """Return a genesis.

    Args:
        signers: consensus keys, one for each validator.
        operators: who run them, in the same order.
        people: who have money, operators included.
        liars: some validators lie. Then nobody else loses power: the chain bears only so many of them.
        random: draws the parameters.
    """
    validators = tuple(
        GenesisValidator(signer.public_key, POWER, operator.address, f"node{place}")
        for place, (signer, operator) in enumerate(zip(signers, operators, strict=True))
    )
    owners = [person.address for person in people]
    staking = StakingParams(
        unbonding_blocks=random.randint(10, 40), downtime_window=random.randint(10, 30),
        min_signed=0 if liars else BASIS // 2, slash_downtime=random.choice((1, BASIS // 10)),
        jail_blocks=random.randint(2, 15), inflation=random.choice((0, BASIS)),
    )
    proofs = ProofParams(
        work_bits=0 if liars else random.choice((0, 0, 4)), target_gas=random.choice((0, 20_000)), max_difficulty=6
    )
    return Genesis(
        version=PROTOCOL_VERSION, name="simulated", time=GENESIS_TIME, timing=Timing(),
        chain=ChainParams(
            anchor_window=random.randint(16, 64), expiry_window=random.randint(64, 128),
            evidence_window=random.randint(40, 100),
        ),
        security=SecurityParams(
            evidence_age=2 * MINUTE, unbonding=random.choice((1000, MINUTE)), trust_period=500,
            epoch_length=random.randint(8, 20),
        ),
        validators=validators, staking=staking, proofs=proofs,
        balances=tuple(GenesisBalance(owner, NATIVE_SYMBOL, FUNDS) for owner in owners),
        outputs=tuple(GenesisOutput(owner, NATIVE_SYMBOL, COIN) for owner in owners for _ in range(COINS)),
    )
