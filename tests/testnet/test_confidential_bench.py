"""The measurement of hidden coins: every row is there, on every backend, beside its bar."""

import pytest

from crypto.group import available
from testnet.bench import confidential


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidential, "TRIES", 1)
    bench = confidential.make_bench(3)
    for name in available():
        rows = {row.name.removeprefix(name + " "): row for row in confidential.figures(bench, name)}
        assert {"hidden transfer verified alone", "block of 3 hidden transfers", "wallet scan"} <= rows.keys()
        assert all(row.value > 0 for row in rows.values())
        assert rows["block of 3 hidden transfers"].reference == pytest.approx(0.012)
        assert rows["wallet scan"].reference == 2000
