"""What a measurement needs around it: percentiles, CPU time and memory of processes, and the machine's speed now."""

import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from crypto import falcon
from testnet.processes import ProcessId, find

CALIBRATION_ROUNDS: Final = 5
CALIBRATION_CHECKS: Final = 100


class Usage(NamedTuple):
    """What one process has used: CPU seconds since it began, and resident bytes now."""

    cpu: float
    memory: int


def usage(process: ProcessId | None) -> Usage:
    """Return what a process has used; nothing if it has ended."""
    found = find(process) if process is not None else None
    if found is None:
        return Usage(0.0, 0)
    times = found.cpu_times()
    return Usage(times.user + times.system, found.memory_info().rss)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; `share` between 0 and 1. NaN for no values."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def falcon_verify_seconds() -> float:
    """Return how long one Falcon-1024 verification takes now, on one core: the best of a few short runs."""
    public, secret = falcon.generate()
    message = bytes(32)
    signature = falcon.sign(secret, message)
    best = float("inf")
    for _ in range(CALIBRATION_ROUNDS):
        begun = time.perf_counter()
        for _ in range(CALIBRATION_CHECKS):
            falcon.verify(public, message, signature)
        best = min(best, (time.perf_counter() - begun) / CALIBRATION_CHECKS)
    return best


def processor() -> str:
    """Return the processor's name and the number of cores that we may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        name = name or "unknown"
    return f"{name} x{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"


def commit() -> str:
    """Return the short id of the checked-out commit, with a plus if files differ, or "none" outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return run.stdout.strip()


class Figure(msgspec.Struct, frozen=True):
    """One line of a benchmark. `ratio` is value / reference; both are null where there is nothing to compare with."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    note: str = ""


def figure(name: str, value: float, unit: str, reference: float | None = None, note: str = "") -> Figure:
    """Return a figure, rounded to four significant digits, with its ratio to a reference."""
    ratio = None if not reference else _rounded(value / reference)
    return Figure(name, _rounded(value), unit, None if reference is None else _rounded(reference), ratio, note)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def json_lines(figures: Iterable[Figure]) -> Iterable[str]:
    """Yield one JSON line for each figure, with the commit and the processor."""
    about: dict[str, Any] = {"commit": commit(), "cpu": processor()}
    for item in figures:
        yield msgspec.json.encode(msgspec.structs.asdict(item) | about).decode()
