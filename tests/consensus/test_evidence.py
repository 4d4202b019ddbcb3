"""Evidence proves a fault, or is refused by name."""

import pytest
from msgspec.structs import replace

from consensus.evidence import (
    duplicate_proposal,
    duplicate_vote,
    fork_evidence,
    height_of,
    is_possible,
    verify_evidence,
)
from consensus.light import LightBlock
from consensus.types import DuplicateProposal, DuplicateVote, Evidence, LightClientAttack, Tip, VoteKind
from crypto.errors import Reason, Refused
from state.encoding import MAX_FRAME, encode
from state.types import Address, Height, Round
from tests.consensus.parts import (
    CHAIN,
    KeyedHash,
    commit_of,
    genesis_tip,
    hash32,
    make_validators,
    offered,
    signed_vote,
)

TIP = genesis_tip(make_validators([10] * 4))
ACCUSED = TIP.validators.validators[2].address
A, B = sorted((hash32("a"), hash32("b")))
VOTES = duplicate_vote(ACCUSED, *(signed_vote(TIP, 2, VoteKind.PREVOTE, 1, value) for value in (B, A)))
OFFERS = duplicate_proposal(ACCUSED, *(offered(TIP, 2, 2, time=TIP.time + after) for after in (1, 2)))


@pytest.mark.parametrize("evidence", [VOTES, OFFERS])
def test_true_evidence_holds(evidence: Evidence) -> None:
    verify_evidence(CHAIN, TIP.validators, evidence, KeyedHash())
    assert height_of(evidence) == 1


def vote(**changes: object) -> DuplicateVote:
    return replace(VOTES, second=replace(VOTES.second, **changes))


def offer(**changes: object) -> DuplicateProposal:
    return replace(OFFERS, **changes)


@pytest.mark.parametrize(("evidence", "reason"), [
    (replace(VOTES, validator=Address(hash32("stranger"))), Reason.UNKNOWN_VALIDATOR),
    (replace(VOTES, validator=TIP.validators.validators[1].address), Reason.BAD_EVIDENCE),
    (replace(VOTES, first=VOTES.second, second=VOTES.first), Reason.BAD_EVIDENCE),
    (replace(VOTES, second=VOTES.first), Reason.BAD_EVIDENCE),
    (replace(VOTES, second=replace(VOTES.first, signature=b"signed again")), Reason.BAD_EVIDENCE),
    (vote(round=Round(2)), Reason.BAD_EVIDENCE),
    (vote(height=Height(2)), Reason.BAD_EVIDENCE),
    (vote(kind=VoteKind.PRECOMMIT), Reason.BAD_EVIDENCE),
    (vote(validator=1), Reason.BAD_EVIDENCE),
    (vote(signature=b"forged"), Reason.BAD_SIGNATURE),
    (offer(first=OFFERS.second, second=OFFERS.first), Reason.BAD_EVIDENCE),
    (offer(second=OFFERS.first), Reason.BAD_EVIDENCE),
    (offer(round=Round(1)), Reason.BAD_SIGNATURE),
    (offer(height=Height(2)), Reason.BAD_SIGNATURE),
    (offer(validator=TIP.validators.validators[0].address), Reason.BAD_SIGNATURE),
])
def test_false_evidence_is_refused(evidence: Evidence, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        verify_evidence(CHAIN, TIP.validators, evidence, KeyedHash())
    assert refused.value.reason is reason


def test_evidence_of_another_chain_is_none_here() -> None:
    with pytest.raises(Refused) as refused:
        verify_evidence(hash32("x"), TIP.validators, VOTES, KeyedHash())  # type: ignore[arg-type]
    assert refused.value.reason is Reason.BAD_SIGNATURE


# ---- two headers of one height


def light_block(tip: Tip, signers: tuple[int, ...], round: int = 0, **changes: object) -> LightBlock:
    """A header after the tip with some fields changed, and the commit of these signers."""
    proposal = offered(tip, 0)
    proposal = replace(proposal, header=replace(proposal.header, **changes))
    return LightBlock(proposal.header, commit_of(tip, proposal, signers, round), tip.validators)


OURS = light_block(TIP, (0, 1, 2))
LUNATIC = light_block(TIP, (1, 2, 3), state_root=hash32("free money"))
COMMON = Height(1)


def address(index: int) -> Address:
    return TIP.validators.validators[index].address


def test_who_signs_an_impossible_header_is_named() -> None:
    found = fork_evidence(OURS, LUNATIC, COMMON, TIP.validators)
    assert [one.validator for one in found] == [address(1), address(2), address(3)]
    for one in found:
        assert isinstance(one, LightClientAttack)
        assert height_of(one) == COMMON
        verify_evidence(CHAIN, TIP.validators, one, KeyedHash())


def test_strangers_to_the_common_set_are_left_out() -> None:
    """The conflicting header may name any set; only those are named who were validators of this chain."""
    others = make_validators([10] * 6)
    tip = TIP._replace(validators=others, next_validators=others)
    theirs = light_block(tip, (0, 1, 4, 5))
    found = fork_evidence(OURS, theirs, COMMON, TIP.validators)
    expected = {one.address for one in TIP.validators.validators} & {
        others.validators[index].address for index in (0, 1, 4, 5)
    }
    assert {one.validator for one in found} == expected != set()
    for one in found:
        verify_evidence(CHAIN, TIP.validators, one, KeyedHash())


def test_two_commits_of_one_round_prove_double_votes() -> None:
    theirs = light_block(TIP, (1, 2, 3), time=TIP.time + 5)
    found = fork_evidence(OURS, theirs, COMMON, TIP.validators)
    assert [(type(one), one.validator) for one in found] == [(DuplicateVote, address(1)), (DuplicateVote, address(2))]
    for one in found:
        verify_evidence(CHAIN, TIP.validators, one, KeyedHash())


def test_amnesia_proves_nothing_about_anybody() -> None:
    theirs = light_block(TIP, (1, 2, 3), round=1, time=TIP.time + 5)
    assert fork_evidence(OURS, theirs, COMMON, TIP.validators) == ()
    accused = LightClientAttack(
        address(1), COMMON, OURS.header, theirs.header, Round(1), theirs.commit.signatures[0].signature
    )
    with pytest.raises(Refused) as refused:
        verify_evidence(CHAIN, TIP.validators, accused, KeyedHash())
    assert refused.value.reason is Reason.BAD_EVIDENCE


@pytest.mark.parametrize("field", [
    "version", "chain_id", "validators_hash", "next_validators_hash", "state_root", "receipts_root", "beacon",
])
def test_each_field_that_follows_from_the_chain_counts(field: str) -> None:
    value = 9 if field == "version" else hash32("else")
    assert not is_possible(OURS.header, replace(OURS.header, **{field: value}))


def attack(**changes: object) -> Evidence:
    (first, *_) = fork_evidence(OURS, LUNATIC, COMMON, TIP.validators)
    return replace(first, **changes)


@pytest.mark.parametrize(("evidence", "reason"), [
    (attack(validator=Address(hash32("stranger"))), Reason.UNKNOWN_VALIDATOR),
    (attack(validator=address(0)), Reason.BAD_SIGNATURE),
    (attack(signature=b"forged"), Reason.BAD_SIGNATURE),
    (attack(round=Round(1)), Reason.BAD_SIGNATURE),
    (attack(conflicting=OURS.header), Reason.BAD_EVIDENCE),
    (attack(conflicting=replace(LUNATIC.header, height=Height(2))), Reason.BAD_EVIDENCE),
    (attack(common_height=Height(2)), Reason.BAD_EVIDENCE),
])
def test_a_false_attack_is_refused(evidence: Evidence, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        verify_evidence(CHAIN, TIP.validators, evidence, KeyedHash())
    assert refused.value.reason is reason


def test_headers_that_do_not_conflict_are_no_fork() -> None:
    for theirs in (OURS, light_block(TIP._replace(height=Height(4)), (0, 1, 2))):
        with pytest.raises(Refused) as refused:
            fork_evidence(OURS, theirs, COMMON, TIP.validators)
        assert refused.value.reason is Reason.BAD_EVIDENCE


def test_evidence_is_small() -> None:
    """64 records of the largest kind, with Falcon's signatures, leave most of a frame to the rest of a proposal."""
    largest = attack(signature=bytes(1281))
    assert 64 * len(encode(largest)) < MAX_FRAME // 4
