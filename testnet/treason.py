"""The demo's liar: a validator that votes for two things is caught, slashed and removed, while payments go on."""

from functools import partial
from typing import Any, Final

import trio

from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetStatus, GetValidators, QueryModule
from node.client import AsyncClient
from testnet.byzantine.confession import Lie, first_lie
from testnet.outage import common_height, lacking, pay_on
from testnet.scenes import Company, shown
from testnet.scrape import Scraper
from testnet.stage import Stage

BEHAVIOUR: Final = "double_prevote"
PATIENCE: Final = 40.0
"""Seconds within which it has to be caught."""


async def betray(stage: Stage, company: Company) -> None:
    """Let the last validator vote for two things, and watch what becomes of it."""
    liar, honest = company.network.members[-1], company.clients[0]
    address = (await company.clients[-1].ask(GetStatus())).validator or ""
    operator = await operator_of(honest, address)
    before = await stake_of(honest, operator)
    stage.tell(f"{liar.name} has {shown(int(before['bonded']))} at stake, and {before['power']} of the votes")
    txids: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pay_on, company.alice, company.bob, txids)
        await trio.to_thread.run_sync(company.network.stop, liar.name)
        company.network.let_lie(liar.name, BEHAVIOUR)
        await trio.to_thread.run_sync(company.network.start, liar.name)
        stage.done(f"{liar.name} is started again, wrapped", "it votes for a block to some, and for nil to the others")
        lie = await told(company)
        stage.done(f"it lies for the first time, at height {lie.height}", f"by its own log: {lie.what}")
        height = await accused_in(honest, lie.height)
        good = height - lie.height <= 2
        stage.check(good, "a block accuses it", f"block {height}, {height - lie.height} after the one it lied about")
        await check_everybody_knows(stage, company)
        after = await stake_of(honest, operator)
        lost = int(before["bonded"]) - int(after["bonded"])
        stage.check(lost > 0, "it is slashed", f"{shown(lost)} burnt, {shown(int(after['bonded']))} left")
        stage.check(after["status"] == "tombstoned", "it is tombstoned", "it never votes again")
        await until_height(honest, height + 2)
        stage.check(await is_out(honest, address, height + 2), "it is removed", f"not in the set of block {height + 2}")
        count = len(txids)
        await trio.sleep(2.0)
        stage.check(len(txids) > count, "payments go on", f"{len(txids)} accepted since it was restarted")
        nursery.cancel_scope.cancel()
    missing = await lacking(honest, txids)
    stage.check(not missing, "no accepted payment is missing", f"{len(txids)} receipts found")
    text = str(await common_height(company))
    ids = {(await client.ask(GetBlock(height=text))).header.block_id for client in company.clients}
    stage.check(len(ids) == 1, "all nodes hold one chain", f"block {text} is {min(ids)[:16]} everywhere")


async def operator_of(client: AsyncClient, address: str) -> str:
    """Return the operator of the validator with this consensus address. Raises Refused(UNKNOWN_VALIDATOR)."""
    for one in (await client.ask(GetValidators())).validators:
        if one.address == address:
            return one.operator
    raise Refused(Reason.UNKNOWN_VALIDATOR, f"{address} does not vote")


async def stake_of(client: AsyncClient, operator: str) -> dict[str, Any]:
    """Return what the chain knows of a validator."""
    answer = await client.ask(QueryModule(name="staking/validator", parameters={"operator": operator}))
    found: dict[str, Any] = answer.value
    return found


async def told(company: Company) -> Lie:
    """Wait for the last node's first lie. Raises Refused(TIMED_OUT)."""
    log = trio.Path(company.network.log(company.network.members[-1]))
    with trio.move_on_after(PATIENCE):
        while (lie := first_lie(await log.read_text("utf-8", "replace"))) is None:
            await trio.sleep(0.05)
        return lie
    raise Refused(Reason.TIMED_OUT, "it does not lie")


async def accused_in(client: AsyncClient, start: int, patience: float = PATIENCE) -> int:
    """Return the first height above `start` whose block holds evidence.

    Raises:
        Refused: TIMED_OUT if there is none within `patience` seconds.
    """
    height = start + 1
    with trio.move_on_after(patience):
        while True:
            await until_height(client, height)
            if (await client.ask(GetBlock(height=str(height)))).evidence:
                return height
            height += 1
    raise Refused(Reason.TIMED_OUT, f"no block above {start} holds evidence")


async def until_height(client: AsyncClient, height: int) -> None:
    """Wait until a node has a block."""
    while int((await client.ask(GetStatus())).height) < height:
        await trio.sleep(0.05)


async def check_everybody_knows(stage: Stage, company: Company) -> None:
    """Every honest node has learned of it by itself or from a peer, before or with the block."""
    with Scraper() as scraper:
        count = partial(scraper.total, name="nexus_evidence_total")
        known = [await trio.to_thread.run_sync(count, member) for member in company.network.members[:-1]]
    names = ", ".join(member.name for member in company.network.members[:-1])
    stage.check(all(known), "every honest node holds the proof", names)


async def is_out(client: AsyncClient, address: str, height: int) -> bool:
    """Return whether a validator does not vote on a height."""
    found = await client.ask(GetValidators(height=str(height)))
    return all(one.address != address for one in found.validators)
