"""Rules for the whole test run: no silent skips where it counts, and no clocks in property tests."""

import os
from collections.abc import Generator
from fnmatch import fnmatch

import hypothesis
import pytest

hypothesis.settings.register_profile("nexus", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("nexus")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="a skipped test fails, unless --may-skip names it (the default where CI=true)",
    )
    parser.addoption(
        "--may-skip",
        action="append",
        default=[],
        metavar="PATTERN",
        help="a test id, or a pattern of such, that may skip in spite of --no-skips",
    )


def _forbidden(config: pytest.Config, nodeid: str) -> bool:
    return bool(config.getoption("--no-skips")) and not any(
        fnmatch(nodeid, pattern) for pattern in config.getoption("--may-skip")
    )


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _forbidden(item.config, item.nodeid):
        report.outcome = "failed"
        report.longrepr = f"skipped where skipping is not allowed: {_why(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and _forbidden(collector.config, collector.nodeid):
        report.outcome = "failed"
        report.longrepr = f"skipped where skipping is not allowed: {_why(report)}"
    return report
