"""Some damaged homes in every run; 500, and every cut of the log, by `python -m tests.crashes.damage`."""

import os

import pytest

from crypto.errors import Reason, Refused
from node.remedies import REMEDIES, advised
from tests.crashes.damage import cut_log, run

RUNS = int(os.environ.get("NEXUS_DAMAGE_RUNS", "40"))


@pytest.mark.slow
def test_a_damaged_home_recovers_or_stops_by_name() -> None:
    outcomes = [came for _, came in run(RUNS, seed=int.from_bytes(os.urandom(2)))]
    assert len(outcomes) == RUNS
    assert "recovered" in outcomes
    assert any(came in REMEDIES for came in outcomes)


@pytest.mark.slow
def test_a_log_cut_anywhere_in_its_last_two_records_signs_nothing_twice() -> None:
    assert cut_log(seed=int.from_bytes(os.urandom(2)), share=15) > 5


def test_a_remedy_is_added_and_the_reason_stays() -> None:
    refused = Refused(Reason.CORRUPT_LOG, "it is damaged")
    assert advised(refused).reason is Reason.CORRUPT_LOG
    assert advised(refused).detail.startswith("it is damaged. To go on: ")
    strange = Refused(Reason.EXPIRED, "no remedy is known")
    assert advised(strange) is strange
