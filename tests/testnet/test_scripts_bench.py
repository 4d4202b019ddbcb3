"""The measurement of script transactions: both contracts are proven and verified on each backend."""

import pytest

from crypto.group import available
from testnet.bench import scripts


@pytest.mark.parametrize("name", available())
def test_rows(name: str) -> None:
    rows = list(scripts.figures(name, 2))
    assert len(rows) == 4
    assert all(row.value > 0 for row in rows)
