"""Runs a manifest: makes the network, lets happen what is written, and judges it from outside."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Final

import trio

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api.methods import GetBlock
from node.client import AsyncClient
from testnet.lab.build import Ports, allot_ports, build
from testnet.lab.checks import Evidence, judge
from testnet.lab.manifest import LabManifest
from testnet.lab.observe import LightSeen, observe, observe_light
from testnet.lab.payments import Payers
from testnet.lab.report import Figures, LabReport, Verdict
from testnet.lab.router import RouterThread, running_router, ways_of
from testnet.lab.run import BACK_TIMEOUT, LOOK, Phase, Run
from testnet.lab.sense import VOTERS
from testnet.lab.steps import perform
from testnet.network import LocalNetwork
from testnet.processes import ProcessId, is_running, last_line, stop
from testnet.refusals import leaves
from testnet.senders import load_senders
from testnet.soak import TROUBLE, compare_archives

CONNECT_TIMEOUT: Final = 90.0
"""Seconds within which every node has found somebody."""
SYNC_TIMEOUT: Final = 90.0
"""Seconds within which all nodes have the last block once nobody pays any more."""
LIGHT_TIMEOUT: Final = 60.0
"""Seconds within which a light client answers, and verifies the last blocks."""
READ_TIMEOUT: Final = 30.0
"""Seconds that a node gets for one answer when everything is read."""

Tell = Callable[[Run], None]


def run_manifest(manifest: LabManifest, root: Path, tell: Tell) -> LabReport:
    """Run a manifest in an empty folder, which keeps all homes and logs.

    Args:
        manifest: checked.
        root: the network's folder; made if it is missing.
        tell: called with the run about twice a second, and whenever something happened.

    Returns:
        The report. A network that dies or stands still has failed, which is no error of this function.

    Raises:
        Refused: HOME_EXISTS, PORT_IN_USE, BAD_GENESIS: nothing was started.
    """
    ports = allot_ports(manifest)
    real = {name: ports[name].peers for name in manifest.full_nodes()}
    with ExitStack() as stack:
        router = None
        if manifest.routed:
            router = stack.enter_context(running_router(real, ways_of(manifest), manifest.seed))
        build(root, manifest, ports, real if router is None else router.public)
        return trio.run(_run, manifest, LocalNetwork(root), ports, router, tell)


async def _run(
    manifest: LabManifest, network: LocalNetwork, ports: Mapping[str, Ports], router: RouterThread | None, tell: Tell
) -> LabReport:
    verdicts: list[Verdict] = []
    try:
        async with trio.open_nursery() as nursery:
            run = Run(manifest, network, ports, router, nursery, tell)
            try:
                nursery.start_soon(run.watch)
                with trio.move_on_after(manifest.limit) as scope:
                    await _course(run)
                    verdicts += await _judge(run)
                if scope.cancelled_caught:
                    verdicts.append(Verdict("the run comes to its end", False, f"not within {manifest.limit:.0f} s"))
            finally:
                nursery.cancel_scope.cancel()  # nobody watches any more
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(run.close)
    except* Refused as group:
        verdicts += [Verdict("the run comes to its end", False, str(refused)) for refused in leaves(group)]
    verdicts += _after_death(run)
    return _report(run, [*run.findings, *verdicts])


async def _course(run: Run) -> None:
    """Let everything happen, until the last height, with nobody paying any more and all nodes in step."""
    manifest, stopped = run.manifest, trio.Event()
    first = [name for name in manifest.full_nodes() if not manifest.nodes[name].start_at]
    async with trio.open_nursery() as starting:
        for name in first:
            starting.start_soon(run.start, name)
    if len(first) > 1:
        await run.wait(lambda: all(run.is_met(name) for name in first), "every node finds somebody", CONNECT_TIMEOUT)
    run.note(f"{len(first)} nodes answer and know each other")
    keys = load_senders(run.network.root / "senders", manifest.load.senders)
    payers = Payers(keys, run.clients, run.answering, manifest.seed, run.ledger)
    async with trio.open_nursery() as paying:
        paying.start_soon(payers.run, manifest.load.rate, stopped)
        for name, node in manifest.nodes.items():
            if node.start_at:
                run.begin(_arrive_light if node.role == "light" else _arrive, name)
        await _take_steps(run)
        await run.until_height(manifest.until)
        while run.pending:
            await trio.sleep(0.1)
        run.finished = True
        stopped.set()
    await _quiet(run)


async def _quiet(run: Run) -> None:
    """Wait until all nodes have the last block there will be: one without transactions, and none wait.

    Raises:
        Refused: TIMED_OUT.
    """
    names = run.in_phase(Phase.RUNNING)
    with trio.move_on_after(SYNC_TIMEOUT):
        while True:
            await run.wait(lambda: run.in_step(names), "all nodes at one height", SYNC_TIMEOUT)
            with contextlib.suppress(Refused):
                tip = await run.clients[names[0]].ask(GetBlock(height=str(run.statuses[names[0]].height)))
                if not tip.transactions:
                    return
            await trio.sleep(LOOK)
    raise Refused(Reason.TIMED_OUT, f"transactions wait for blocks that do not come within {SYNC_TIMEOUT:.0f} s")


async def _take_steps(run: Run) -> None:
    began = time.monotonic()
    for step in run.manifest.steps:
        await run.until_height(step.at)
        await trio.sleep(max(0.0, began + step.after - time.monotonic()))
        began = time.monotonic()
        await perform(run, step)


async def _arrive(run: Run, name: str) -> None:
    await run.until_height(run.manifest.nodes[name].start_at)
    run.note(f"{name} starts")
    await run.start(name)
    await run.until_back(name)
    run.note(f"{name} is in step")


async def _arrive_light(run: Run, name: str) -> None:
    await run.until_height(run.manifest.nodes[name].start_at)
    asked = run.asked_by(name)
    deadline = time.monotonic() + LIGHT_TIMEOUT
    while name not in run.lights:
        await run.wait(lambda: set(asked) <= set(run.answering()), f"{', '.join(asked)} to answer {name}", BACK_TIMEOUT)
        process = run.start_light(name, *await run.trusted())
        try:
            await _until_it_answers(run, name, process)
        finally:
            if name not in run.lights:
                stop(process, signal.SIGKILL)
        said = last_line(run.light_log(name))
        # it ends if whom it asks was killed just now: that is what it should do, and it may try again
        again = Reason.UNREACHABLE.value in said or Reason.CONNECTION_LOST.value in said
        if name not in run.lights and (not again or time.monotonic() > deadline):
            raise Refused(Reason.NODE_DIED, f"{name} ended: {said}")


async def _until_it_answers(run: Run, name: str, process: ProcessId) -> None:
    """Wait until a light client answers, which puts it among those that have to go on, or has ended."""
    async with AsyncClient(run.url(name), READ_TIMEOUT) as client:
        with trio.move_on_after(LIGHT_TIMEOUT):
            while is_running(process):
                with contextlib.suppress(Refused):
                    await observe_light(client)
                    run.lights[name] = process
                    return
                await trio.sleep(LOOK)


# ---- afterwards


async def _judge(run: Run) -> list[Verdict]:
    """Read what all nodes hold and judge it."""
    run.note("reading what every node holds")
    async with AsyncExitStack() as stack:
        running = run.in_phase(Phase.RUNNING)
        asked = {
            name: await stack.enter_async_context(AsyncClient(run.url(name), READ_TIMEOUT))
            for name in (*running, *run.lights)
        }
        seen = await observe({name: asked[name] for name in running})
        top = max(one.height for one in seen.values())
        verified = {name: await _light(asked[name], top) for name in run.lights}
    gone = [f"{name} {phase.value}" for name, phase in run.phases.items() if phase is not Phase.RUNNING]
    voters = [name for name in run.phases if run.manifest.nodes[name].role in VOTERS]
    evidence = Evidence(
        run.manifest, seen, verified, run.ledger.committed, run.ledger.accepted, run.disturbed, run.stakes,
        {name: encode_address(run.operator(name).address) for name in voters},
        settled=top > run.staked_at + 2 * run.manifest.chain.epoch_length or not run.staked_at,
    )
    alive = Verdict("all nodes are alive", True, f"{len(running)} answer" + "".join(f"; {one}" for one in gone))
    return [alive, *judge(evidence)]


async def _light(client: AsyncClient, top: int) -> LightSeen:
    """Wait until a light client has verified nearly everything; return what it says then."""
    seen = LightSeen(0, "")
    with trio.move_on_after(LIGHT_TIMEOUT):
        while seen.height < top - 2:
            try:
                seen = await observe_light(client)
            except Refused:
                seen = LightSeen(0, "")
            await trio.sleep(0.3)
    return seen


def _after_death(run: Run) -> Iterator[Verdict]:
    """Yield verdicts that need files of nodes that no longer run: their logs, and their archives of votes."""
    trouble = []
    for member in run.network.members:
        path = run.network.log(member)
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        trouble += [f"{member.name}: {line[:200]}" for line in lines if any(word in line for word in TROUBLE)]
    yield Verdict("logs tell of no trouble", not trouble, "; ".join(trouble[:3]) or f"{len(run.phases)} logs read")
    if not any(node.lies for node in run.manifest.nodes.values()):
        count, contradictions = compare_archives(run.network)
        seen = "; ".join(contradictions[:3]) or f"{count} votes and proposals compared"
        yield Verdict("nobody signed two things", not contradictions, seen)


def _report(run: Run, verdicts: list[Verdict]) -> LabReport:
    passed, lost = (0, 0) if run.router is None else run.router.figures
    figures = Figures(
        seconds=round(run.elapsed, 1), height=run.top, committed=len(run.ledger.committed),
        late=run.ledger.late, refused=dict(run.ledger.refused), datagrams=passed, lost=lost,
    )
    return LabReport(
        name=run.manifest.name, about=run.manifest.about, passed=all(one.holds for one in verdicts),
        verdicts=verdicts, figures=figures, happenings=run.happenings,
    )
