"""The faucet beside a local network: a process that outlives the one who started it, remembered in `faucet.json`."""

import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from crypto.errors import Reason, Refused
from node.home import write_file
from testnet.network import clean_environment
from testnet.processes import ProcessId, is_running, last_line, spawn, stop

STOP_TIMEOUT: Final = 5.0
FILE: Final = "faucet.json"


class FaucetProcess(msgspec.Struct, frozen=True):
    """Where the faucet listens, and its process."""

    port: int
    process: ProcessId

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://[::1]:{self.port}"


def start_faucet(root: Path, port: int) -> FaucetProcess:
    """Start the faucet of a testnet unless it runs. It is not ready yet."""
    running = find_faucet(root)
    if running is not None:
        return running
    command = [
        sys.executable, "-m", "node.cli.main", "testnet", "faucet", "--home", str(root), "--port", str(port)
    ]
    found = FaucetProcess(port, spawn(command, faucet_log(root), clean_environment()))
    write_file(root / FILE, msgspec.json.encode(found))
    return found


def find_faucet(root: Path) -> FaucetProcess | None:
    """Return the faucet of a testnet, if it runs."""
    try:
        found = msgspec.json.decode((root / FILE).read_bytes(), type=FaucetProcess)
    except (OSError, msgspec.DecodeError):
        return None
    return found if is_running(found.process) else None


def check_faucet(root: Path) -> None:
    """Raise Refused(NODE_DIED) with its last words if the faucet does not run."""
    if find_faucet(root) is None:
        raise Refused(Reason.NODE_DIED, f"the faucet ended: {last_line(faucet_log(root))}")


def stop_faucet(root: Path) -> None:
    """Stop the faucet of a testnet, if it runs."""
    found = find_faucet(root)
    if found is not None and not stop(found.process, signal.SIGTERM, STOP_TIMEOUT):
        stop(found.process, signal.SIGKILL, STOP_TIMEOUT)
    (root / FILE).unlink(missing_ok=True)


def faucet_log(root: Path) -> Path:
    """Return where its output goes."""
    return root / "faucet.log"
