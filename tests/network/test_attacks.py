"""Attacks on a real node: a share of what `nexus testnet attack` does, on real sockets against a real process."""

import pytest

from testnet.attacks.raider import ROWS
from testnet.attacks.siege import besiege
from testnet.bench.temporary import running_network

pytestmark = pytest.mark.network

SHARE = ("wrong-keys", "downgrades", "comers", "cancels", "hoard", "api-deaf-sockets")


def test_a_node_under_attack_goes_on_with_the_others() -> None:
    with running_network(4, senders=16) as network:
        outcomes = besiege(network, SHARE, 2.0, lambda outcome: None)
        assert network.is_running(network.members[0])
    assert [outcome.name for outcome in outcomes] == list(SHARE)
    assert {outcome.name: outcome.verdict for outcome in outcomes} == dict.fromkeys(SHARE, "holds")
    heard = {outcome.name: outcome.heard for outcome in outcomes}
    assert set(heard["wrong-keys"]) <= {"bad_signature", "closing"} and heard["wrong-keys"]
    assert "ACCEPTED" not in heard["downgrades"]


def test_every_attack_says_what_it_is() -> None:
    assert len(ROWS) == 28
    assert all(row.about and row.unit for row in ROWS.values())
