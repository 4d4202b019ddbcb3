from pathlib import Path

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from crypto.errors import Reason, Refused
from node.counters import Counters, Timing
from node.metrics import NodeCollector, serve_metrics
from state.types import Address
from tests.node.lab import Lab, until

BOB = Address(b"\x07" * 32)


async def scrape(port: int) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://[::1]:{port}/metrics")
    assert answer.status_code == 200
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_the_names_are_there_and_count(tmp_path: Path) -> None:
    lab = Lab(tmp_path, size=1)
    async with lab.node(0) as node, trio.open_nursery() as nursery:
        collector = NodeCollector(node.core, node.network, lambda: node.core.chain.tip.time + 1)
        port = await nursery.start(serve_metrics, collector, "::1", 0)
        before = await scrape(port)
        assert {"utxo_coin_count", "utxo_memo_count", "utxo_state_count", "transaction_throughput"} <= set(before)
        await node.service.submit_many([lab.pay(node, 0, 0, BOB, 1).raw, b"\x00", b"\x01"])
        await until(lambda: node.core.chain.height == 2)
        after = await scrape(port)
        assert after["block_processing_time_count"] == after["nexus_blocks_total"] == after["nexus_height"] == 2
        assert (after["nexus_epoch"], after["nexus_epoch_weak"], after["nexus_difficulty"]) == (0, 1, 0)
        assert after["nexus_proofs_share"] == 1
        assert after["nexus_transactions_total"] == 1
        assert after["transaction_throughput"] == 0.1
        assert after["nexus_refusals_total[malformed]"] == 2
        assert after["nexus_cache_misses_total[signature]"] == 1
        assert after["nexus_cache_hits_total[signature]"] >= 1
        assert after["nexus_cache_hits_total[page]"] > before["nexus_cache_hits_total[page]"]
        assert after["process_resident_memory_bytes"] > 0
        with pytest.raises(Refused) as caught:
            await serve_metrics(collector, "::1", port)
        assert caught.value.reason is Reason.PORT_IN_USE
        nursery.cancel_scope.cancel()


def test_a_histogram_counts_each_duration_once() -> None:
    timing = Timing()
    for seconds in (0.001, 0.005, 0.02, 99.0):
        timing.add(seconds)
    assert sum(timing.counts) == 4 and timing.counts[0] == 2 and timing.counts[-1] == 1


def test_throughput_looks_ten_seconds_back() -> None:
    counters = Counters()
    counters.committed(1_000, 50)
    counters.committed(9_000, 100)
    assert counters.throughput(9_000) == 15.0
    assert counters.throughput(12_000) == 10.0
    assert counters.throughput(30_000) == 0.0
