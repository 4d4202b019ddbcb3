"""Attacks one node of a real network, one attack after the other, and measures what that does to it.

Payments go on all the while through the other nodes, so that there are blocks to make. Heights and reasons come from
the nodes' metrics, memory from the operating system.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
import trio

from crypto.errors import Reason, Refused
from p2p.network import PeerId
from state.types import ChainId
from testnet.attacks.raid import Tally, Target
from testnet.attacks.raider import ROWS
from testnet.bench.proxied import Payments, pay_steadily
from testnet.manifest import Member
from testnet.measure import usage
from testnet.network import LocalNetwork
from testnet.scrape import Scraper

VICTIM: Final = 0
"""Place of the node under attack."""
LOOK: Final = 0.1
"""Seconds between two looks at its memory."""
PAY: Final = 0.25
"""Seconds between two payments."""
REST: Final = 15.0
"""Seconds that the node gets after an attack to be where the others are."""
MAX_BEHIND: Final = 3
"""Blocks that it may be behind at that time, since the others go on."""
MAX_GROWTH: Final = 256 << 20
"""Bytes by which its memory may grow during one attack."""
LEAST_SHARE: Final = 0.5
"""Share of the others' new blocks that it must have made along with them."""
REFUSALS: Final = ("nexus_p2p_refusals_total", "nexus_p2p_misbehaviour_total", "nexus_refusals_total")


class Outcome(msgspec.Struct, frozen=True):
    """What one attack did. Bytes, blocks and seconds.

    Attributes:
        grown: new blocks of the node under attack during it.
        others: new blocks of the slowest other node in the same time.
        behind: blocks that it lacked in the end, after at most REST.
        said: refusals that the node counted, by reason.
        verdict: "holds", or what went wrong.
    """

    name: str
    about: str
    unit: str
    sent: int
    bytes: int
    seconds: float
    grown: int
    others: int
    behind: int
    memory_before: int
    memory_peak: int
    memory_after: int
    said: dict[str, int]
    heard: dict[str, int]
    verdict: str

    @property
    def holds(self) -> bool:
        """Whether the node stood it."""
        return self.verdict == "holds"


class Gauge:
    """Follows the memory of a process. Use as a context manager."""

    def __init__(self, member: Member) -> None:
        self.peak = 0
        self._member = member
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Gauge":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(LOOK):
            self.peak = max(self.peak, usage(self._member.process).memory)


class Siege:
    """A running network, with one node in it that is attacked.

    Args:
        network: runs, and somebody pays in it.
        seconds: length of each attack.
    """

    def __init__(self, network: LocalNetwork, seconds: float) -> None:
        self._network = network
        self._seconds = seconds
        self._victim = network.members[VICTIM]

    def attack(self, name: str) -> Outcome:
        """Play one attack."""
        network, victim, target = self._network, self._victim, self._target()
        before = self._heights()
        said = self._said()
        memory = usage(victim.process).memory
        begun = time.monotonic()
        with Gauge(victim) as gauge:
            tally = _raid(name, target, self._seconds)
            during = self._heights()
            behind = self._behind()
        seconds = time.monotonic() - begun
        grown, others = (
            min(during[place] - before[place] for place in places)
            for places in ([VICTIM], [place for place in range(len(before)) if place != VICTIM])
        )
        after = usage(victim.process).memory
        peak = max(gauge.peak, memory)
        verdict = "holds"
        if not network.is_running(victim):
            verdict = "it stopped"
        elif behind > MAX_BEHIND:
            verdict = f"{behind} blocks behind"
        elif others < 1 or grown < LEAST_SHARE * others:
            verdict = f"{grown} of {others} blocks"
        elif peak - memory > MAX_GROWTH:
            verdict = f"{(peak - memory) >> 20} MiB more"
        elif "ACCEPTED" in tally.heard:
            verdict = "it let a peer in that it must not"
        now = {} if behind < 0 else self._said()
        return Outcome(
            name, ROWS[name].about, tally.unit, tally.sent, tally.bytes, seconds, grown, others, max(behind, 0), memory,
            peak, after, {reason: number - said.get(reason, 0) for reason, number in now.items()
                          if number > said.get(reason, 0)}, tally.heard, verdict,
        )

    def _target(self) -> Target:
        victim = self._victim
        chain_id = ChainId(bytes.fromhex(self._network.manifest.chain_id))
        return Target(PeerId(bytes.fromhex(victim.peer_id)), victim.listen_port, victim.api_port, chain_id)

    def _heights(self) -> list[int]:
        """Return each node's height; of one that does not answer in time, -1."""
        return [self._height(member) for member in self._network.members]

    @staticmethod
    def _height(member: Member) -> int:
        try:
            with Scraper() as scraper:
                return int(scraper.total(member, "nexus_height"))
        except Refused:
            return -1

    def _behind(self) -> int:
        """Wait until the node is where the others are, at most REST; return how many blocks it lacks."""
        deadline = time.monotonic() + REST
        while True:
            own, *others = self._heights()
            if (own and max(others) - own <= 1) or time.monotonic() > deadline:
                return max(others) - own
            time.sleep(0.2)

    def _said(self) -> dict[str, int]:
        """Return what the node has refused since it started, by reason."""
        found: dict[str, int] = {}
        with Scraper() as scraper:
            for name in REFUSALS:
                try:
                    for labels, value in scraper.values(self._victim, name):
                        reason = labels.partition('"')[2].rstrip('"')
                        found[reason] = max(found.get(reason, 0), int(value))
                except Refused:
                    continue
        return found


def _raid(name: str, target: Target, seconds: float) -> Tally:
    """Run an attack as a process. Raises Refused(INTERNAL) if the attacker itself fails."""
    command = [sys.executable, "-m", "testnet.attacks.raider", name, str(seconds)]
    run = subprocess.run(command, input=msgspec.json.encode(target), capture_output=True, timeout=seconds + 60)
    if run.returncode:
        lines = run.stderr.decode().strip().splitlines()
        raise Refused(Reason.INTERNAL, f"the attacker {name} failed: {lines[-1] if lines else run.returncode}")
    return msgspec.json.decode(run.stdout, type=Tally)


@contextmanager
def paying(network: LocalNetwork) -> Iterator[Payments]:
    """Pay steadily through all nodes but the one under attack while the context lasts."""
    found = Payments([], [])
    urls = [member.url for place, member in enumerate(network.members) if place != VICTIM]
    token: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()

    async def pay() -> None:
        token.append(trio.lowlevel.current_trio_token())
        with scope:
            await pay_steadily(urls, network.root / "senders", 10**9, PAY, found)

    thread = threading.Thread(target=trio.run, args=(pay,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        for one in token:
            with suppress(trio.RunFinishedError):
                one.run_sync_soon(scope.cancel)
        thread.join(10.0)


def besiege(
    network: LocalNetwork, names: Sequence[str], seconds: float, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Play attacks one after the other, each on the node as the one before has left it.

    Args:
        network: runs.
        names: of ROWS.
        seconds: length of each.
        tell: gets each outcome as it comes.

    Raises:
        Refused: NODE_DIED if a node that was not attacked ends; INTERNAL if an attacker fails.
    """
    siege, outcomes = Siege(network, seconds), []
    with paying(network):
        time.sleep(2 * REST / 10)
        for name in names:
            outcomes.append(siege.attack(name))
            tell(outcomes[-1])
            if outcomes[-1].verdict == "it stopped":
                break
    return outcomes
