"""A world of short epochs and periods, and what tests of stake and punishment ask of it."""

from functools import cache

from apps.chain.records import validators_at
from apps.staking.messages import CreateValidator, possession_digest
from consensus.types import Commit, CommitSignature, DuplicateVote, Vote, VoteKind
from crypto.keys import SecretKey
from crypto.schemes import Scheme
from state.params import ChainParams, SecurityParams, StakingParams
from state.types import UNXS_PER_NXS, Address, Amount, BlockId, Height, Round
from tests.apps.world import CHAIN, World, address

NXS = UNXS_PER_NXS
EPOCH = 4
OPERATORS = ("op1", "op2", "op3")
RULES = StakingParams(
    unbonding_blocks=3, slash_double_sign=500, slash_downtime=100, downtime_window=4, min_signed=5_000, jail_blocks=3
)
SECURITY = SecurityParams(evidence_age=6_000, unbonding=6_000, trust_period=1_000, epoch_length=EPOCH)


@cache
def spare_key(number: int) -> SecretKey:
    """A consensus key that no validator of genesis has."""
    return SecretKey.from_seed(Scheme.FALCON, bytes([50 + number]) * 32)


def staking_world(staking: StakingParams = RULES, security: SecurityParams = SECURITY) -> World:
    """Operators op1, op2, op3 with 1, 2 and 3 nxs of their own, and people; blocks are a second apart."""
    names = (*OPERATORS, "alice", "bob", "carol")
    return World(params=ChainParams(evidence_window=12), security=security, staking=staking, names=names)


def create(who: str, number: int = 0, amount: int = 5 * NXS, commission: int = 1_000) -> CreateValidator:
    """A message that makes somebody an operator."""
    return CreateValidator(*possession(who, number), who, commission, Amount(amount))


def possession(who: str, number: int) -> tuple[bytes, bytes]:
    """A spare key and its proof."""
    key = spare_key(number)
    return key.public_key, key.sign(possession_digest(CHAIN, address(who), key.public_key))


def run_to(world: World, height: int) -> None:
    """Make empty blocks until that height."""
    while world.height < height:
        world.block()


def voters(world: World, height: int) -> dict[Address, int]:
    """Return the power of each operator that votes on a height."""
    return {one.operator: one.power for one in validators_at(world.records, height).validators}


def powers(**named: int) -> dict[Address, int]:
    """The same by names."""
    return {address(name): power for name, power in named.items()}


def double_vote(world: World, operator: str, fault: int, *, at: int | None = None, round: int = 0) -> DuplicateVote:
    """Evidence against the key that an operator votes with at a height (by default that of the fault)."""
    validators = validators_at(world.records, at or fault).validators
    (accused,) = [one.address for one in validators if one.operator == address(operator)]
    votes = [
        Vote(VoteKind.PREVOTE, Height(fault), Round(round), BlockId(bytes([one]) * 32), 0, b"") for one in (1, 2)
    ]
    return DuplicateVote(accused, *votes)


def miss(world: World, *operators: str) -> None:
    """Make a block whose commit is without these operators."""
    gone, commit = {address(name) for name in operators}, world.last_commit
    signed = tuple(
        CommitSignature(index, b"")
        for index, one in enumerate(validators_at(world.records, commit.height).validators)
        if one.operator not in gone
    )
    world.block(last_commit=Commit(commit.height, commit.round, commit.block_id, signed))
