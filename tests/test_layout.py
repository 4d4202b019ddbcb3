"""The house rules that a linter does not know."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("node", "p2p", "consensus", "state", "crypto", "apps", "testnet")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500, "split the module"
    for item in ast.walk(ast.parse(text)):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            assert item.end_lineno is not None and item.end_lineno - item.lineno <= 70, f"{item.name} is too long"


def test_no_type_checking_imports() -> None:
    offenders = [str(path) for path in SOURCES if "TYPE_CHECKING" in path.read_text()]
    assert offenders == []


def test_no_packages_under_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
