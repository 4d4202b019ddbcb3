"""A share of the crash points in every run; all of them by `python -m tests.crashes.points`."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.crashes.points import FOUR, SOLO, Scenario, run, undisturbed

SHARE: Final = int(os.environ.get("NEXUS_CRASH_SHARE", "20"))
"""Every so many points are tried; 1 tries all."""


def test_the_undisturbed_run_passes_many_points(tmp_path: Path) -> None:
    points, blocks = undisturbed(SOLO, tmp_path)
    assert points > 80
    assert set(blocks) >= {1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [SOLO, FOUR], ids=lambda scenario: scenario.name)
def test_a_death_at_any_point_loses_nothing_and_signs_nothing_twice(scenario: Scenario) -> None:
    *_, tally = run(scenario, SHARE, seed=int.from_bytes(os.urandom(2)))
    assert tally.restarts >= tally.points > 0
