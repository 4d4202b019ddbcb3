"""Light verification: what follows from a trusted header, and what does not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.commit import make_commit
from consensus.light import (
    LightBlock,
    TrustParams,
    check_first,
    conflict,
    light_block_codec,
    middle_height,
    verify_light,
)
from consensus.types import Header, Tip, Validator, ValidatorSet, Vote, VoteKind, make_validator_set, vote_sign_bytes
from crypto.errors import Reason, Refused
from state.encoding import encode
from state.types import Address, Height, Round
from tests.consensus.parts import (
    CHAIN,
    GENESIS_TIME,
    KeyedHash,
    commit_of,
    genesis_tip,
    hash32,
    make_validators,
    offered,
    signature,
    tip_after,
)

VERIFIER = KeyedHash()
PARAMS = TrustParams(CHAIN, trust_period=60_000)
NOW = GENESIS_TIME + 20_000


def chain(length: int, changes: dict[int, ValidatorSet] | None = None) -> list[LightBlock]:
    """Light blocks 1 to `length`; `changes` gives the set that a height's header names as the next."""
    tip: Tip = genesis_tip(make_validators([10] * 4))
    blocks = []
    for height in range(1, length + 1):
        tip = tip._replace(next_validators=(changes or {}).get(height, tip.next_validators))
        proposal = offered(tip, 0)
        commit = commit_of(tip, proposal, range(len(tip.validators)))
        blocks.append(LightBlock(proposal.header, commit, tip.validators))
        tip = tip_after(tip, proposal, commit)._replace(priorities=(0,) * len(tip.next_validators))
    return blocks


def refused(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as error:
        call()
    return error.value.reason


def verdict(trusted: LightBlock, new: LightBlock, now: int = NOW) -> Reason | None:
    try:
        verify_light(trusted, new, now, PARAMS, VERIFIER)
    except Refused as error:
        return error.reason
    return None


BLOCKS = chain(9)


def with_header(block: LightBlock, **changes: object) -> LightBlock:
    fields = {name: getattr(block.header, name) for name in Header.__struct_fields__} | changes
    return replace(block, header=Header(**fields))


def test_adjacent_and_skipping() -> None:
    assert verdict(BLOCKS[0], BLOCKS[1]) is None
    assert verdict(BLOCKS[0], BLOCKS[8]) is None
    assert light_block_codec.decode(encode(BLOCKS[3])) == BLOCKS[3]


def test_first_block_from_genesis() -> None:
    genesis = make_validators([10] * 4)
    check_first(BLOCKS[0], genesis, CHAIN, VERIFIER)
    assert refused(lambda: check_first(BLOCKS[1], genesis, CHAIN, VERIFIER)) is Reason.WRONG_HEIGHT
    assert refused(lambda: check_first(BLOCKS[0], make_validators([1]), CHAIN, VERIFIER)) is Reason.BAD_HEADER


@pytest.mark.parametrize(("new", "now", "reason"), [
    (BLOCKS[4], GENESIS_TIME + 62_000, Reason.TRUST_EXPIRED),
    (BLOCKS[1], NOW, Reason.WRONG_HEIGHT),
    (BLOCKS[0], NOW, Reason.WRONG_HEIGHT),
    (BLOCKS[8], GENESIS_TIME - 2_000, Reason.BAD_TIME),
    (with_header(BLOCKS[4], time=BLOCKS[1].header.time), NOW, Reason.BAD_TIME),
    (with_header(BLOCKS[4], chain_id=hash32("x")), NOW, Reason.WRONG_CHAIN),
    (with_header(BLOCKS[4], state_root=hash32("x")), NOW, Reason.BAD_COMMIT),
    (replace(BLOCKS[4], validators=make_validators([10] * 5)), NOW, Reason.BAD_HEADER),
    (replace(BLOCKS[4], commit=BLOCKS[5].commit), NOW, Reason.BAD_COMMIT),
    (replace(BLOCKS[4], commit=replace(BLOCKS[4].commit, round=Round(1))), NOW, Reason.BAD_SIGNATURE),
    (with_header(BLOCKS[2], validators_hash=hash32("x")), NOW, Reason.BAD_HEADER),
])
def test_what_does_not_follow_is_refused_by_name(new: LightBlock, now: int, reason: Reason) -> None:
    assert verdict(BLOCKS[1], new, now) is reason


def test_a_changed_set_is_reached_step_by_step() -> None:
    others = make_validator_set([
        Validator(Address(hash32(f"new {index}")), b"\x01" + hash32(f"new key {index}"), 10, Address(bytes(32)))
        for index in range(4)
    ])
    half = make_validator_set([*make_validators([10] * 4).validators[:2], *others.validators[:2]])
    blocks = chain(9, {3: half, 6: others})
    assert verdict(blocks[0], blocks[8]) is Reason.UNTRUSTED
    assert middle_height(Height(1), Height(9)) == 5
    assert [verdict(blocks[i], blocks[j]) for i, j in ((0, 4), (4, 8))] == [None, None]
    assert refused(lambda: middle_height(Height(4), Height(5))) is Reason.UNTRUSTED
    assert verdict(blocks[6], blocks[7]) is None


def test_a_set_that_names_one_validator_twice_counts_it_once() -> None:
    """A forged set: one trusted validator of four, malicious, listed four times."""
    traitor = make_validators([10] * 4).validators[0]
    forged = ValidatorSet((traitor,) * 4)
    new = with_header(BLOCKS[8], validators_hash=forged.hash)
    message = vote_sign_bytes(CHAIN, VoteKind.PRECOMMIT, new.height, Round(0), new.header.block_id)
    votes = [
        Vote(VoteKind.PRECOMMIT, new.height, Round(0), new.header.block_id, index,
             signature(traitor.public_key, message))
        for index in range(4)
    ]
    commit = make_commit(new.height, Round(0), new.header.block_id, votes)
    assert verdict(BLOCKS[0], LightBlock(new.header, commit, forged)) is Reason.BAD_HEADER


def test_fork_detection_and_trust_level() -> None:
    other = with_header(BLOCKS[4], beacon=hash32("x"))
    assert conflict(BLOCKS[4], other) and not conflict(BLOCKS[4], BLOCKS[4]) and not conflict(BLOCKS[3], other)
    assert refused(lambda: TrustParams(CHAIN, 1, trust_level=(1, 4))) is Reason.BAD_ARGUMENT
