"""The demo's power cut: one validator is killed while payments go on; it comes back and catches up."""

import signal
from functools import partial
from typing import Final

import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetReceipt, GetStatus
from node.client import AsyncClient
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.purse import Purse
from testnet.scenes import Company
from testnet.stage import Stage

OUTAGE: Final = 12.0
"""Seconds that the validator stays down."""
PACE: Final = 0.25
"""Seconds between two payments."""
CATCH_UP: Final = 60.0
"""Seconds within which it has to be back at the others' height."""


async def crash(stage: Stage, company: Company) -> None:
    """Kill the last validator with SIGKILL under payments, restart it, and compare its chain with the others'."""
    victim = company.network.members[-1]
    txids: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pay_on, company.alice, company.bob, txids)
        await trio.sleep(2.0)
        before = len(txids)
        await trio.to_thread.run_sync(partial(company.network.stop, victim.name, signal.SIGKILL))
        stage.done(f"{victim.name} is killed with SIGKILL", f"{before} payments accepted so far")
        await trio.sleep(OUTAGE)
        during = len(txids)
        stage.check(during > before + 5, "payments go on without it", f"{during - before} more in {OUTAGE:.0f} s")
        goal = int((await company.clients[0].ask(GetStatus())).height)
        await trio.to_thread.run_sync(company.network.start, victim.name)
        reached = await caught_up(company, company.clients[-1], goal)
        outcome = f"height {reached}, the others had {goal}"
        stage.check(reached >= goal, f"{victim.name} restarts and catches up", outcome)
        await trio.sleep(2.0)
        nursery.cancel_scope.cancel()
    stage.tell(f"{len(txids)} payments were accepted in all; now each is looked up on {victim.name}")
    missing = await lacking(company.clients[-1], txids)
    stage.check(not missing, f"no accepted payment is missing on {victim.name}", f"{len(txids)} receipts found")
    height = str(await common_height(company))
    ids = {(await client.ask(GetBlock(height=height))).header.block_id for client in company.clients}
    stage.check(len(ids) == 1, "all nodes hold one chain", f"block {height} is {min(ids)[:16]} everywhere")


async def pay_on(sender: Purse, receiver: Purse, txids: list[bytes]) -> None:
    """Pay a little again and again, without waiting for blocks; note what was accepted."""
    _, nonce = await sender.account()
    while True:
        signed = await sender.signed_call(
            message("token/transfer", Transfer(NATIVE, receiver.address, Amount(1000 + nonce))), nonce=nonce
        )
        await sender.submit(signed.raw, wait="accepted")
        txids.append(signed.txid)
        nonce += 1
        await trio.sleep(PACE)


async def caught_up(company: Company, client: AsyncClient, goal: int) -> int:
    """Wait until a node, which may be starting, has reached a height; return the height that it got to.

    Raises:
        Refused: NODE_DIED.
    """
    height = -1
    with trio.move_on_after(CATCH_UP):
        while height < goal:
            company.network.check_alive()
            try:
                height = int((await client.ask(GetStatus())).height)
            except Refused as refused:
                if refused.reason not in (Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.CONNECTION_LOST):
                    raise
            await trio.sleep(0.1)
    return height


async def lacking(client: AsyncClient, txids: list[bytes]) -> list[bytes]:
    """Return those that a node has no receipt for within a few seconds, or whose receipt tells of a failure."""
    missing = list(txids)
    with trio.move_on_after(15.0):
        while missing:
            found = []
            for txid in missing:
                try:
                    receipt = (await client.ask(GetReceipt(txid=txid.hex()))).receipt
                except Refused:
                    continue
                if not receipt.reason:
                    found.append(txid)
            missing = [txid for txid in missing if txid not in found]
            await trio.sleep(0.2)
    return missing


async def common_height(company: Company) -> int:
    """Return the greatest height that every node has."""
    return min([int((await client.ask(GetStatus())).height) for client in company.clients])
