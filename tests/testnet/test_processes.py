"""Processes are started, found again, and only ever signalled if they are the ones that were started."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from crypto.errors import Reason, Refused
from testnet.processes import PORTS, ProcessId, find, free_ports, is_running, last_line, spawn, stop

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
DEAF = [sys.executable, "-c", f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEP[2]}"]


def started(command: list[str], log: Path) -> ProcessId:
    process = spawn(command, log, dict(os.environ))
    while last_line(log) == "it wrote nothing":
        assert is_running(process)
    return process


def test_spawn_and_stop(tmp_path: Path) -> None:
    process = started(SLEEP, tmp_path / "log")
    found = find(process)
    assert found is not None
    assert os.getsid(process.pid) == process.pid, "a session of its own: Ctrl-C in our terminal does not reach it"
    assert stop(process, signal.SIGTERM)
    assert not is_running(process)
    assert stop(process, signal.SIGTERM), "stopping again does nothing"


def test_a_process_that_ignores_the_request_is_reported_and_can_be_killed(tmp_path: Path) -> None:
    process = started(DEAF, tmp_path / "log")
    assert not stop(process, signal.SIGTERM, timeout=0.3)
    assert stop(process, signal.SIGKILL)


def test_another_process_with_the_same_id_is_left_alone(tmp_path: Path) -> None:
    process = started(SLEEP, tmp_path / "log")
    other = replace(process, started=process.started - 1000)
    assert not is_running(other)
    assert stop(other, signal.SIGKILL)
    assert is_running(process)
    assert stop(process, signal.SIGKILL)


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        spawn([str(tmp_path / "nothing")], tmp_path / "log", {})
    assert caught.value.reason is Reason.BAD_ARGUMENT


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_free_ports_are_different_and_free(kind: socket.SocketKind) -> None:
    ports = free_ports(20, kind)
    assert len(set(ports)) == 20 and set(ports) <= set(PORTS)
    with socket.socket(socket.AF_INET6, kind) as probe:
        probe.bind(("::1", ports[0]))


def test_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\xff second  \n\n")
    assert last_line(log).endswith("second")
