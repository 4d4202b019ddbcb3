"""Every transport test runs over each QUIC core and across them."""

import pytest

from p2p.config import CoreName

PAIRS = [(dialer, listener) for dialer in CoreName for listener in CoreName]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def cores(request: pytest.FixtureRequest) -> tuple[CoreName, CoreName]:
    pair: tuple[CoreName, CoreName] = request.param
    return pair


@pytest.fixture(params=list(CoreName), ids=str)
def listener(request: pytest.FixtureRequest) -> tuple[CoreName, CoreName]:
    """Where only the listener's core matters: the dialer's is qh3."""
    return CoreName.QH3, request.param
