"""Stores of both kinds, and the outside test cases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from state.leveldb import LevelDB
from state.memory import MemoryStore
from state.store import Store
from tests.crypto.conftest import tell, vector_files

__all__ = ["store", "tell", "vector_files"]


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else LevelDB.open(tmp_path / "db")
    yield opened
    opened.close()
