"""Measure; one JSON line a figure."""

import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
import typer

from crypto.errors import Reason, Refused
from testnet.measure import commit, processor


class Name(StrEnum):
    """What can be measured."""

    EXECUTION = "execution"
    PROOF = "proof"
    STOQ = "stoq"
    NETWORK = "network"
    EVIDENCE = "evidence"
    IDLE = "idle"
    LIGHT = "light"
    DISTANCE = "distance"
    PARTITION = "partition"
    SNAPSHOT = "snapshot"
    GOSSIP = "gossip"
    SYNC = "sync"
    ZK = "zk"
    SCRIPTS = "scripts"
    CONFIDENTIAL = "confidential"
    CONFIDENTIAL_NETWORK = "confidential-network"
    ANONYMOUS = "anonymous"
    ALL = "all"


MODULES: Final = {
    Name.EXECUTION: "testnet.bench.execution",
    Name.STOQ: "testnet.bench.stoq",
    Name.IDLE: "testnet.bench.idle",
    Name.LIGHT: "testnet.bench.light",
    Name.NETWORK: "testnet.bench.network",
    Name.EVIDENCE: "testnet.bench.evidence",
    Name.DISTANCE: "testnet.bench.distance",
    Name.PARTITION: "testnet.bench.partition",
    Name.SNAPSHOT: "testnet.bench.snapshot",
    Name.GOSSIP: "testnet.bench.gossip",
    Name.SYNC: "testnet.bench.sync",
    Name.ZK: "testnet.bench.zk",
    Name.SCRIPTS: "testnet.bench.scripts",
    Name.CONFIDENTIAL: "testnet.bench.confidential",
    Name.CONFIDENTIAL_NETWORK: "testnet.bench.confidential_network",
    Name.ANONYMOUS: "testnet.bench.anonymous",
}
"""In the order of `all`. The proof figures come with the execution's: they need the same million outputs."""

app = typer.Typer(help="Measure; one JSON line a figure.", add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    ctx: typer.Context,
    name: Annotated[Name, typer.Argument(help="What to measure.")],
) -> None:
    """Measure; one JSON line a figure, with its reference. What stands behind NAME goes to that measurement.

    Each runs in a process of its own, so that none inherits another's memory or threads.
    """
    about = {"commit": commit(), "cpu": processor()}
    wanted = list(MODULES) if name is Name.ALL else [Name.EXECUTION if name is Name.PROOF else name]
    if name is Name.ALL and ctx.args:
        raise Refused(Reason.USAGE, "what stands behind the name goes to one measurement, not to all")
    for one in wanted:
        for line in results(MODULES[one], ctx.args):
            if name is not Name.PROOF or line["name"].startswith("proof"):
                sys.stdout.write(msgspec.json.encode(line | about).decode() + "\n")
                sys.stdout.flush()


def results(module: str, arguments: list[str]) -> Iterator[dict[str, Any]]:
    """Run one measurement and yield its lines as they come.

    Raises:
        Refused: INTERNAL if it fails; its own words are on stderr.
    """
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            if line.startswith(b"{"):
                yield msgspec.json.decode(line, type=dict[str, Any])
    if process.returncode:
        raise Refused(Reason.INTERNAL, f"{module} ended with exit code {process.returncode}")
