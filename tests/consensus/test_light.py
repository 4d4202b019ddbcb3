"""Light verification: what follows from a trusted header, and what does not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.commit import make_commit
from consensus.light import (
    LightBlock,
    TrustParams,
    check_earlier,
    check_first,
    conflict,
    light_block_codec,
    middle_height,
    run_length,
    skip,
    verify_light,
    verify_run,
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


def walked(blocks: list[LightBlock], start: int, target: int, asked: list[int]) -> tuple[LightBlock, ...]:
    steps = skip(blocks[start - 1], Height(target), NOW, PARAMS, VERIFIER)
    try:
        wanted = next(steps)
        while True:
            asked.append(wanted)
            wanted = steps.send(blocks[wanted - 1])
    except StopIteration as done:
        way: tuple[LightBlock, ...] = done.value
        return way


def a_set(*numbers: int) -> ValidatorSet:
    return make_validator_set([
        Validator(Address(hash32(f"new {number}")), b"\x01" + hash32(f"new key {number}"), 10, Address(bytes(32)))
        for number in numbers
    ])


MOVING = chain(16, {height: a_set(*range(height, height + 4)) for height in range(2, 16)})
"""From height 3 on each set shares three of four members with the one before."""


def test_skipping_asks_for_few_headers_and_ends_at_the_target() -> None:
    asked: list[int] = []
    assert [block.height for block in walked(BLOCKS, 1, 9, asked)] == [9] and asked == [9]
    asked = []
    way = walked(MOVING, 1, 16, asked)
    assert way[-1] == MOVING[15] and 4 <= len(way) <= 10 and asked[0] == 16
    heights = [1, *(block.height for block in way)]
    assert heights == sorted(set(heights))
    steps = skip(BLOCKS[0], Height(9), NOW, PARAMS, VERIFIER)
    next(steps)
    assert refused(lambda: steps.send(BLOCKS[7])) is Reason.WRONG_HEIGHT


def test_a_run_of_headers_needs_one_signed_header_for_each_set() -> None:
    headers = [block.header for block in MOVING]
    assert run_length([block.header for block in BLOCKS]) == 9
    assert run_length(headers) == 2 and run_length(headers[2:]) == 1
    verify_run(BLOCKS[0], [block.header for block in BLOCKS[1:]], BLOCKS[8], PARAMS, VERIFIER)
    trusted, place = MOVING[0], 1
    while place < len(MOVING):
        count = run_length(headers[place:])
        verify_run(trusted, headers[place : place + count], MOVING[place + count - 1], PARAMS, VERIFIER)
        trusted, place = MOVING[place + count - 1], place + count


@pytest.mark.parametrize(("headers", "last", "reason"), [
    ([], 8, Reason.BAD_HEADER),
    ([1, 2, 3], 4, Reason.BAD_HEADER),
    ([1, 3], 3, Reason.WRONG_HEIGHT),
    ([2, 3], 3, Reason.WRONG_HEIGHT),
])
def test_a_run_with_a_gap_is_refused(headers: list[int], last: int, reason: Reason) -> None:
    run = [BLOCKS[place].header for place in headers]
    assert refused(lambda: verify_run(BLOCKS[0], run, BLOCKS[last], PARAMS, VERIFIER)) is reason


def test_a_run_that_hides_a_change_or_bends_a_header_is_refused() -> None:
    headers = [block.header for block in MOVING]
    assert refused(lambda: verify_run(MOVING[0], headers[1:5], MOVING[4], PARAMS, VERIFIER)) is Reason.BAD_HEADER
    bent = with_header(BLOCKS[2], state_root=hash32("x"))
    run = [BLOCKS[1].header, bent.header, BLOCKS[3].header]
    assert refused(lambda: verify_run(BLOCKS[0], run, BLOCKS[3], PARAMS, VERIFIER)) is Reason.BAD_HEADER
    early = with_header(BLOCKS[1], time=BLOCKS[0].header.time)
    assert refused(lambda: verify_run(BLOCKS[0], [early.header], early, PARAMS, VERIFIER)) is Reason.BAD_TIME
    unsigned = replace(BLOCKS[3], commit=BLOCKS[4].commit)
    run = [block.header for block in BLOCKS[1:4]]
    assert refused(lambda: verify_run(BLOCKS[0], run, unsigned, PARAMS, VERIFIER)) is Reason.BAD_COMMIT


def test_earlier_headers_are_those_whose_ids_the_later_ones_hold() -> None:
    falling = [block.header for block in BLOCKS[::-1]]
    check_earlier(falling[0], falling[1:])
    check_earlier(falling[0], ())
    bent = with_header(BLOCKS[4], state_root=hash32("x")).header
    for wrong in ([*falling[1:4], bent], falling[2:], falling[1:3] + falling[4:], falling[:1]):
        assert refused(lambda wrong=wrong: check_earlier(falling[0], wrong)) is Reason.BAD_HEADER  # type: ignore[misc]


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


def test_a_known_version_is_followed_and_an_unknown_one_is_named() -> None:
    """The version changes at height 5. A client that knows both goes on, adjacent or skipping; another one stops."""
    tip: Tip = genesis_tip(make_validators([10] * 4))
    blocks = []
    for height in range(1, 8):
        tip = tip._replace(version=1 if height < 5 else 2)
        proposal = offered(tip, 0)
        commit = commit_of(tip, proposal, range(4))
        blocks.append(LightBlock(proposal.header, commit, tip.validators))
        tip = tip_after(tip, proposal, commit)
    both = TrustParams(CHAIN, trust_period=60_000, versions=(1, 2))
    headers = [block.header for block in blocks[1:]]
    for trusted, new in ((blocks[3], blocks[4]), (blocks[0], blocks[6])):
        verify_light(trusted, new, NOW, both, VERIFIER)
        assert verdict(trusted, new) is Reason.WRONG_VERSION
    verify_run(blocks[0], headers, blocks[-1], both, VERIFIER)
    assert refused(lambda: verify_run(blocks[0], headers, blocks[-1], PARAMS, VERIFIER)) is Reason.WRONG_VERSION
    assert verdict(blocks[0], blocks[3]) is None


def test_fork_detection_and_trust_level() -> None:
    other = with_header(BLOCKS[4], beacon=hash32("x"))
    assert conflict(BLOCKS[4], other) and not conflict(BLOCKS[4], BLOCKS[4]) and not conflict(BLOCKS[3], other)
    assert refused(lambda: TrustParams(CHAIN, 1, trust_level=(1, 4))) is Reason.BAD_ARGUMENT
