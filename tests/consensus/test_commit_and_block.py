"""Commits, headers and blocks: each wrong field refused by its name."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.block import (
    check_committed_block,
    check_contents,
    check_header,
    check_last_commit,
    evidence_root,
    make_header,
    transactions_root,
    wtxids_of,
)
from consensus.commit import GrowingCommit, verify_commit, verify_commit_light
from consensus.types import NIL, Block, Commit, CommitSignature, Header, VoteKind
from crypto.errors import Reason, Refused
from state.types import BlockId, Height, Round
from tests.consensus.parts import (
    CHAIN,
    KeyedHash,
    commit_of,
    genesis_tip,
    hash32,
    make_validators,
    offered,
    signed_vote,
    tip_after,
)

FIRST = genesis_tip(make_validators([10] * 4))
ONE = offered(FIRST, 0, wtxids=["tx"])
COMMIT = commit_of(FIRST, ONE, range(3))
TIP = tip_after(FIRST, ONE, COMMIT)
TWO = offered(TIP, 1)
VERIFIER = KeyedHash()


def refused(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as error:
        call()
    return error.value.reason


@pytest.mark.parametrize("verify", [verify_commit, verify_commit_light])
@pytest.mark.parametrize(("change", "reason"), [
    ({"height": Height(2)}, Reason.BAD_COMMIT),
    ({"block_id": BlockId(hash32("other"))}, Reason.BAD_COMMIT),
    ({"block_id": NIL}, Reason.BAD_COMMIT),
    ({"round": Round(1)}, Reason.BAD_SIGNATURE),
    ({"signatures": COMMIT.signatures[:2]}, Reason.BAD_COMMIT),
    ({"signatures": ()}, Reason.BAD_COMMIT),
    ({"signatures": COMMIT.signatures[::-1]}, Reason.BAD_COMMIT),
    ({"signatures": (*COMMIT.signatures[:2], COMMIT.signatures[1])}, Reason.BAD_COMMIT),
    ({"signatures": (*COMMIT.signatures, CommitSignature(4, b""))}, Reason.BAD_COMMIT),
    ({"signatures": (*COMMIT.signatures[:2], CommitSignature(2, b"forged"))}, Reason.BAD_SIGNATURE),
])
def test_wrong_commits(verify: Callable[..., None], change: dict[str, object], reason: Reason) -> None:
    verify(CHAIN, FIRST.validators, Height(1), ONE.block_id, COMMIT, VERIFIER)
    changed = replace(COMMIT, **change)
    assert refused(lambda: verify(CHAIN, FIRST.validators, Height(1), ONE.block_id, changed, VERIFIER)) is reason


def test_exactly_two_thirds_do_not_commit() -> None:
    tip = genesis_tip(make_validators([10] * 3))
    proposal = offered(tip, 0)
    half = commit_of(tip, proposal, range(2))
    reason = refused(lambda: verify_commit(CHAIN, tip.validators, Height(1), proposal.block_id, half, VERIFIER))
    assert reason is Reason.BAD_COMMIT


def test_light_check_stops_at_two_thirds_and_the_full_one_does_not() -> None:
    full = commit_of(FIRST, ONE, range(4))
    forged = replace(full, signatures=(*full.signatures[:3], CommitSignature(3, b"forged")))
    counter = KeyedHash()
    verify_commit_light(CHAIN, FIRST.validators, Height(1), ONE.block_id, forged, counter)
    assert counter.checked == 3
    reason = refused(lambda: verify_commit(CHAIN, FIRST.validators, Height(1), ONE.block_id, forged, counter))
    assert reason is Reason.BAD_SIGNATURE


def test_a_commit_of_another_chain_is_no_commit() -> None:
    other = commit_of(FIRST._replace(chain_id=hash32("other chain")), ONE, range(3))  # type: ignore[arg-type]
    reason = refused(lambda: verify_commit(CHAIN, FIRST.validators, Height(1), ONE.block_id, other, VERIFIER))
    assert reason is Reason.BAD_SIGNATURE


def test_late_precommits_grow_the_commit() -> None:
    growing = GrowingCommit(COMMIT)
    late = signed_vote(FIRST, 3, VoteKind.PRECOMMIT, 0, ONE.block_id)
    growing.extend([
        signed_vote(FIRST, 1, VoteKind.PRECOMMIT, 0, ONE.block_id),  # there already
        signed_vote(FIRST, 3, VoteKind.PREVOTE, 0, ONE.block_id),
        signed_vote(FIRST, 3, VoteKind.PRECOMMIT, 1, ONE.block_id),
        signed_vote(FIRST, 3, VoteKind.PRECOMMIT, 0, NIL),
    ])
    assert growing.commit == COMMIT
    growing.extend([late])
    assert growing.commit == commit_of(FIRST, ONE, range(4))
    verify_commit(CHAIN, FIRST.validators, Height(1), ONE.block_id, growing.commit, VERIFIER)


@pytest.mark.parametrize(("field", "value", "reason"), [
    ("height", Height(3), Reason.WRONG_HEIGHT),
    ("chain_id", hash32("x"), Reason.WRONG_CHAIN),
    ("version", 2, Reason.WRONG_VERSION),
    ("time", TIP.time, Reason.BAD_TIME),
    ("proposer", hash32("x"), Reason.UNKNOWN_VALIDATOR),
    ("previous", hash32("x"), Reason.BAD_HEADER),
    ("state_root", hash32("x"), Reason.BAD_HEADER),
    ("receipts_root", hash32("x"), Reason.BAD_HEADER),
    ("validators_hash", hash32("x"), Reason.BAD_HEADER),
    ("next_validators_hash", hash32("x"), Reason.BAD_HEADER),
    ("beacon", hash32("x"), Reason.BAD_HEADER),
])
def test_wrong_headers(field: str, value: object, reason: Reason) -> None:
    check_header(TIP, TWO.header)
    changed = Header(**{name: getattr(TWO.header, name) for name in Header.__struct_fields__} | {field: value})
    assert refused(lambda: check_header(TIP, changed)) is reason


def test_contents_that_the_header_does_not_name() -> None:
    header, ids, commit = ONE.header, ONE.wtxids, ONE.last_commit
    check_contents(header, ids, commit, ())
    assert refused(lambda: check_contents(header, (), commit, ())) is Reason.BAD_HEADER
    assert refused(lambda: check_contents(header, ids, COMMIT, ())) is Reason.BAD_HEADER
    assert transactions_root(ids) != transactions_root(ids[::-1] + ids)
    assert evidence_root(()) == transactions_root(())


def test_last_commit_of_the_tip() -> None:
    check_last_commit(TIP, COMMIT, VERIFIER)
    check_last_commit(TIP, commit_of(FIRST, ONE, (0, 1, 3)), VERIFIER)
    assert refused(lambda: check_last_commit(TIP, commit_of(FIRST, ONE, (0, 1)), VERIFIER)) is Reason.BAD_COMMIT
    assert refused(lambda: check_last_commit(FIRST, COMMIT, VERIFIER)) is Reason.BAD_COMMIT


def test_the_header_time_rises_even_if_the_clock_does_not() -> None:
    header = make_header(TIP, time=0, proposer=TWO.header.proposer, wtxids=(), last_commit=TIP.commit)
    assert header.time == TIP.time + 1


def test_blocks_that_others_committed() -> None:
    bodies = (b"a transaction", b"another")
    ids = wtxids_of(bodies)
    header = make_header(TIP, time=TIP.time + 5, proposer=TWO.header.proposer, wtxids=ids, last_commit=COMMIT)
    proposal = replace(TWO, header=header, wtxids=ids)
    block = Block(header, bodies, COMMIT, ())
    commit = commit_of(TIP, proposal, (1, 2, 3))
    check_committed_block(TIP, block, commit, VERIFIER)
    changed = replace(block, transactions=bodies[::-1])
    assert refused(lambda: check_committed_block(TIP, changed, commit, VERIFIER)) is Reason.BAD_HEADER
    weak = Commit(commit.height, commit.round, commit.block_id, commit.signatures[:2])
    assert refused(lambda: check_committed_block(TIP, block, weak, VERIFIER)) is Reason.BAD_COMMIT
