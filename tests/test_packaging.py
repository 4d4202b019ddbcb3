"""The wheel, in an environment of its own: our packages come from it, and the programs start."""

import os
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from testnet.processes import free_ports

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("crypto", "state", "consensus", "apps", "p2p", "node", "testnet")

pytestmark = [pytest.mark.network, pytest.mark.slow]


class Environment:
    """A new virtual environment with our wheel. The dependencies are those of the environment that runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "env" / "bin"
        venv.create(folder / "env", with_pip=False, symlinks=True)
        [site] = (folder / "env" / "lib").glob("python*/site-packages")
        # a .pth adds a folder to the path, but the .pth files in there (our editable install) are not read
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.site = site

    def command(self, *words: str) -> list[str]:
        """Return a command line of a program of the environment."""
        return [str(self.bin / words[0]), *words[1:]]

    @property
    def variables(self) -> dict[str, str]:
        """Our environment variables without any that would lead back to the checkout."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "NEXUS_"))}
        return clean | {"NO_COLOR": "1", "NEXUS_PASSWORD": "a password"}

    def run(self, *words: str, timeout: float = 120) -> str:
        """Run a program of the environment; return what it printed."""
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.variables, timeout=timeout, capture_output=True, text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("packaging")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    environment = Environment(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(environment.bin / "python"), "install", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return environment


def test_packages_come_from_the_wheel(installed: Environment) -> None:
    names = ", ".join(PACKAGES)
    printed = installed.run("python", "-c", f"import {names}; print(*(m.__file__ for m in ({names})), sep='\\n')")
    for name, place in zip(PACKAGES, printed.split(), strict=True):
        assert Path(place) == installed.site / "nexus_node" / name / "__init__.py"


def test_every_module_is_in_the_wheel(installed: Environment) -> None:
    shipped = {path.relative_to(installed.site / "nexus_node") for path in installed.site.rglob("nexus_node/**/*.py")}
    assert shipped == {path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}


def test_the_commands_start(installed: Environment) -> None:
    assert "testnet" in installed.run("nexus", "--help")
    assert "up" in installed.run("nexus", "testnet", "--help")
    assert "idle" in installed.run("nexus", "bench", "--help")


def test_a_node_starts_in_a_new_home_and_stops(installed: Environment) -> None:
    home = str(installed.folder / "home")
    installed.run("nexus", "init", "alice", "--home", home)
    api, metrics = free_ports(2, socket.SOCK_STREAM)
    settings = {"NEXUS_API_PORT": str(api), "NEXUS_METRICS_PORT": str(metrics), "NEXUS_LISTEN_PORT": "0"}
    node = ["--node", f"http://[::1]:{api}"]
    with subprocess.Popen(
        installed.command("nexus", "start", "--home", home), cwd=installed.folder, env=installed.variables | settings
    ) as process:
        try:
            deadline = time.monotonic() + 30
            asked = [*installed.command("nexus", "status"), *node]
            while subprocess.run(asked, env=installed.variables, capture_output=True, check=False).returncode:
                assert process.poll() is None and time.monotonic() < deadline
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_testnet_runs(installed: Environment) -> None:
    home = str(installed.folder / "testnet")
    try:
        installed.run("nexus", "testnet", "up", "-n", "4", "--detach", "--home", home)
        assert installed.run("nexus", "testnet", "status", "--home", home).count("running") == 4
    finally:
        installed.run("nexus", "testnet", "down", "--home", home)
