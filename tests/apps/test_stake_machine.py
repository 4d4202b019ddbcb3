"""Random histories of stake against the exact model: nobody ever has more than it says, nor much less."""

from fractions import Fraction
from functools import cache
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from apps.chain.accusations import check_accusation
from apps.chain.records import fee_pool, validators_at
from apps.slashing.messages import Unjail
from apps.slashing.rules import check_accused
from apps.staking.leaving import entries_of, entry_amount, moving_due
from apps.staking.messages import (
    Claim,
    CreateValidator,
    Delegate,
    EditValidator,
    Redelegate,
    RotateKey,
    Unbond,
    possession_digest,
)
from apps.staking.pool import ONE, due, worth
from apps.staking.records import (
    bonded,
    commission_of,
    find_operator,
    operator_of_key,
    pool_of,
    position_of,
)
from consensus.types import Commit, CommitSignature, DuplicateVote, Vote, VoteKind
from crypto.errors import Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme, address_of
from state.encoding import Record
from state.ledger import balance
from state.params import ChainParams, SecurityParams, StakingParams
from state.types import NATIVE, Address, Amount, BlockId, Height, Round
from tests.apps.stake_model import StakeModel
from tests.apps.world import CHAIN, FEE, START, World, address

OPERATORS = ("op1", "op2", "op3", "new")
OWNERS = (*OPERATORS, "alice", "bob")
EPOCH = 4
SECURITY = SecurityParams(evidence_age=9_000, unbonding=6_000, trust_period=1_000, epoch_length=EPOCH)
STAKING = StakingParams(
    unbonding_blocks=5, slash_double_sign=1_234, slash_downtime=3_333, downtime_window=3, min_signed=5_000,
    jail_blocks=1, max_commission_step=5_000, inflation=700,
)
AMOUNTS = (1, 2, 3, 7, 10, 999_999, 1_000_003, 5_000_000, START // 3)

owners = st.sampled_from(OWNERS)
operators = st.sampled_from(OPERATORS)
amounts = st.sampled_from(AMOUNTS)
picks = st.integers(0, 40)
parts = st.sampled_from([Fraction(1, 3), Fraction(9, 10), Fraction(1)])


@cache
def spare_key(number: int) -> SecretKey:
    return SecretKey.from_seed(Scheme.FALCON, bytes([100 + number]) * 32)


class StakeMachine(RuleBasedStateMachine):
    """Each rule makes blocks on the real rules, tells the model what happened, and compares."""

    @initialize()
    def begin(self) -> None:
        self.world = World(
            params=ChainParams(evidence_window=12), security=SECURITY, staking=STAKING, names=OWNERS
        )
        self.time = 1_000
        self.marks: dict[int, int] = {}
        self.done = 0
        self.keys = 0
        self.fees: dict[Address, int] = {address(owner): 0 for owner in OWNERS}
        self.model = StakeModel(EPOCH)
        for power in (1, 2, 3):
            operator = address(f"op{power}")
            self.model.stake[operator, operator] += power * 10**6
            self.model.rates[operator] = 0

    # ---- blocks

    def block(self, sender: str = "", message: Record | None = None, step: int = 1_000, **changes: Any) -> bool:
        """Make a block; return whether its message succeeded."""
        self.time += step
        self.done += 1
        world = self.world
        if message is not None and balance(world.records, address(sender), NATIVE) < FEE:
            return False
        calls = [] if message is None else [world.call(sender, message)]
        before, pool = dict(world.records), fee_pool(world.records)
        commit = world.last_commit
        result = world.block(*calls, time=self.time, **changes)
        self._begin(before, pool, commit, result.events)
        receipts = result.receipts
        if receipts:
            self.fees[address(sender)] += FEE
        succeeded = bool(receipts) and not receipts[0].reason
        if succeeded and message is not None:
            self._apply(address(sender), message)
        self._end(result.events)
        self._compare()
        return succeeded

    def _begin(self, before: dict[bytes, bytes], pool: int, commit: Commit, events: Any) -> None:
        pool += sum(int(dict(event.attributes)["amount"]) for event in events if event.name == "staking/mint")
        if commit.signatures:
            voters = validators_at(before, commit.height).validators
            signers = [voters[one.validator] for one in commit.signatures]
            for signer in signers:
                found = find_operator(before, signer.operator)
                share = pool * signer.power // sum(one.power for one in signers)
                if share and found is not None and not found.tombstoned and bonded(before, signer.operator):
                    self.model.reward(signer.operator, share)
        for event in events:
            if event.name == "staking/slash":
                said = dict(event.attributes)
                self.model.slash(Address(bytes.fromhex(said["operator"])), int(said["fault"]), int(said["share"]))

    def _apply(self, sender: Address, message: Record) -> None:
        epoch = (self.world.height - 1) // EPOCH
        match message:
            case Delegate(operator, amount):
                self.model.delegate(sender, operator, amount)
            case Unbond(operator, amount):
                self.model.set_out(sender, operator, None, epoch, amount)
            case Redelegate(source, target, amount):
                self.model.set_out(sender, source, target, epoch, amount)
            case CreateValidator(commission=commission, amount=amount):
                self.model.delegate(sender, sender, amount)
                self.model.rates[sender] = commission
            case EditValidator(commission=commission):
                self.model.rates[sender] = commission

    def _end(self, events: Any) -> None:
        height = self.world.height
        if height % EPOCH == 0:
            self.marks[(height - 1) // EPOCH] = self.time
        ripe = [
            epoch for epoch, mark in self.marks.items()
            if height > (epoch + 1) * EPOCH + 1 + STAKING.unbonding_blocks and self.time >= mark + SECURITY.unbonding
        ]
        arrived = self.model.arrive(ripe)
        assert arrived == sum(event.name in ("staking/unbonded", "staking/redelegated") for event in events)
        for operator in self.model.rates:
            if not pool_of(self.world.records, operator).shares:
                self.model.empty(operator)

    def _compare(self) -> None:
        """Nobody has more than the model says; and less only by roundings, at most two a block."""
        records: Any = self.world.records
        for owner in map(address, OWNERS):
            mine = [one for _, one in entries_of(records, owner)]
            got = balance(records, owner, NATIVE) - START + self.fees[owner]
            held = Fraction(got)
            exact = self.model.home[owner]
            for operator in self.model.rates:
                pool, position = pool_of(records, operator), position_of(records, owner, operator)
                staked = self.model.stake[owner, operator]
                assert worth(pool, position.shares) <= staked <= worth(pool, position.shares) + self.done * 2
                held += worth(pool, position.shares) + due(pool, position) + moving_due(records, owner, operator)
                exact += staked + self.model.rewards[owner, operator]
                if owner == operator:
                    held += commission_of(records, operator)
                    exact += self.model.commission[operator]
            held += sum(entry_amount(records, one) for one in mine)
            exact += sum(one.amount for one in self.model.away if one.owner == owner)
            assert held <= exact <= held + self.done * 8
        for operator in self.model.rates:
            pool = pool_of(records, operator)
            assert pool.amount >= sum(amount for _, amount in self.model.bonded(operator)) - (0 if pool.shares else 1)
            assert pool.shares * pool.price <= pool.amount * ONE

    # ---- rules

    @rule(owner=owners, operator=operators, amount=amounts)
    def delegate(self, owner: str, operator: str, amount: int) -> None:
        self.block(owner, Delegate(address(operator), Amount(amount)))

    @rule(pick=picks, part=parts)
    def unbond(self, pick: int, part: Fraction) -> None:
        owner, operator = self._staker(pick)
        self.block(owner, Unbond(address(operator), self._part(owner, operator, part)))

    @rule(pick=picks, to=operators, part=parts)
    def redelegate(self, pick: int, to: str, part: Fraction) -> None:
        owner, source = self._staker(pick)
        self.block(owner, Redelegate(address(source), address(to), self._part(owner, source, part)))

    def _staker(self, pick: int) -> tuple[str, str]:
        """Return an owner and an operator that it has stake with, or had."""
        names = {address(name): name for name in OWNERS}
        pairs = sorted(
            (names[owner], names[operator]) for (owner, operator), held in self.model.stake.items() if held
        )
        return pairs[pick % len(pairs)] if pairs else ("alice", "op1")

    def _part(self, owner: str, operator: str, part: Fraction) -> Amount:
        records: Any = self.world.records
        pool = pool_of(records, address(operator))
        return Amount(int(worth(pool, position_of(records, address(owner), address(operator)).shares) * part))

    @rule(pick=picks)
    def claim(self, pick: int) -> None:
        owner, operator = self._staker(pick)
        self.block(owner, Claim(address(operator)))

    @rule(owner=owners, operator=operators)
    def claim_anywhere(self, owner: str, operator: str) -> None:
        self.block(owner, Claim(address(operator)))

    @rule(operator=operators, back=st.integers(0, 8), second=st.booleans())
    def sign_twice(self, operator: str, back: int, second: bool) -> None:
        found = find_operator(self.world.records, address(operator))
        if found is None:
            return
        fault = Height(max(1, self.world.height - back))
        votes = [
            Vote(VoteKind.PREVOTE, fault, Round(int(second)), BlockId(bytes([one]) * 32), 0, b"") for one in (1, 2)
        ]
        evidence = DuplicateVote(found.address, *votes)
        if self.world.height and evidence_is_new(self.world, evidence):
            self.block(evidence=(evidence,))

    @rule(gone=st.sets(st.sampled_from(OPERATORS), max_size=2), times=st.integers(2, 5))
    def absent(self, gone: set[str], times: int) -> None:
        names = {address(name) for name in gone}
        for _ in range(times):
            commit = self.world.last_commit
            if commit.signatures:
                voters = validators_at(self.world.records, commit.height).validators
                signed = tuple(
                    CommitSignature(index, b"") for index, one in enumerate(voters) if one.operator not in names
                )
                self.world.last_commit = Commit(commit.height, commit.round, commit.block_id, signed)
            self.block()

    @rule(times=st.integers(1, 6), step=st.sampled_from([1_000, 4_000]))
    def wait(self, times: int, step: int) -> None:
        for _ in range(times):
            self.block(step=step)

    @rule(patient=st.booleans())
    def unjail(self, patient: bool) -> None:
        for operator in OPERATORS:
            found = find_operator(self.world.records, address(operator))
            if found is None or not found.jailed:
                continue
            while patient and self.world.height + 1 < found.jailed_until:
                self.block()
            if self.block(operator, Unjail()):
                again = find_operator(self.world.records, address(operator))
                assert again is not None and not again.jailed and not again.tombstoned

    @rule(operator=operators, commission=st.sampled_from([0, 333, 10_000]))
    def edit(self, operator: str, commission: int) -> None:
        self.block(operator, EditValidator("name", commission))

    @rule(operator=operators)
    def rotate(self, operator: str) -> None:
        key, proof = self._key(operator)
        if self.block(operator, RotateKey(key, proof)):
            self.keys += 1
            found = find_operator(self.world.records, address(operator))
            assert found is not None and found.public_key == key
            assert operator_of_key(self.world.records, address_of(key)) == address(operator)

    @rule(amount=amounts, commission=st.sampled_from([0, 1, 5_000]))
    def create(self, amount: int, commission: int) -> None:
        key, proof = self._key("new")
        if self.block("new", CreateValidator(key, proof, "new", commission, Amount(amount))):
            self.keys += 1

    def _key(self, operator: str) -> tuple[bytes, bytes]:
        key = spare_key(self.keys % 6)
        return key.public_key, key.sign(possession_digest(CHAIN, address(operator), key.public_key))


def evidence_is_new(world: World, evidence: DuplicateVote) -> bool:
    """Whether a block may hold it; that it may not hold what this refuses, tests/apps/test_slashing.py shows."""
    try:
        check_accusation(world.records, evidence, Height(world.height + 1))
        check_accused(world.records, evidence)
    except Refused:
        return False
    return True


def test_random_histories() -> None:
    run_state_machine_as_test(
        StakeMachine, settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )
