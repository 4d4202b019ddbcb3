"""A laboratory's network while it runs: who is where, what was done to whom, what was found on the way."""

import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

import trio

from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api.methods import GetHeader, GetStatus
from node.api.shapes import Status
from node.client import AsyncClient
from node.home import Home
from node.keystore import CONSENSUS_KEY, load_node_key
from state.types import UNXS_PER_NXS
from testnet.lab.build import LIGHT_FOLDER, Ports
from testnet.lab.manifest import LabManifest, Plan
from testnet.lab.payments import Ledger
from testnet.lab.report import Happening, Verdict
from testnet.lab.router import RouterThread
from testnet.lab.sense import quorum
from testnet.network import LocalNetwork, clean_environment
from testnet.processes import ProcessId, find, is_running, last_line, spawn, stop

LOOK: Final = 0.4
"""Seconds between two looks at all nodes."""
ANSWER_TIMEOUT: Final = 3.0
"""Seconds that a node gets to say how it is."""
READY_TIMEOUT: Final = 90.0
"""Seconds within which a node answers after its start."""
BACK_TIMEOUT: Final = 120.0
"""Seconds within which a node is in step again."""
STANDING: Final = 90.0
"""Seconds after which a chain that should grow counts as dead."""
TRIES: Final = 50
"""How often nodes are asked for a recent block, `LOOK` apart."""
TRUSTED_BACK: Final = 3
"""A node that is given a trusted block is given the one so far behind the tip."""


class Phase(StrEnum):
    """What a node is expected to be."""

    WAITING = "waiting"
    """Its height has not come."""
    STARTING = "starting"
    RUNNING = "running"
    DOWN = "down"
    """Stopped by a step."""
    PAUSED = "paused"
    APART = "disconnected"
    ENDED = "needs upgrade"
    """It ended by itself at the height of a protocol version that it does not know."""


class Run:
    """One run. Owned by one trio task tree; steps and watchers change it between their awaits.

    Args:
        manifest: what is to happen.
        network: made by `build`.
        ports: of every node and light client.
        router: between the nodes, if the manifest asks for one.
        nursery: for what goes on in the background.
        tell: called with this run whenever something happened.

    Attributes:
        phases: what each node is expected to be.
        statuses: what each node said last.
        disturbed: nodes that a step has done something to.
        pending: faults that are not undone yet.
        findings: verdicts on what was seen on the way.
        ledger: of payments.
        stakes: what operators have bonded by the manifest, in unxs.
        staked_at: height at which that changed last.
        finished: no more payments are made.
    """

    def __init__(
        self, manifest: LabManifest, network: LocalNetwork, ports: Mapping[str, Ports], router: RouterThread | None,
        nursery: trio.Nursery, tell: Callable[["Run"], None],
    ) -> None:
        self.manifest = manifest
        self.network = network
        self.ports = ports
        self.router = router
        self.nursery = nursery
        self.tell = tell
        self.phases = dict.fromkeys(manifest.full_nodes(), Phase.WAITING)
        self.statuses: dict[str, Status] = {}
        self.disturbed: set[str] = set()
        self.pending = 0
        self.findings: list[Verdict] = []
        self.happenings: list[Happening] = []
        self.ledger = Ledger()
        self.clients = {name: AsyncClient(self.url(name), timeout=ANSWER_TIMEOUT) for name in self.phases}
        self.finished = False
        self.stakes = {name: manifest.nodes[name].power * UNXS_PER_NXS for name in manifest.validators()}
        self.staked_at = 0
        self.lights: dict[str, ProcessId] = {}
        self.began = self.grew = time.monotonic()
        self.top = 0
        self._hands = trio.CapacityLimiter(1)

    def url(self, name: str) -> str:
        """Return where a node or light client answers."""
        return f"http://[::1]:{self.ports[name].api}"

    def note(self, text: str) -> None:
        """Keep and tell something that happened."""
        self.happenings.append(Happening(round(self.elapsed, 1), self.top, text))
        self.tell(self)

    def find(self, what: str, holds: bool, detail: str) -> None:
        """Keep a verdict on what was seen."""
        self.findings.append(Verdict(what, holds, detail))
        self.note(f"{what}: {detail}")

    def begin(self, act: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Do something in the background that has to be done before the run can end; `act` is given this run first."""
        self.pending += 1

        async def doing() -> None:
            await act(self, *arguments)
            self.pending -= 1

        self.nursery.start_soon(doing)

    def staked(self, name: str, amount: int) -> None:
        """Remember that an operator bonded so many unxs, or unbonded them if below 0."""
        self.stakes[name] = self.stakes.get(name, 0) + amount
        self.staked_at = self.top

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    def in_phase(self, *phases: Phase) -> list[str]:
        """Return the nodes that are expected to be in one of these."""
        return [name for name, phase in self.phases.items() if phase in phases]

    def answering(self) -> list[str]:
        """Return the nodes that may be asked and are in step."""
        return [
            name for name in self.in_phase(Phase.RUNNING)
            if name in self.statuses and not self.statuses[name].catching_up
            and self.manifest.nodes[name].role != "seed"
        ]

    def is_met(self, name: str) -> bool:
        """Return whether a node answers and has a peer; a seed keeps none."""
        status = self.statuses.get(name)
        return status is not None and (status.peers > 0 or self.manifest.nodes[name].role == "seed")

    def in_step(self, names: Sequence[str]) -> bool:
        """Return whether these nodes all have the same last block, and none holds transactions that wait."""
        found = [self.statuses.get(name) for name in names]
        calm = all(one is not None and not one.catching_up and not one.mempool_transactions for one in found)
        return calm and len({one.height for one in found if one is not None}) == 1

    def may_grow(self) -> bool:
        """Return whether enough validators should be there for the chain to go on."""
        return quorum(self.manifest, self.in_phase(Phase.RUNNING))

    def operator(self, name: str) -> SecretKey:
        """Return the key of a validator's operator, which is its consensus key."""
        return load_node_key(Home(self.network.root / name).keys / f"{CONSENSUS_KEY}.json", None)

    # ---- starting and stopping

    async def start(self, name: str) -> None:
        """Start a node as its manifest says, and wait until it answers. Raises Refused(NODE_DIED | TIMED_OUT)."""
        self.phases[name] = Phase.STARTING
        self.statuses.pop(name, None)
        options = await self._joining(name)
        await self._by_hand(partial(self.network.start, name, *options))
        await self.wait(lambda: name in self.statuses, f"{name} starts", READY_TIMEOUT)

    async def _joining(self, name: str) -> tuple[str, ...]:
        sync = self.manifest.nodes[name].sync
        if sync == "blocks":
            return "--sync", "blocks"
        if sync == "snapshot" and not (Home(self.network.root / name).chain).exists():
            height, block_id = await self.trusted()
            return "--trust-height", str(height), "--trust-hash", block_id
        return ()

    async def trusted(self) -> tuple[int, str]:
        """Return a recent block that all nodes who answer agree on.

        Raises:
            Refused: PROTOCOL_VIOLATION if they do not, NOT_AVAILABLE if none answers for a while.
        """
        for _ in range(TRIES):
            height = max(1, self.top - TRUSTED_BACK)
            ids = set()
            for name in self.answering():
                with contextlib.suppress(Refused):  # it may be killed just now, or be behind
                    ids.add((await self.clients[name].ask(GetHeader(height=str(height)))).block_id)
            if len(ids) > 1:
                raise Refused(Reason.PROTOCOL_VIOLATION, f"{len(ids)} blocks at height {height}")
            if ids:
                return height, ids.pop()
            await trio.sleep(LOOK)
        raise Refused(Reason.NOT_AVAILABLE, "no node tells of a recent block")

    async def stop(self, name: str, number: signal.Signals) -> None:
        """Stop a node. Raises Refused(TIMED_OUT)."""
        self.phases[name] = Phase.DOWN
        self.statuses.pop(name, None)
        await self._by_hand(partial(self.network.stop, name, number))

    async def install(self, name: str, release: int) -> None:
        """Have a node run another release from its next start on."""
        await self._by_hand(partial(self.network.install, name, release))

    async def _by_hand(self, act: Callable[[], object]) -> None:
        # one at a time: each writes the network's file anew
        await trio.to_thread.run_sync(act, limiter=self._hands)

    def freeze(self, name: str, frozen: bool) -> None:
        """Send SIGSTOP or SIGCONT to a node."""
        process = self.network.member(name).process
        found = None if process is None else find(process)
        if found is not None:
            found.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def asked_by(self, name: str) -> tuple[str, ...]:
        """Return whom a light client asks: its primary, then its witnesses."""
        node = self.manifest.nodes[name]
        return node.primary or self.manifest.validators()[0], *node.witnesses

    def start_light(self, name: str, height: int, block_id: str) -> ProcessId:
        """Start a light client that trusts a block; whoever sees it answer puts it into `lights`."""
        primary, *others = self.asked_by(name)
        home = self.network.root / LIGHT_FOLDER / name
        home.mkdir(parents=True, exist_ok=True)
        witnesses = [word for witness in others for word in ("--witness", self.url(witness))]
        command = [
            sys.executable, "-m", "node.cli.main", "--home", str(home), "--node", self.url(primary), "light", "start",
            *witnesses, "--trust-height", str(height), "--trust-hash", block_id, "--port", str(self.ports[name].api),
            "--every", "1",
        ]
        self.note(f"{name} starts and trusts block {height}")
        return spawn(command, self.light_log(name), clean_environment())

    def light_log(self, name: str) -> Path:
        """Return where a light client's output goes."""
        return self.network.root / LIGHT_FOLDER / name / "light.log"

    def close(self) -> None:
        """End every process."""
        for name in self.phases:
            self.freeze(name, False)
        for process in self.lights.values():
            stop(process, signal.SIGTERM)
        self.network.stop_all()

    # ---- watching

    async def watch(self) -> None:
        """Look at all nodes again and again.

        Raises:
            Refused: NODE_DIED if one ended by itself that should not have; TIMED_OUT if the chain stands still though
                enough validators run.
        """
        while True:
            async with trio.open_nursery() as nursery:
                for name in self.in_phase(Phase.STARTING, Phase.RUNNING, Phase.APART):
                    nursery.start_soon(self._look, name)
            self._check_alive()
            now = time.monotonic()
            top = max([int(status.height) for status in self.statuses.values()], default=0)
            if top > self.top or not self.may_grow():
                self.grew = now
            self.top = max(self.top, top)
            if now - self.grew > STANDING and not self.finished:
                raise Refused(Reason.TIMED_OUT, f"the chain stands at height {self.top} since {STANDING:.0f} s")
            self.tell(self)
            await trio.sleep(LOOK)

    async def _look(self, name: str) -> None:
        try:
            status = await self.clients[name].ask(GetStatus())
        except Refused:
            return
        if self.phases[name] is Phase.STARTING:
            self.phases[name] = Phase.RUNNING
        if self.phases[name] in (Phase.RUNNING, Phase.APART):
            self.statuses[name] = status

    def _check_alive(self) -> None:
        for name in self.in_phase(Phase.STARTING, Phase.RUNNING, Phase.APART):
            member = self.network.member(name)
            if member.process is None or self.network.is_running(member):
                continue
            said = last_line(self.network.log(member))
            if self.must_end(name) and Reason.UPGRADE_NEEDED.value in said:
                self.phases[name] = Phase.ENDED
                self.statuses.pop(name, None)
                self.note(f"{name} ends: its program does not know the protocol version of the next block")
                continue
            raise Refused(Reason.NODE_DIED, f"{name} ended: {said}")
        for name, process in self.lights.items():
            if not is_running(process):
                raise Refused(Reason.NODE_DIED, f"{name} ended: {last_line(self.light_log(name))}")

    def must_end(self, name: str) -> bool:
        """Return whether a plan leads to a protocol version that a node's program does not know."""
        release = self.network.member(name).release
        return any(isinstance(step, Plan) and step.version > release for step in self.manifest.steps)

    async def wait(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until it holds. Raises Refused(TIMED_OUT)."""
        with trio.move_on_after(timeout):
            while not ready():
                await trio.sleep(LOOK / 2)
            return
        raise Refused(Reason.TIMED_OUT, f"{what}: not within {timeout:.0f} s, at height {self.top}")

    async def until_height(self, height: int) -> None:
        """Wait until the network has reached a height; `watch` notices if it never does."""
        while self.top < height:
            await trio.sleep(LOOK / 4)

    async def until_back(self, *names: str) -> None:
        """Wait until nodes are in step with what the network has now. Raises Refused(TIMED_OUT)."""
        goal = self.top

        def back(name: str) -> bool:
            status = self.statuses.get(name)
            return (
                self.phases[name] is Phase.RUNNING and status is not None and not status.catching_up
                and int(status.height) >= goal
            )

        await self.wait(lambda: all(map(back, names)), f"{', '.join(names)} back in step", BACK_TIMEOUT)
