"""What the steps of a manifest do. One function a kind, each with the run and the step; `PERFORM` names them all."""

import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import trio

from apps.chain.messages import PlanUpgrade
from apps.staking.messages import CreateValidator, Delegate, Unbond, possession_digest
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.amounts import NATIVE_DECIMALS, parse_quantity, to_smallest
from node.api.methods import QueryModule
from node.home import Home
from node.wallet import message
from state.transaction import Message
from state.types import Address, Amount, ChainId, Height
from testnet.lab.build import let_use_core
from testnet.lab.manifest import (
    Disconnect,
    Fault,
    Kill,
    Pause,
    Plan,
    Progress,
    Restart,
    Stake,
    Standstill,
    Start,
    Step,
    Unstake,
    Upgrade,
)
from testnet.lab.run import BACK_TIMEOUT, Phase, Run
from testnet.purse import Purse

SETTLING: Final = 2.0
"""Seconds in which blocks that were under way may still be decided."""
RATE: Final = 500
"""Commission of new validators, in basis points."""
ATTEMPTS: Final = 5
"""A call that a node refuses for now, or that gets lost with its node, is made so often."""


async def perform(run: Run, step: Step) -> None:
    """Do what a step says; whatever has to be undone later is left to the run's nursery.

    Raises:
        Refused: if it cannot be done.
    """
    if isinstance(step, Fault | Upgrade):
        names = run.manifest.targets(step)
        await run.wait(
            lambda: all(run.phases[name] in (Phase.RUNNING, Phase.ENDED) for name in names),
            f"{', '.join(names)} there for the next step", BACK_TIMEOUT,
        )
    await PERFORM[type(step)](run, step)


# ---- faults


async def kill(run: Run, step: Kill) -> None:
    """SIGKILL, and a new start."""
    await _interrupt(run, run.manifest.targets(step), signal.SIGKILL, step.lasts if step.back else None)


async def restart(run: Run, step: Restart) -> None:
    """SIGTERM, and a new start."""
    await _interrupt(run, run.manifest.targets(step), signal.SIGTERM, step.lasts if step.back else None)


async def _interrupt(run: Run, names: tuple[str, ...], number: signal.Signals, lasts: float | None) -> None:
    run.disturbed |= set(names)
    run.note(f"{', '.join(names)}: {number.name}" + ("" if lasts is None else f", back after {lasts:g} s"))
    for name in names:
        await run.stop(name, number)
    if lasts is not None:
        run.begin(_start_later, names, lasts)


async def _start_later(run: Run, names: tuple[str, ...], lasts: float) -> None:
    await trio.sleep(lasts)
    await _start_all(run, names)


async def _start_all(run: Run, names: tuple[str, ...]) -> None:
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(run.start, name)
    await run.until_back(*names)
    run.note(f"{', '.join(names)}: back in step")


async def start(run: Run, step: Start) -> None:
    """Start what was stopped for good."""
    names = run.manifest.targets(step)
    run.note(f"{', '.join(names)}: started again")
    run.begin(_start_all, names)


async def pause(run: Run, step: Pause) -> None:
    """SIGSTOP, and SIGCONT."""
    names = run.manifest.targets(step)
    run.disturbed |= set(names)
    run.note(f"{', '.join(names)}: SIGSTOP for {step.lasts:g} s")
    for name in names:
        run.phases[name] = Phase.PAUSED
        run.statuses.pop(name, None)
        run.freeze(name, True)
    run.begin(_resume_later, names, step.lasts)


async def _resume_later(run: Run, names: tuple[str, ...], lasts: float) -> None:
    await trio.sleep(lasts)
    for name in names:
        run.freeze(name, False)
        run.phases[name] = Phase.STARTING
    await run.until_back(*names)
    run.note(f"{', '.join(names)}: resumed, back in step")


async def disconnect(run: Run, step: Disconnect) -> None:
    """Cut a group off, and connect it again. Raises Refused(INTERNAL) if nothing stands between the nodes."""
    router, names = run.router, run.manifest.targets(step)
    if router is None:
        raise Refused(Reason.INTERNAL, "there is no router between the nodes")
    group = frozenset(names)
    run.disturbed |= group
    run.note(f"{', '.join(names)}: disconnected for {step.lasts:g} s")
    router.cut(group)
    for name in names:
        run.phases[name] = Phase.APART

    async def heal(run: Run) -> None:
        await trio.sleep(step.lasts)
        router.heal(group)
        for name in names:
            run.phases[name] = Phase.RUNNING
        await run.until_back(*names)
        run.note(f"{', '.join(names)}: connected, back in step")

    run.begin(heal)


async def upgrade(run: Run, step: Upgrade) -> None:
    """Stop nodes one after the other, and start each as another program."""
    names = run.manifest.targets(step)
    run.disturbed |= set(names)
    run.begin(_upgrade_all, names, step)


async def _upgrade_all(run: Run, names: tuple[str, ...], step: Upgrade) -> None:
    for name in names:
        await run.stop(name, signal.SIGTERM)
        if step.release:
            await run.install(name, step.release)
        if step.core:
            let_use_core(Home(run.network.root / name), step.core)
        await run.start(name)
        await run.until_back(name)
        what = [f"release {step.release}"] * bool(step.release) + [step.core] * bool(step.core)
        run.note(f"{name}: back as {' with '.join(what)}")


# ---- transactions of operators


async def plan(run: Run, step: Plan) -> None:
    """Have operators approve a protocol version."""
    names = step.nodes or run.manifest.validators()
    approval = message("chain/plan_upgrade", PlanUpgrade(step.version, Height(step.height), f"release {step.version}"))
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(call, run, name, run.operator(name), (approval,))
    run.note(f"{', '.join(names)} approve protocol version {step.version} from height {step.height} on")


async def stake(run: Run, step: Stake) -> None:
    """Bond more; who is no validator yet becomes one."""
    amount = amount_of(step.amount)
    for name in step.nodes:
        key = run.operator(name)
        if await _is_candidate(run, key):
            bond: Message = message("staking/delegate", Delegate(Address(key.address), amount))
        else:
            chain_id = ChainId(bytes.fromhex(run.network.manifest.chain_id))
            proof = key.sign(possession_digest(chain_id, key.address, key.public_key))
            made = CreateValidator(key.public_key, proof, name, RATE, amount)
            bond = message("staking/create_validator", made)
        await call(run, name, key, (bond,))
        run.staked(name, int(amount))
        run.note(f"{name} bonds {step.amount}")


async def unstake(run: Run, step: Unstake) -> None:
    """Unbond."""
    amount = amount_of(step.amount)
    for name in step.nodes:
        key = run.operator(name)
        await call(run, name, key, (message("staking/unbond", Unbond(Address(key.address), amount)),))
        run.staked(name, -int(amount))
        run.note(f"{name} unbonds {step.amount}")


async def _is_candidate(run: Run, key: SecretKey) -> bool:
    """Return whether a key's owner is a validator or wants to be. Raises Refused(TIMED_OUT) if nobody says."""
    while True:
        await run.wait(lambda: bool(run.answering()), "a node that answers", 60)
        with contextlib.suppress(Refused):
            rows = (await run.clients[run.answering()[0]].ask(QueryModule(name="staking/validators"))).value
            return key.public_key.hex() in {row["public_key"] for row in rows}
        await trio.sleep(1.0)


def amount_of(text: str) -> Amount:
    """Return `5nxs` or `5unxs` in unxs. Raises Refused(BAD_ARGUMENT)."""
    return to_smallest(parse_quantity(text), NATIVE_DECIMALS)


async def call(run: Run, name: str, key: SecretKey, messages: tuple[Message, ...]) -> None:
    """Make a call as an operator through any node that answers, again if it got lost.

    Raises:
        Refused: as the last attempt.
    """
    for attempt in range(ATTEMPTS):
        await run.wait(lambda: bool(run.answering()), "a node that answers", 60)
        try:
            await Purse(name, key, run.clients[run.answering()[0]]).call(*messages)
        except Refused:
            if attempt == ATTEMPTS - 1:
                raise
            await trio.sleep(1.0)
        else:
            return


# ---- what has to be seen on the way


async def standstill(run: Run, step: Standstill) -> None:
    """See that no block is decided."""
    await trio.sleep(SETTLING)
    before = run.top
    await trio.sleep(step.lasts)
    seen = f"height {before}, and {run.top} after {step.lasts:g} s"
    run.find("without a quorum no block is decided", run.top == before, seen)


async def progress(run: Run, step: Progress) -> None:
    """See that blocks are decided."""
    before = run.top
    with trio.move_on_after(step.within):
        await run.until_height(before + step.blocks)
    grown = run.top - before
    run.find("the chain goes on", grown >= step.blocks, f"{grown} blocks from height {before} on")


PERFORM: Final[Mapping[type[Step], Callable[[Run, Any], Awaitable[None]]]] = MappingProxyType({
    Kill: kill, Restart: restart, Pause: pause, Disconnect: disconnect, Start: start, Upgrade: upgrade, Plan: plan,
    Stake: stake, Unstake: unstake, Standstill: standstill, Progress: progress,
})
