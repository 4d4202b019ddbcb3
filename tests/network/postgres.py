"""A PostgreSQL server of its own for a test: a new cluster in a temporary folder, reached by a unix socket alone."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OLDEST = 15
DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each major version in a folder of their own, which is not in PATH."""


def programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, the newest version first; None if there is none as new as OLDEST."""
    in_path = shutil.which("initdb")
    folders = [Path(in_path).parent] if in_path else []
    folders += sorted(DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    return next((folder for folder in folders if _version(folder) >= OLDEST), None)


def _version(folder: Path) -> int:
    try:
        said = subprocess.run([folder / "initdb", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)", said)
    return int(found[1]) if found else 0


class Cluster:
    """One server. It belongs to root's test but not to root: PostgreSQL refuses to run as root."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._as: Mapping[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")  # Debian's package makes it
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run(
            "initdb", "--pgdata", "data", "--username", "nexus", "--auth", "trust", "--encoding", "UTF8", "--no-sync"
        )

    @property
    def url(self) -> str:
        """The DATABASE_URL, without a port that somebody else might have."""
        return f"postgresql://nexus@/postgres?host={self._folder}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--pgdata", "data", "--log", "server.log", "--options", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; in mode "immediate" as if it had crashed."""
        self._run("pg_ctl", "stop", "--wait", "--pgdata", "data", "--mode", mode)

    def _run(self, program: str, *words: str) -> None:
        # pg_ctl's server keeps what it inherits open: no pipe, for nobody would ever see its end.
        with (self._folder.parent / f"{self._folder.name}.out").open("a+") as output:
            ended = subprocess.run(
                [self._programs / program, *words], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, check=False, timeout=120, env={"LC_ALL": "C", "PATH": os.defpath}, **self._as,
            )  # fmt: skip
            output.seek(0)
            assert ended.returncode == 0, output.read()


@contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    """Run a new server to the end of the block; its data goes with it."""
    # Not pytest's own folder: only who runs the test may enter that one. Short, for a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="nexus-pg-") as outer:
        os.chmod(outer, 0o711)
        folder = Path(outer) / "pg"
        folder.mkdir()
        made = Cluster(programs, folder)
        made.start()
        try:
            yield made
        finally:
            made.stop("immediate")
