"""A testnet at a glance: one row a node, for `status`, the live table of `up`, and the demo."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from crypto.errors import Refused
from node.api.methods import GetBlock, GetStatus
from node.api.shapes import Status
from node.client import Client
from testnet.manifest import Member
from testnet.measure import usage
from testnet.network import LocalNetwork

ANSWER_TIMEOUT: Final = 2.0
"""Seconds that a node gets to say how it is."""
RATE_WINDOW: Final = 5.0
"""Seconds over which transactions a second are counted."""
MAX_BLOCKS_A_LOOK: Final = 50


WIDTH: Final = 110
"""Columns to print where there is no terminal to ask."""


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that is wide enough for the tables where it is no terminal."""
    console = Console(highlight=False, stderr=stderr)
    return console if console.is_terminal else Console(highlight=False, stderr=stderr, width=WIDTH)


class NodeRow(msgspec.Struct, frozen=True):
    """How one node is. Heights and the like are None if it does not answer; memory in bytes."""

    name: str
    state: str
    """running, catching up, no answer, stopped or died."""
    height: int | None
    block_id: str
    round: int | None
    step: str
    peers: int | None
    mempool: int | None
    memory: int
    cpu_seconds: float
    pid: int | None
    listen_port: int
    api_port: int
    metrics_port: int


def look(network: LocalNetwork) -> list[NodeRow]:
    """Ask every node how it is."""
    return [_row(network, member) for member in network.members]


def _row(network: LocalNetwork, member: Member) -> NodeRow:
    used = usage(member.process)
    status: Status | None = None
    state = "stopped"
    if member.process is not None:
        state = "no answer" if network.is_running(member) else "died"
    if state == "no answer":
        try:
            with Client(member.url, timeout=ANSWER_TIMEOUT) as client:
                status = client.ask(GetStatus())
            state = "catching up" if status.catching_up else "running"
        except Refused:
            status = None
    return NodeRow(
        name=member.name, state=state, height=None if status is None else int(status.height),
        block_id="" if status is None else status.block_id, round=None if status is None else status.round,
        step="" if status is None else status.step, peers=None if status is None else status.peers,
        mempool=None if status is None else status.mempool_transactions, memory=used.memory, cpu_seconds=used.cpu,
        pid=None if member.process is None or state == "died" else member.process.pid,
        listen_port=member.listen_port, api_port=member.api_port, metrics_port=member.metrics_port,
    )


class Throughput:
    """Transactions a second of the network, from the blocks that appear between looks."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._height = -1

    def update(self, network: LocalNetwork, rows: Sequence[NodeRow]) -> float:
        """Count the transactions of new blocks; return the rate over the last seconds."""
        now = time.monotonic()
        best = max((row for row in rows if row.height is not None), key=lambda row: row.height or 0, default=None)
        if best is not None and best.height is not None:
            first = max(self._height + 1, best.height - MAX_BLOCKS_A_LOOK, 1)
            if self._height >= 0:
                self._seen += [(now, count) for count in _counts(network, best.name, first, best.height)]
            self._height = best.height
        while self._seen and self._seen[0][0] < now - RATE_WINDOW:
            self._seen.popleft()
        return sum(count for _, count in self._seen) / RATE_WINDOW


def _counts(network: LocalNetwork, name: str, first: int, last: int) -> list[int]:
    try:
        with Client(network.member(name).url, timeout=ANSWER_TIMEOUT) as client:
            return [len(client.ask(GetBlock(height=str(height))).transactions) for height in range(first, last + 1)]
    except Refused:
        return []


_COLOURS: Final = {
    "running": "green", "catching up": "yellow", "no answer": "yellow", "stopped": "dim", "died": "bold red",
}


def as_table(rows: Sequence[NodeRow], title: str = "", rate: float | None = None) -> Table:
    """Return the rows for people."""
    caption = None if rate is None else f"{rate:.0f} transactions a second over the last {RATE_WINDOW:.0f} s"
    table = Table(title=title or None, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE)
    for name in ("node", "state", "height", "round", "peers", "waiting", "memory", "pid", "UDP", "API", "metrics"):
        table.add_column(name, justify="left" if name in ("node", "state", "round") else "right", no_wrap=True)
    for row in rows:
        colour = _COLOURS[row.state]
        table.add_row(
            row.name, f"[{colour}]{row.state}[/]", _text(row.height),
            "" if row.round is None else f"{row.round} {row.step}", _text(row.peers), _text(row.mempool),
            f"{row.memory / 1e6:.0f} MB" if row.memory else "", _text(row.pid), str(row.listen_port),
            str(row.api_port), str(row.metrics_port),
        )
    return table


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
