"""A second machine takes over a validator's key on a running network, with its last-sign state alone."""

import os
import shutil
import subprocess
import sys

import pytest
import trio

from crypto.errors import Reason
from node.home import Home
from node.sign_export import export_state, read_state
from testnet.bench.proxied import Payments, pay_steadily
from testnet.bench.temporary import running_network
from testnet.network import LocalNetwork
from testnet.soak import compare_archives

pytestmark = [pytest.mark.network, pytest.mark.slow]

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}


def pay(network: LocalNetwork) -> None:
    """Pay through the first node, which stays."""
    found = Payments([], [])
    trio.run(pay_steadily, [network.members[0].url], network.root / "senders", 8, 0.2, found)
    assert found.refused == []


def start(home: Home, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "node.cli.main", "--output", "json", "start", "--home", str(home.root), *words]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def reason_of(process: subprocess.Popen[bytes]) -> Reason:
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1, told
    return next(reason for reason in Reason if f'"{reason.value}"'.encode() in told)


def test_a_standby_takes_over_and_nothing_is_signed_twice() -> None:
    with running_network() as network:
        pay(network)
        member = network.members[-1]
        first, second = Home(network.home(member)), Home(network.root / "standby")
        network.stop(member.name)
        shutil.copytree(first.root, second.root, ignore=shutil.ignore_patterns("data", "*.state", "node.log"))
        assert reason_of(start(second)) is Reason.BAD_SIGN_STATE
        exported = network.root / "exported"
        before = export_state(first, exported)
        assert reason_of(start(first)) is Reason.SIGN_STATE_EXPORTED
        process = start(second, "--standby", "--sign-state", str(exported))
        try:
            pay(network)
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate(timeout=3)
            pay(network)
        finally:
            process.terminate()
            process.communicate(timeout=60)
        assert read_state(second).place > before.place
        network.stop_all()
        votes, contradictions = compare_archives(network)
        assert votes > 0
        assert contradictions == []
