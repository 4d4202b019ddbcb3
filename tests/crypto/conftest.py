"""Where the outside test cases are, and a line that says how many ran."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"


@pytest.fixture
def vector_files() -> Callable[[str, str], list[Path]]:
    """Return `(folder, pattern) -> files`: the test skips, by name, where there are none."""

    def find(folder: str, pattern: str) -> list[Path]:
        root = Path(os.environ.get("NEXUS_VECTORS", DEFAULT))
        files = sorted(path for path in (root / folder).rglob(pattern) if path.is_file())
        if not files:
            pytest.skip(f"no {pattern} in {folder} of the folder that NEXUS_VECTORS names")
        return files

    return find


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str, int], None]:
    """Return `(what, count)`: prints how many cases ran, and fails if that is none."""

    def say(what: str, count: int) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{what}: {count} cases\n")
        assert count > 0

    return say
