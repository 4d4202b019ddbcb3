import stat
from pathlib import Path

import pytest

from crypto.errors import Reason, Refused
from node.home import init_home, open_home, write_file


def test_a_home_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    home = init_home(tmp_path / "a" / "home")
    assert stat.S_IMODE(home.keys.stat().st_mode) == 0o700
    write_file(home.config, b"")
    with pytest.raises(Refused) as caught:
        init_home(home.root)
    assert caught.value.reason is Reason.HOME_EXISTS
    assert open_home(home.root) == home


def test_a_missing_home_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        open_home(tmp_path / "nothing")
    assert caught.value.reason is Reason.HOME_MISSING


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Refused) as caught:
        init_home(tmp_path / "file" / "home")
    assert caught.value.reason is Reason.BAD_ARGUMENT


def test_a_written_file_replaces_the_old_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_file(path, b"one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
