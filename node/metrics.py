"""Prometheus on its own port. The numbers are read from the running node when somebody asks, and at no other time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apps.chain.records import load
from apps.proofs.identity import credited
from apps.proofs.records import FULL, epoch, halves
from consensus.effects import Step
from crypto.errors import Reason, Refused
from node.api.server import bind_socket, serve_application
from node.core import Core
from node.counters import BUCKETS, Timing
from node.progress import Progress
from p2p.mesh import Mesh

Clock = Callable[[], int]


class NodeCollector(Collector):
    """Turns what the node counts into metric families.

    Args:
        core: the node's logic.
        network: the peers.
        clock: ms since 1970.
    """

    def __init__(self, core: Core, network: Mesh, clock: Clock) -> None:
        self._core = core
        self._network = network
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Return every family with its present value."""
        yield from self._state()
        yield from self._consensus()
        yield from self._proofs()
        yield from self._transactions()
        yield from self._caches()
        yield from self._peers()

    def _state(self) -> Iterator[Metric]:
        store, counters = self._core.chain.store, self._core.agreement.counters
        outputs = store.output_counts
        yield GaugeMetricFamily("utxo_coin_count", "Unspent coins, hidden ones among them.", outputs.coins)
        yield GaugeMetricFamily("utxo_memo_count", "Unspent Memo outputs.", outputs.memos)
        yield GaugeMetricFamily("utxo_state_count", "Unspent State outputs.", outputs.states)
        yield _histogram("block_processing_time", "Seconds to write a final block.", counters.committing)
        yield _histogram("nexus_block_execution_time", "Seconds to execute a proposed block.", counters.executing)
        rate = counters.throughput(self._clock())
        yield GaugeMetricFamily("transaction_throughput", "Committed transactions a second, last 10 s.", rate)
        yield CounterMetricFamily("nexus_blocks", "Blocks committed.", value=counters.blocks)
        yield CounterMetricFamily("nexus_blocks_synced", "Blocks taken over from peers.", value=counters.synced)
        yield CounterMetricFamily("nexus_transactions", "Transactions committed.", value=counters.transactions)

    def _consensus(self) -> Iterator[Metric]:
        counters = self._core.agreement.counters
        step: Step = self._core.agreement.engine.step
        yield GaugeMetricFamily("nexus_height", "Last committed height.", self._core.chain.height)
        yield GaugeMetricFamily("nexus_round", "Round in progress.", step.round)
        yield GaugeMetricFamily("nexus_catching_up", "1 while blocks of peers are taken over.",
                                int(self._core.catching_up))
        yield _labelled("nexus_consensus_timeouts", "Timeouts by step.", "step", counters.timeouts)
        yield _labelled("nexus_proposals_rejected", "Proposals not voted for.", "reason", counters.rejected)
        pool = self._core.agreement.pool
        yield CounterMetricFamily("nexus_evidence", "Proofs of double signing learned.", value=pool.known)
        yield CounterMetricFamily(
            "nexus_signatures_withheld", "Votes and proposals that the last-sign state did not allow.",
            value=counters.withheld,
        )
        yield GaugeMetricFamily("nexus_evidence_pending", "Proofs of double signing not on chain yet.", len(pool))

    def _proofs(self) -> Iterator[Metric]:
        state, own = self._core.chain.store, self._core.agreement.own_address
        now, busy = epoch(state), load(state)
        yield GaugeMetricFamily("nexus_epoch", "Number of the epoch of the next block.", now.number)
        yield GaugeMetricFamily("nexus_epoch_weak", "1 if its beacon is not from the delay function.", int(now.weak))
        yield GaugeMetricFamily("nexus_difficulty", "Leading zero bits asked of a transaction.", busy.difficulty)
        yield GaugeMetricFamily("nexus_average_gas", "Gas wanted of a block, averaged.", busy.average)
        if own is not None:
            share = halves(state, credited(state, own)) / FULL
            yield GaugeMetricFamily("nexus_proofs_share", "Share of our stake that our proofs let vote.", share)

    def _transactions(self) -> Iterator[Metric]:
        mempool, admission = self._core.mempool, self._core.admission
        yield GaugeMetricFamily("nexus_mempool_transactions", "Transactions that wait.", len(mempool))
        yield GaugeMetricFamily("nexus_mempool_bytes", "Bytes of transactions that wait.", mempool.bytes)
        yield _labelled("nexus_refusals", "Transactions refused at admission.", "reason", admission.refusals)

    def _caches(self) -> Iterator[Metric]:
        store, signatures = self._core.chain.store, self._core.agreement.signatures
        hits = {"record": store.cache_hits, "page": store.page_hits, "signature": signatures.hits}
        misses = {"record": store.cache_misses, "page": store.page_misses, "signature": signatures.misses}
        yield _labelled("nexus_cache_hits", "Answers from a cache.", "cache", hits)
        yield _labelled("nexus_cache_misses", "Answers that were not in a cache.", "cache", misses)

    def _peers(self) -> Iterator[Metric]:
        metrics, counters = self._network.metrics, self._core.agreement.counters
        yield GaugeMetricFamily("nexus_peers", "Live connections.", len(self._network.peers()))
        yield CounterMetricFamily("nexus_p2p_bytes_sent", "UDP payload bytes.", value=metrics.bytes_sent)
        yield CounterMetricFamily("nexus_p2p_bytes_received", "UDP payload bytes.", value=metrics.bytes_received)
        for name, values in (
            ("sent", metrics.frames_sent), ("received", metrics.frames_received), ("dropped", metrics.dropped_frames)
        ):
            by_channel = {channel.name.lower(): count for channel, count in values.items()}
            yield _labelled(f"nexus_p2p_frames_{name}", "Frames by channel.", "channel", by_channel)
        yield CounterMetricFamily("nexus_p2p_dropped_datagrams", "Datagrams without use.",
                                  value=metrics.dropped_datagrams)
        yield CounterMetricFamily("nexus_p2p_handshakes", "Connections authenticated.", value=metrics.handshakes)
        yield _labelled("nexus_p2p_refusals", "Connections that ended, by reason.", "reason", metrics.refusals)
        gossip = self._network.gossip
        yield GaugeMetricFamily("nexus_gossip_peers", "Peers that gossip with us.", gossip.peers)
        for name, about, by_topic in (
            ("sent", "Our own messages", gossip.sent), ("delivered", "New messages of others", gossip.delivered),
            ("duplicates", "Messages that came again", gossip.duplicates),
            ("invalid", "Messages whose bytes were wrong", gossip.invalid),
        ):
            yield _labelled(f"nexus_gossip_{name}", f"{about}, by topic.", "topic", dict(by_topic))
        yield _labelled("nexus_gossip_dropped", "Messages neither sent nor looked at.", "cause", dict(gossip.drops))
        yield _labelled("nexus_p2p_misbehaviour", "What peers did wrong.", "reason", counters.misbehaviour)


def _labelled(name: str, about: str, label: str, values: dict[Any, int] | Any) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([str(getattr(key, "value", key))], value)
    return family


def _histogram(name: str, about: str, timing: Timing) -> HistogramMetricFamily:
    bounds = [*map(str, BUCKETS), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(timing.counts)), strict=True))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=timing.total)


def joining_metrics(progress: Progress | None) -> Iterator[Metric]:
    """Yield how far a node is that joins by a snapshot; zeros for one that does not."""
    joining = 0 if progress is None else 1
    share, left = (0.0, 0) if progress is None else (progress.share, progress.seconds_left or 0)
    yield GaugeMetricFamily("nexus_joining", "1 while the node joins by a snapshot.", joining)
    yield GaugeMetricFamily("nexus_joining_share", "Share of the snapshot's chunks that is here.", share)
    yield GaugeMetricFamily("nexus_joining_seconds_left", "Seconds left of its chunks; 0 if not known.", left)


async def serve_metrics(
    collector: Collector, host: str, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve /metrics until cancelled; the port is reported as started.

    Args:
        collector: what to show, besides the process's memory, CPU time and open files.
        host: an IPv6 address.
        port: TCP port, 0 for any free one.
        task_status: trio's.

    Raises:
        Refused: PORT_IN_USE, BAD_CONFIG.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        listener = bind_socket(host, port)
    except Refused as refused:
        if refused.reason is not Reason.PORT_IN_USE:
            raise
        raise Refused(refused.reason, f"port {port} is in use on {host}; choose another metrics_port") from None
    await serve_application(_app(registry), listener, task_status=task_status)


def _app(registry: CollectorRegistry) -> Starlette:
    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics)])
