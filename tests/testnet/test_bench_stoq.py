"""How the STOQ measurement weighs its slices."""

from p2p.config import CoreName
from testnet.bench.stoq import ENOUGH, SHARE, Slice, figures, row, undisturbed

QUIET = (Slice(100.0, 1e-6, 1.1), Slice(90.0, 2e-6, SHARE))
BUSY = (Slice(100.0, 1e-6, 1.1), Slice(10.0, 3e-6, 0.5))


def test_a_pair_counts_if_both_stacks_had_a_processor() -> None:
    assert undisturbed([QUIET, BUSY, QUIET[::-1], BUSY[::-1]]) == [QUIET, QUIET[::-1]]


def test_disturbed_pairs_count_only_for_want_of_others() -> None:
    rate, cpu = figures(CoreName.QH3, "request", [BUSY] * 50 + [QUIET] * ENOUGH, {})
    assert (rate["ratio"], cpu["ratio"]) == (0.9, 2.0)
    assert (rate["tried"], rate["undisturbed"]) == (50 + ENOUGH, ENOUGH)
    rate, cpu = figures(CoreName.QH3, "request", [BUSY] * 50 + [QUIET] * (ENOUGH - 1), {})
    assert (rate["ratio"], cpu["ratio"]) == (0.1, 3.0)
    assert rate["undisturbed"] == ENOUGH - 1


def test_a_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() -> None:
    line = row("x", [1.0, 20.0, 300.0], "1/s", [1.0, 10.0, 1000.0], "y")
    assert (line["value"], line["reference"], line["ratio"]) == (20.0, 10.0, 1.0)
    assert row("x", [], "", [], "not installed")["ratio"] is None
