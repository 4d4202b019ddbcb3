import pickle

from crypto.errors import Reason, Refused


def test_reason_values_are_the_names_in_small_letters() -> None:
    assert all(reason.value == reason.name.lower() for reason in Reason)


def test_refused_carries_reason_and_detail_also_between_processes() -> None:
    refusal = pickle.loads(pickle.dumps(Refused(Reason.BAD_KEY, "why")))
    assert (refusal.reason, refusal.detail, str(refusal)) == (Reason.BAD_KEY, "why", "bad_key: why")


def test_forged_bytes_are_permanent_and_early_ones_are_not() -> None:
    assert Reason.BAD_SIGNATURE.permanent and Reason.NOT_CANONICAL.permanent and Reason.BAD_PROOF.permanent
    assert not Reason.NONCE_TOO_HIGH.permanent and not Reason.MEMPOOL_FULL.permanent
