"""Reads what nodes hold, over their API alone, when a run is over."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import trio

from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetStatus, GetValidators, QueryModule
from node.client import AsyncClient


class BlockSeen(NamedTuple):
    """One block as a node tells of it. `state_root` is that before the block."""

    block_id: str
    state_root: str
    version: int
    txids: tuple[str, ...]
    evidence: int


class NodeSeen(NamedTuple):
    """What one node holds.

    Attributes:
        height: its last block.
        state_root: after that.
        catching_up: what it says of itself.
        blocks: by height; a node that joined by a snapshot has none of the first ones.
        candidates: rows of the query staking/validators.
        powers: of those who vote next, by operator.
    """

    height: int
    state_root: str
    catching_up: bool
    blocks: Mapping[int, BlockSeen]
    candidates: tuple[Mapping[str, Any], ...]
    powers: Mapping[str, int]


class LightSeen(NamedTuple):
    """What one light client says is the last block that it verified."""

    height: int
    block_id: str


async def observe(clients: Mapping[str, AsyncClient]) -> dict[str, NodeSeen]:
    """Read everything from all nodes, none of which should decide blocks any more. Raises Refused if one is silent."""
    seen: dict[str, NodeSeen] = {}

    async def read(name: str, client: AsyncClient) -> None:
        seen[name] = await _read(client)

    async with trio.open_nursery() as nursery:
        for name, client in clients.items():
            nursery.start_soon(read, name, client)
    return {name: seen[name] for name in clients}


async def observe_light(client: AsyncClient) -> LightSeen:
    """Ask a light client for its last block. Raises Refused."""
    status = await client.ask(GetStatus())
    return LightSeen(int(status.height), status.block_id)


async def _read(client: AsyncClient) -> NodeSeen:
    status = await client.ask(GetStatus())
    tip = int(status.height)
    blocks = {}
    for height in range(await _first(client, tip), tip + 1):
        block = await client.ask(GetBlock(height=str(height)))
        header = block.header
        txids = tuple(one.txid for one in block.transactions)
        blocks[height] = BlockSeen(header.block_id, header.state_root, header.version, txids, block.evidence)
    rows = (await client.ask(QueryModule(name="staking/validators"))).value
    voters = (await client.ask(GetValidators())).validators
    powers = {one.operator: int(one.power) for one in voters}
    return NodeSeen(tip, status.state_root, status.catching_up, blocks, tuple(rows), powers)


async def _first(client: AsyncClient, tip: int) -> int:
    """Return the lowest height whose block a node has: it has all from there on."""
    lacking, present = 0, tip
    while present - lacking > 1:
        middle = (lacking + present) // 2 if lacking else 1
        try:
            await client.ask(GetBlock(height=str(middle)))
        except Refused as refused:
            if refused.reason is not Reason.NOT_AVAILABLE:
                raise
            lacking = middle
        else:
            present = middle
    return present
