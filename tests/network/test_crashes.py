"""SIGKILL to real validators under load: what the API called committed is on every node afterwards."""

import random
import sys

import pytest

from testnet.bench.temporary import running_network
from testnet.soak import NEW_EACH, soak

pytestmark = [pytest.mark.network, pytest.mark.slow]

CYCLES = 10
"""`nexus testnet soak` runs 200."""


def test_a_committed_transaction_survives_kills_of_random_nodes() -> None:
    seed = random.randrange(10**6)
    with running_network() as network:
        report = soak(network, CYCLES, seed, lambda line: None)
    sys.stdout.write(f"{report}\n")
    assert not report.problems
    assert report.kills >= CYCLES
    assert report.acknowledged >= NEW_EACH * CYCLES
    assert report.votes > report.height
