"""The measurement of anonymous payments: every row is there, on every backend, the kernel's beside its bars."""

import pytest

from crypto.group import NATIVE, available
from testnet.bench import anonymous, zk


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anonymous, "TRIES", 1)
    monkeypatch.setattr(zk, "TRIES", 1)
    bench = anonymous.make_bench(2)
    for name in available():
        rows = {row.name.removeprefix(name + " "): row for row in anonymous.figures(bench, name)}
        assert all(row.value > 0 for row in rows.values())
        assert {"anonymous payment verified alone", "block of 2 anonymous payments", "wallet scan"} <= rows.keys()
        assert {"ring of 11 sign", "ring of 11 verify"} <= rows.keys()
        bars = rows["anonymous payment made"].reference, rows["proofs of a block of 2 anonymous payments"].reference
        assert bars == ((150.0, pytest.approx(0.016)) if name == NATIVE else (None, None))
        assert rows["anonymous payment size"].value == pytest.approx(len(bench.raws[0]), rel=1e-3)
