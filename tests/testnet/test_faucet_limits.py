"""How often a faucet gives: by account, by /64, and again after the window."""

import pytest

from crypto.errors import Reason, Refused
from testnet.faucet import limits
from testnet.faucet.limits import Allowance, Limits, prefix_of

LIMITS = Limits(window=100.0, each_account=2, each_prefix=3)
HOME, NEXT_DOOR, AWAY = "2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"


def refused(allowance: Allowance, account: str, host: str, now: float) -> bool:
    try:
        allowance.take(account, host, now)
    except Refused as error:
        assert error.reason is Reason.RATE_LIMITED
        return True
    return False


def test_prefixes() -> None:
    assert prefix_of(HOME) == prefix_of(NEXT_DOOR) == "2001:db8::/64" != prefix_of(AWAY)
    assert prefix_of("fe80::1%eth0") == "fe80::/64"
    assert prefix_of("somewhere") == "somewhere"


def test_each_account_and_each_prefix_has_its_share() -> None:
    allowance = Allowance(LIMITS)
    assert not refused(allowance, "alice", HOME, 0)
    assert not refused(allowance, "alice", AWAY, 10)
    assert refused(allowance, "alice", HOME, 20)
    assert not refused(allowance, "bob", HOME, 30) and not refused(allowance, "carol", NEXT_DOOR, 40)
    assert refused(allowance, "dave", HOME, 50) and not refused(allowance, "dave", AWAY, 50)
    assert not refused(allowance, "alice", AWAY, 101) and refused(allowance, "alice", HOME, 102)
    assert not refused(allowance, "alice", HOME, 111)


def test_what_was_not_given_does_not_count() -> None:
    allowance = Allowance(LIMITS)
    for _ in range(5):
        allowance.take("alice", HOME, 0)
        allowance.give_back("alice", HOME)
    allowance.give_back("nobody", AWAY)
    allowance.take("alice", HOME, 0)
    allowance.take("alice", HOME, 0)
    assert refused(allowance, "alice", HOME, 0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KEYS", 20)
    allowance = Allowance(LIMITS)
    taken = [not refused(allowance, f"a{number}", f"2001:db8:0:{number:x}::1", number) for number in range(20)]
    assert taken == [True] * 10 + [False] * 10
    assert not refused(allowance, "later", HOME, 1000)
