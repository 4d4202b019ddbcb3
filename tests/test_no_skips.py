"""The rule of tests/conftest.py: where CI=true a skipped test fails, unless it is allowed by name."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_runs():
    pass

def test_skips():
    pytest.skip("no vectors here")

@pytest.mark.parametrize("case", [])
def test_has_no_cases(case):
    pass

@pytest.mark.xfail
def test_is_expected_to_fail():
    assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makepyfile(test_some=TESTS)
    pytester.makepyfile(test_module="import pytest\npytest.skip('all of it', allow_module_level=True)")
    return pytester


def test_skips_are_skips_elsewhere(suite: pytest.Pytester) -> None:
    suite.runpytest().assert_outcomes(passed=1, skipped=3, xfailed=1)


def test_skips_fail_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest("--continue-on-collection-errors")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1
    assert result.parseoutcomes()["errors"] == 2
    assert result.parseoutcomes()["xfailed"] == 1


def test_a_skip_can_be_allowed_by_name(suite: pytest.Pytester) -> None:
    allowed = ["--may-skip=*test_skips", "--may-skip=*test_has_no_cases*", "--may-skip=test_module.py"]
    suite.runpytest("--no-skips", *allowed).assert_outcomes(passed=1, skipped=3, xfailed=1)
