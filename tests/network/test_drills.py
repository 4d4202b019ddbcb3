"""Disaster drills on real nodes: one is a share for every day, the others are slow."""

from pathlib import Path

import pytest

from testnet.drills.cli import DRILLS, run_drill
from testnet.stage import Stage
from testnet.view import make_console

pytestmark = pytest.mark.network
DAILY = "total"


@pytest.mark.parametrize("name", [
    name if name == DAILY else pytest.param(name, marks=pytest.mark.slow) for name in DRILLS
])
def test_a_drill_goes_through(name: str) -> None:
    stage = Stage(make_console())
    run_drill(stage, name)
    assert [row for row in stage.rows if not row.good] == []
    assert stage.rows


def test_a_drill_that_cannot_begin_fails(tmp_path: Path) -> None:
    (tmp_path / "total").mkdir()
    stage = Stage(make_console())
    run_drill(stage, "total", tmp_path)
    assert stage.failed
