"""Evidence proves a fault, or is refused by name."""

import pytest
from msgspec.structs import replace

from consensus.evidence import duplicate_proposal, duplicate_vote, height_of, verify_evidence
from consensus.types import DuplicateProposal, DuplicateVote, Evidence, VoteKind
from crypto.errors import Reason, Refused
from state.types import Address, Height, Round
from tests.consensus.parts import CHAIN, KeyedHash, genesis_tip, hash32, make_validators, offered, signed_vote

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
