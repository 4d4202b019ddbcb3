"""Who broke the rules, by the logs of honest nodes."""

import pytest

from consensus.accountability import Fault, Verdict, examine
from consensus.log import HeightEntry, LogEntry, OfferEntry, ValidatorsEntry, VoteEntry
from consensus.types import NIL, SignedOffer, Vote, VoteKind, proposal_sign_bytes, vote_sign_bytes
from crypto.errors import Reason, Refused
from state.types import BlockId, Height, Round
from tests.consensus.parts import CHAIN, KeyedHash, hash32, make_validators, signature

VALIDATORS = make_validators([10] * 4)
PANEL = ValidatorsEntry(Height(1), CHAIN, VALIDATORS)
A, B = sorted(BlockId(hash32(name)) for name in ("a", "b"))
PREVOTE, PRECOMMIT = VoteKind.PREVOTE, VoteKind.PRECOMMIT


def vote(kind: VoteKind, round: int, block_id: bytes, validator: int, *, signed: bool = True) -> VoteEntry:
    message = vote_sign_bytes(CHAIN, kind, Height(5), Round(round), BlockId(block_id))
    key = VALIDATORS.validators[validator].public_key
    made = signature(key, message) if signed else b"no"
    return VoteEntry(Vote(kind, Height(5), Round(round), BlockId(block_id), validator, made))


def votes(kind: VoteKind, round: int, block_id: bytes, *validators: int) -> list[LogEntry]:
    return [vote(kind, round, block_id, validator) for validator in validators]


def verdict(*logs: list[LogEntry]) -> Verdict:
    (only,) = examine([[PANEL, *log] for log in logs], KeyedHash())
    return only


def test_nobody_is_named_for_an_honest_height() -> None:
    log = [*votes(PREVOTE, 0, A, 0, 1, 2), *votes(PREVOTE, 0, NIL, 3), *votes(PRECOMMIT, 0, A, 0, 1, 2)]
    assert examine([[PANEL, HeightEntry(Height(5)), *log]], KeyedHash()) == ()


def test_two_votes_in_two_logs_name_their_signer() -> None:
    found = verdict(votes(PREVOTE, 0, A, 0, 3), votes(PREVOTE, 0, NIL, 1, 3))
    (finding,) = found.findings
    assert (finding.fault, finding.validator) == (Fault.DOUBLE_PREVOTE, VALIDATORS.validators[3].address)
    assert (found.named, found.total, found.enough) == (10, 40, False)


def test_two_proposals_name_the_one_who_signed_both() -> None:
    key = VALIDATORS.validators[2].public_key
    offers = [
        OfferEntry(SignedOffer(Height(5), Round(1), -1, value, signature(
            key, proposal_sign_bytes(CHAIN, Height(5), Round(1), -1, value)
        )))
        for value in (A, B)
    ]
    (finding,) = verdict([offers[0]], [offers[1]]).findings
    assert (finding.fault, finding.validator) == (Fault.EQUIVOCATING_PROPOSAL, VALIDATORS.validators[2].address)


def test_amnesia_splits_a_chain_and_names_a_third() -> None:
    """2 and 3 decide a with 0 in round 0, and b with 1 in round 1, without signing two things in one round."""
    one = [*votes(PREVOTE, 0, A, 0, 2, 3), *votes(PRECOMMIT, 0, A, 0, 2, 3)]
    other = [*votes(PREVOTE, 1, B, 1, 2, 3), *votes(PRECOMMIT, 1, B, 1, 2, 3)]
    found = verdict(one, other)
    assert found.decided == (A, B)
    assert {finding.fault for finding in found.findings} == {Fault.AMNESIA}
    assert {finding.validator for finding in found.findings} == {
        VALIDATORS.validators[index].address for index in (2, 3)
    }
    assert (found.named, found.enough) == (20, True)


@pytest.mark.parametrize("polka_round", [0, 1])
def test_a_polka_ends_a_lock(polka_round: int) -> None:
    lock = votes(PRECOMMIT, 0, A, 0)
    polka = votes(PREVOTE, polka_round, B, 1, 2, 3)
    assert examine([[PANEL, *lock, *polka, *votes(PREVOTE, 2, B, 0)]], KeyedHash()) == ()


def test_a_polka_of_the_same_round_comes_too_late() -> None:
    found = verdict([*votes(PRECOMMIT, 0, A, 0), *votes(PREVOTE, 2, B, 0, 1, 2, 3)])
    assert [finding.fault for finding in found.findings] == [Fault.AMNESIA]


def test_a_precommit_without_a_polka_hides_no_earlier_lock() -> None:
    log = [*votes(PRECOMMIT, 0, A, 0), *votes(PRECOMMIT, 1, B, 0), *votes(PREVOTE, 2, B, 0)]
    assert [finding.rounds for finding in verdict(log).findings] == [(0, 2)]


def test_votes_for_nil_and_for_the_locked_block_are_no_fault() -> None:
    log = [*votes(PRECOMMIT, 0, A, 0), *votes(PREVOTE, 1, NIL, 0), *votes(PRECOMMIT, 1, NIL, 0), vote(PREVOTE, 2, A, 0)]
    assert examine([[PANEL, *log]], KeyedHash()) == ()


def test_what_is_not_signed_accuses_nobody() -> None:
    log = [vote(PREVOTE, 0, A, 0), vote(PREVOTE, 0, B, 0, signed=False)]
    assert examine([[PANEL, *log]], KeyedHash()) == ()


def test_the_validators_come_from_another_log_or_the_matter_is_refused() -> None:
    double = [*votes(PREVOTE, 0, A, 3), *votes(PREVOTE, 0, B, 3)]
    (found,) = examine([double, [PANEL]], KeyedHash())
    assert found.named == 10
    with pytest.raises(Refused) as refused:
        examine([double], KeyedHash())
    assert refused.value.reason is Reason.BAD_ARGUMENT


def test_logs_of_different_networks_are_refused() -> None:
    stranger = ValidatorsEntry(Height(1), CHAIN, make_validators([10] * 5))
    log = votes(PREVOTE, 0, A, 3)
    with pytest.raises(Refused) as refused:
        examine([[PANEL, *log], [stranger, *log]], KeyedHash())
    assert refused.value.reason is Reason.BAD_ARGUMENT
