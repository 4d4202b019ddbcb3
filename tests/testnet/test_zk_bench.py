"""The measurement of proofs: every row is there, and its ratio is against the reference."""

import pytest

from crypto.group import available
from testnet.bench import zk
from testnet.measure import figure


@pytest.mark.parametrize("name", available())
def test_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zk, "OUTPUTS", (1,))
    monkeypatch.setattr(zk, "TRIES", 1)
    monkeypatch.setattr(zk, "RANGES", 1)
    monkeypatch.setattr(zk, "RANGE_BITS", 4)
    known = {1: zk.Reference(prove=0.002, verify=0.001)}
    rows = list(zk.figures(name, known, 3))
    proving, alone, together = rows[:3]
    assert (proving.reference, alone.reference, together.reference) == (2.0, 1.0, 1.0)
    assert all(row.value > 0 for row in rows)
    assert all(row.ratio is not None for row in rows if "each of" in row.name)
    bare = list(zk.figures(name, {}, 3))
    assert [row.name for row in bare] == [row.name for row in rows]
    for what in ("range proof x1", "Schnorr", "R1CS, 4 multipliers", "shuffle of 9", "ring of 11"):
        assert any(what in row.name and "verify" in row.name for row in rows)
    assert all(row.reference is None and row.note for row in bare[:3])


def test_libsodium_stands_beside_the_kernel() -> None:
    kernel, row = figure("native ring", 2.0, "ms"), figure("sodium ring", 6.0, "ms", note="7 bytes")
    assert zk.beside(kernel, kernel) is kernel
    assert zk.beside(kernel, row).ratio == 3.0
    judged = figure("sodium range", 6.0, "ms", 4.0)
    assert zk.beside(kernel, judged) is judged
