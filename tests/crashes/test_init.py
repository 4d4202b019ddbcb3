"""`nexus init` dies at every write and sync: the home is whole, or it says that it is not; never half of one starts."""

import os
import sys
from itertools import count
from pathlib import Path

import pytest

from crypto.errors import Reason, Refused
from node.config import load_config
from node.home import open_home
from node.last_sign import decode_state, sign_document
from node.logs import configure_logging
from node.node import load_genesis, load_keys
from tests.crashes.disk import CountingDisk
from tests.crashes.lives import in_child
from tests.node.test_cli import nexus

SHARE = int(os.environ.get("NEXUS_CRASH_SHARE", "4"))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("error", "json", sys.__stderr__ or sys.stderr)
    monkeypatch.setenv("NEXUS_PASSWORD", "correct horse")


def whole(root: Path) -> bool:
    """Whether a home can be started."""
    try:
        home = open_home(root)
        load_config(home.config, {})
    except Refused as refused:
        assert refused.reason is Reason.HOME_MISSING
        return False
    assert load_keys(home, None).consensus is not None
    assert not decode_state(sign_document(home.sign_state).read()).exported
    load_genesis(home)
    return True


@pytest.mark.slow
def test_an_interrupted_init_leaves_no_half_of_a_home(tmp_path: Path) -> None:
    outcomes = []
    for point in count(1, SHARE):
        root = tmp_path / str(point)

        def make(root: Path = root, point: int = point) -> None:
            CountingDisk([root], point, tmp_path / "death").install()
            assert nexus("--home", str(root), "init", "alice", "--key-cost", "quick").code == 0

        died = in_child(make)
        outcomes.append(whole(root))
        if not died:
            break
        again = nexus("--home", str(root), "init", "alice", "--key-cost", "quick")
        assert again.code == 0 or again.reason == Reason.HOME_EXISTS
    assert len(outcomes) > 20 // SHARE
    assert outcomes == sorted(outcomes), "once a home is whole it stays so"
    assert outcomes[-1]
