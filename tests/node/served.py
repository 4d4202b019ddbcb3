"""A single real node with its API on an ephemeral port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from node.api.server import serve_api
from node.client import AsyncClient
from node.node import RunningNode
from tests.node.lab import Lab


@dataclass
class Served:
    lab: Lab
    node: RunningNode
    client: AsyncClient

    @property
    def url(self) -> str:
        return self.client.url


@asynccontextmanager
async def served_node(folder: Path, lab: Lab | None = None) -> AsyncIterator[Served]:
    """Run node 0 of a lab (by default its only validator) and its API."""
    lab = lab or Lab(folder, size=1)
    async with lab.node(0) as node, trio.open_nursery() as nursery:
        port = await nursery.start(serve_api, node.service, "::1", 0)
        async with AsyncClient(f"http://[::1]:{port}") as client:
            yield Served(lab, node, client)
        nursery.cancel_scope.cancel()
