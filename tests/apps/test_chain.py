"""What every block does: anchors, beacon, fees, proposer turns, evidence, changes of the validator set."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.chain import records
from apps.chain.clock import oldest_epoch
from apps.chain.tip import genesis_tip
from apps.registry import answer_query
from apps.staking.records import get_operator, pool_of, set_operator
from apps.token.messages import Transfer as Pay
from consensus.block import make_header
from consensus.proposer import advance
from consensus.types import (
    Commit,
    CommitSignature,
    DuplicateProposal,
    DuplicateVote,
    Evidence,
    LightClientAttack,
    Validator,
    ValidatorSet,
    Vote,
    VoteKind,
    make_validator_set,
)
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from state import ledger
from state.changes import Overlay
from state.params import ChainParams, SecurityParams
from state.types import NATIVE, Address, Amount, BlockId, Height, Round
from tests.apps.world import CHAIN, FEE, World, address, fake_key

POWERS = {f"op{power}": power for power in (1, 2, 3)}


def pay() -> Pay:
    return Pay(NATIVE, address("bob"), Amount(1))


def vote(world: World, block_id: bytes, signature: bytes = b"s", height: int = 1) -> Vote:
    return Vote(VoteKind.PREVOTE, Height(height), Round(0), BlockId(block_id), 0, signature)


def evidence(world: World, signature: bytes = b"s", height: int = 1, place: int = 0) -> Evidence:
    validator = records.validators_at(world.records, 1).validators[place].address
    first, second = vote(world, b"\x01" * 32, signature, height), vote(world, b"\x02" * 32, signature, height)
    return DuplicateVote(validator, first, second)


def test_fees_go_to_the_signers_by_power_in_the_next_block(world: World) -> None:
    world.block(world.call("alice", pay()), world.call("bob", pay()))
    assert records.fee_pool(world.records) == 2 * FEE
    assert [ledger.balance(world.records, address(name), NATIVE) for name in POWERS] == [0, 0, 0]
    result = world.block()
    shares = {name: 2 * FEE * power // 6 for name, power in POWERS.items()}
    for name, share in shares.items():
        assert pool_of(world.records, address(name)).unpaid == share
    assert records.fee_pool(world.records) == 2 * FEE - sum(shares.values())
    assert sorted(int(dict(event.attributes)["amount"]) for event in result.events) == sorted(shares.values())
    assert answer_query(world.records, "chain/fees", {}) == {"amount": 2 * FEE - sum(shares.values())}


def test_only_signers_are_paid(world: World) -> None:
    world.block(world.call("alice", pay()))
    index = next(
        index for index, one in enumerate(records.validators_at(world.records, 1).validators) if one.power == 3
    )
    commit = Commit(Height(1), Round(0), world.tip, (CommitSignature(index, b""),))
    world.block(last_commit=commit)
    assert pool_of(world.records, address("op3")).unpaid == FEE
    assert pool_of(world.records, address("op1")).unpaid == 0
    assert records.fee_pool(world.records) == 0
    assert records.FEES not in world.records


def test_first_block_has_nobody_to_pay(world: World) -> None:
    assert world.block().events == ()


def test_priorities_and_anchors_move_on(world: World) -> None:
    validators = records.validators_at(world.records, 1)
    before = records.priorities(world.records)
    assert before == (0, 0, 0)
    world.block()
    assert records.priorities(world.records) == advance(validators, before)
    assert records.anchor(world.records, CHAIN) == (0, 0)


def test_evidence_is_recorded_once_whatever_its_signatures(world: World) -> None:
    world.block()
    result = world.block(evidence=(evidence(world),))
    assert result.events[0].name == "chain/evidence"
    assert records.is_recorded(world.records, evidence(world, b"other"))
    for again in [(evidence(world, b"other"),)]:
        with pytest.raises(Refused) as caught:
            world.execute(evidence=again)
        assert caught.value.reason is Reason.BAD_EVIDENCE
    other = records.validators_at(world.records, 1).validators[1].address
    proposal = DuplicateProposal(
        other, Height(1), Round(0), (-1, BlockId(b"\1" * 32), b""), (-1, BlockId(b"\2" * 32), b"")
    )
    world.block(evidence=(proposal,))
    assert records.is_recorded(world.records, proposal)
    with pytest.raises(Refused) as caught:
        world.execute(evidence=(evidence(world, height=2, place=2), evidence(world, b"other", height=2, place=2)))
    assert caught.value.reason is Reason.BAD_EVIDENCE


def test_a_light_client_attack_names_a_recent_block_of_this_chain(world: World) -> None:
    tip = genesis_tip(world.records, CHAIN, 0, bytes(32))
    trusted = make_header(tip, time=1, proposer=tip.validators.validators[0].address, wtxids=(),
                          last_commit=tip.commit)
    other = replace(trusted, state_root=b"\x09" * 32)
    attack = LightClientAttack(
        tip.validators.validators[0].address, Height(1), trusted, other, Round(0), b"s"
    )
    world.block()
    with pytest.raises(Refused) as caught:
        world.execute(evidence=(attack,))
    assert caught.value.reason is Reason.BAD_EVIDENCE
    world.tip = trusted.block_id
    world.block()
    for wrong in (replace(attack, trusted=other), replace(attack, trusted=replace(trusted, height=Height(2)))):
        with pytest.raises(Refused) as caught:
            world.execute(evidence=(wrong,))
        assert caught.value.reason is Reason.BAD_EVIDENCE
    world.block(evidence=(attack,))
    assert records.is_recorded(world.records, replace(attack, signature=b"other"))
    with pytest.raises(Refused) as caught:
        world.execute(evidence=(attack,))
    assert caught.value.reason is Reason.BAD_EVIDENCE


def test_evidence_has_an_age() -> None:
    """Both bounds have to be passed: 3 heights, and 2 s after the fault's epoch, of 2 blocks of 1 s each."""
    security = SecurityParams(evidence_age=2_000, unbonding=2_000, trust_period=1_000, epoch_length=2)
    world = World(params=ChainParams(evidence_window=3), security=security)

    def reason(height: int) -> Reason:
        with pytest.raises(Refused) as caught:
            world.execute(evidence=(evidence(world, height=height),))
        return caught.value.reason

    for _ in range(4):
        world.block()
    assert reason(5) is reason(0) is Reason.BAD_EVIDENCE  # the block is of height 5
    world.execute(evidence=(evidence(world, height=1),))  # 4 heights old, but 2 s after height 2 are just over
    world.block(evidence=(evidence(world, height=2),))
    assert oldest_epoch(world.records) == 1
    assert reason(1) is reason(2) is Reason.BAD_EVIDENCE
    world.execute(evidence=(evidence(world, height=3, place=1),))
    key = records.EVIDENCE + records.offence_id(evidence(world, height=2))
    assert key in world.records  # recorded at height 5
    for _ in range(4):
        world.block()
    assert oldest_epoch(world.records) == 3
    assert key not in world.records and records.OFFENCE + bytes(8) not in world.records


def test_a_change_of_validators_votes_from_two_heights_later() -> None:
    security = SecurityParams(evidence_age=2_000, unbonding=2_000, trust_period=1_000, epoch_length=2)
    world = World(params=ChainParams(evidence_window=3), security=security)
    old = records.validators_at(world.records, 1)
    new = make_validator_set(old.validators[:2])
    out = old.validators[2].operator
    state = Overlay(world.records)
    set_operator(state, out, replace(get_operator(state, out), jailed_until=Height(99)))  # no epoch brings it back
    world.take(state.changes())

    def decide(height: int, validators: ValidatorSet) -> None:
        state = Overlay(world.records)
        records.set_validators(state, height + 2, validators)
        world.take(state.changes())

    decide(0, new)  # decided before block 1: votes from height 2
    assert [records.validators_at(world.records, height) for height in (0, 1, 2, 9)] == [old, old, new, new]
    assert len(records.priorities(world.records)) == 3
    world.block()
    assert len(records.priorities(world.records)) == 2
    for _ in range(5):
        world.block()
    with pytest.raises(Refused) as caught:
        records.validators_at(world.records, 1)
    assert caught.value.reason is Reason.NOT_AVAILABLE
    assert records.SET + old.hash not in world.records
    decide(world.height, old)
    decide(world.height, new)  # a later decision for the same height replaces the earlier
    assert records.validators_at(world.records, world.height + 2) == new
    assert records.SET + old.hash not in world.records


def sets_of(world: World) -> set[bytes]:
    return {key.removeprefix(records.SET) for key in world.records if key.startswith(records.SET)}


def test_each_key_is_stored_once_however_many_sets_name_it(world: World) -> None:
    first = records.validators_at(world.records, 1)
    keys = {one.public_key for one in first.validators}
    for power in range(10, 20):
        state = Overlay(world.records)
        voters = [replace(one, power=power + index) for index, one in enumerate(first.validators)]
        records.set_validators(state, power, make_validator_set(voters))
        world.take(state.changes())
    stored = [value for key, value in world.records.items() if key.startswith(records.KEY)]
    assert sorted(stored) == sorted(keys)
    assert len(sets_of(world)) == 11
    assert max(len(world.records[records.SET + one]) for one in sets_of(world)) < 80 * len(keys)


DECISIONS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 4), min_size=1),  # who votes
        st.integers(1, 2),  # with which power
        st.integers(0, 1),  # heights since the last decision: none replaces it
        st.integers(0, 4),  # heights that are kept then
    ),
    max_size=12,
)


@given(DECISIONS)
@example([({0, 1}, 1, 1, 9), ({1}, 1, 1, 9), ({0, 1}, 1, 1, 0), ({2}, 1, 1, 0), ({2}, 1, 0, 0)])
def test_sets_come_back_whole_and_leave_nothing_behind(decisions: list[tuple[set[int], int, int, int]]) -> None:
    """Against a plain dictionary of who votes from which height on."""
    state, model = Overlay({}), {0: make_validator_set([voter(9, 1)])}
    records.set_validators(state, 0, model[0])
    height = 0
    for who, power, step, keep in decisions:
        height += step
        model[height] = make_validator_set([voter(number, power) for number in who])
        records.set_validators(state, height, model[height])
        oldest = max(0, height - keep)
        first = max((start for start in model if start <= oldest), default=0)
        model = {start: one for start, one in model.items() if start >= first}
        records.forget_old_sets(state, oldest)
        for start, expected in model.items():
            assert records.validators_at(state, start) == expected
        kept = {one.hash: one for one in model.values()}
        keys = Counter(one.public_key for chosen in kept.values() for one in chosen.validators)
        found = {key: value for key, (_, value) in state.changes().entries.items() if value is not None}
        changes = {key for key in found if key.startswith(records.CHANGE)}
        assert len(changes) == len(model)
        assert found.keys() - changes == {records.SETS} | {
            prefix + one for one in kept for prefix in (records.SET, records.STARTS)
        } | {prefix + address_of(key) for key in keys for prefix in (records.KEY, records.USES)}
        assert all(ledger.read_number(state, records.USES + address_of(key)) == count for key, count in keys.items())


def test_a_set_is_found_by_few_small_reads_among_thousands() -> None:
    overlay = Overlay({})
    turns = [make_validator_set([voter(number, 1)]) for number in range(3)]
    for height in range(0, 6000, 2):
        records.set_validators(overlay, height, turns[height // 2 % 3])
    state = Counted({key: value for key, (_, value) in overlay.changes().entries.items() if value is not None})
    for height, most in ((6001, 6), (5998, 6), (5996, 6), (5994, 7), (1234, 20), (0, 20)):
        state.sizes.clear()
        assert records.validators_at(state, height) == turns[min(height, 5998) // 2 % 3]
        assert len(state.sizes) <= most  # those of the set itself among them
        assert max(state.sizes) < 4000


class Counted(dict[bytes, bytes]):
    """A state that remembers how much was read from it."""

    def __init__(self, records: dict[bytes, bytes]) -> None:
        super().__init__(records)
        self.sizes: list[int] = []

    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        value = super().get(key)
        self.sizes.append(len(value or b""))
        return value


def voter(number: int, power: int) -> Validator:
    key = fake_key(f"voter {number}")
    return Validator(Address(address_of(key)), key, power, address(f"operator {number}"))


@pytest.mark.parametrize(("prefix", "power"), [(records.SET, 101), (records.KEY, 102)])
def test_a_set_with_a_part_missing_or_changed_is_a_corrupt_database(prefix: bytes, power: int) -> None:
    """No other test has these sets: one that was read before is not read again."""
    state = Overlay({})
    chosen = make_validator_set([voter(number, power) for number in (1, 2)])
    records.set_validators(state, 1, chosen)
    (place, *_) = [key for key in state.changes().entries if key.startswith(prefix)]
    value = state.get(place)
    assert value is not None
    for damage in (None, value[:-1] + bytes([value[-1] ^ 1])):
        broken = Overlay(state)
        if damage is None:
            broken.delete(place)
        else:
            broken.put(place, damage)
        with pytest.raises(Refused) as caught:
            records.validators_at(broken, 1)
        assert caught.value.reason is Reason.CORRUPT_DATABASE
    assert records.validators_at(state, 1) == chosen


def test_queries(world: World) -> None:
    answer = answer_query(world.records, "chain/validators", {"height": "1"})
    assert (answer["total_power"], len(answer["validators"])) == (6, 3)
    assert answer_query(world.records, "chain/params", {})["anchor_window"] == 1024
    for parameters in ({}, {"height": "-1"}, {"height": "x"}, {"height": "9" * 20}):
        with pytest.raises(Refused) as caught:
            answer_query(world.records, "chain/validators", parameters)
        assert caught.value.reason is Reason.BAD_ARGUMENT


def test_state_without_genesis_is_named() -> None:
    with pytest.raises(Refused) as caught:
        records.params({})
    assert caught.value.reason is Reason.CORRUPT_DATABASE
