"""A node's API and metrics through all of its life: the ports are bound once; what answers behind them changes.

While a node joins by a snapshot there is no core to ask. Then the status tells how far it is, and every other question
is refused with JOINING and the same words, instead of a connection that nobody takes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import trio
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Receive, Scope, Send

from consensus.types import Tip
from crypto.errors import Reason, Refused
from node.api.app import application, make_app
from node.api.follow import Heights
from node.api.methods import GetStatus, Method
from node.api.server import bind_socket, serve_application
from node.api.shapes import Health
from node.api.text import Decimal
from node.api.views import joining_status
from node.config import NodeConfig
from node.core import Core
from node.driver import wall_clock
from node.metrics import NodeCollector, joining_metrics, serve_metrics
from node.progress import FIRST_WORD, Board
from node.service import NodeService, NodeStatus
from node.showing import Way
from p2p.mesh import Mesh
from p2p.network import PeerId
from state.genesis import Genesis


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is before it runs: what people call it, its node id, and its chain's first document."""

    moniker: str
    node_id: PeerId
    genesis: Genesis


class _Nothing(Collector):
    """No figures."""

    def collect(self) -> Iterable[Metric]:
        """Yield nothing."""
        return ()


class _Behind:
    """What answers at present."""

    def __init__(self, app: ASGIApp, collector: Collector) -> None:
        self.app = app
        self.collector = collector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def collect(self) -> Iterable[Metric]:
        return self.collector.collect()


class _Figures(Collector):
    """The figures of whatever is behind the port."""

    def __init__(self, behind: _Behind, board: Board) -> None:
        self._behind = behind
        self._board = board

    def collect(self) -> Iterable[Metric]:
        """Return every family with its present value."""
        yield from joining_metrics(self._board.progress)
        yield from self._behind.collect()


class Front:
    """The ports of a node, and what answers behind them.

    Args:
        config: names the ports.
        identity: who the node is.
        nursery: serves.

    Attributes:
        board: how far a node is that joins before it runs.
        api_port: of the API; 0 before it is bound.
        metrics_port: for Prometheus; 0 before it is bound.
    """

    def __init__(self, config: NodeConfig, identity: Identity, nursery: trio.Nursery) -> None:
        self.board = Board()
        self.api_port = 0
        self.metrics_port = 0
        self._config = config
        self._identity = identity
        self._nursery = nursery
        self._started_at = wall_clock()
        self._status: Callable[[], NodeStatus | None] = lambda: None
        self._behind = _Behind(application(_nobody, lambda: Health(ready=False, height=Decimal(0))), _Nothing())

    def way(self) -> Way | None:
        """Return how far the node is that joins or catches up; None if it does not."""
        status = self._status()
        progress = self.board.progress or (None if status is None else status.joining)
        if progress is not None:
            return Way(progress.sentence(), progress.share)
        if status is None or not status.seconds_left:
            return None
        sentence = f"catching up: block {status.height} of {status.best_height}, {status.seconds_left} s left"
        return Way(sentence, status.height / status.best_height)

    async def show_joining(self, tip: Tip) -> None:
        """Answer as a node that joins. Raises Refused(PORT_IN_USE, BAD_CONFIG).

        Args:
            tip: of the chain that is in its home.
        """
        self.board.tell(FIRST_WORD)

        async def asked(method: Method, ask: Any) -> Any:
            progress = self.board.progress or FIRST_WORD
            if isinstance(ask, GetStatus):
                identity = self._identity
                return joining_status(
                    tip, progress, moniker=identity.moniker, node_id=identity.node_id, genesis=identity.genesis,
                    started_at=self._started_at,
                )
            raise Refused(Reason.JOINING, progress.sentence())

        app = application(asked, lambda: Health(ready=False, height=Decimal(tip.height)))
        await self._put(app, _Nothing())

    async def show(self, service: NodeService, core: Core, network: Mesh, nursery: trio.Nursery) -> None:
        """Answer as a node that runs, while the nursery is open. Raises Refused(PORT_IN_USE, BAD_CONFIG)."""
        self.board.clear()
        self._status = service.status
        heights = Heights(service)
        nursery.start_soon(heights.run)
        await self._put(make_app(service, heights), NodeCollector(core, network, wall_clock))

    async def _put(self, app: ASGIApp, collector: Collector) -> None:
        self._behind.app, self._behind.collector = app, collector
        if self.api_port:
            return
        config = self._config
        listener = bind_socket(config.api_host, config.api_port)
        self.api_port = await self._nursery.start(serve_application, self._behind, listener)
        self.metrics_port = await self._nursery.start(
            serve_metrics, _Figures(self._behind, self.board), config.api_host, config.metrics_port
        )


async def _nobody(method: Method, ask: Any) -> Any:
    raise Refused(Reason.JOINING, "the node is starting")
