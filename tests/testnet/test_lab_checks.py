"""Verdicts of the laboratory: each turns over when the one thing that it watches is not so."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace as with_fields

from testnet.lab.checks import Evidence, judge
from testnet.lab.manifest import Node, Plan
from testnet.lab.observe import BlockSeen, LightSeen, NodeSeen
from testnet.lab.reading import parse_manifest

MANIFEST = parse_manifest(
    '[nodes.alpha]\n[nodes.beta]\n[nodes.gamma]\n[nodes.delta]\n[nodes.light]\nrole = "light"\nstart_at = 2\n'
)
BLOCKS = MappingProxyType({
    height: BlockSeen(f"id-{height}", f"root-{height - 1}", 1, (f"tx-{height}",), 0) for height in range(1, 7)
})
ROWS: tuple[Mapping[str, Any], ...] = tuple(
    {"operator": f"nx-{name}", "moniker": name, "status": "candidate"} for name in MANIFEST.validators()
)
SEEN = NodeSeen(6, "root-6", False, BLOCKS, ROWS, {row["operator"]: 100 for row in ROWS})
GOOD = Evidence(
    manifest=MANIFEST, seen=dict.fromkeys(MANIFEST.validators(), SEEN), lights={"light": LightSeen(5, "id-5")},
    committed={"tx-3": 3, "tx-5": 5}, accepted={}, disturbed=frozenset(),
    stakes=dict.fromkeys(MANIFEST.validators(), 100 * 10**6),
    operators={name: f"nx-{name}" for name in MANIFEST.validators()}, settled=True,
)


def broken(evidence: Evidence) -> list[str]:
    return [verdict.what for verdict in judge(evidence) if not verdict.holds]


def beta(**changed: Any) -> Evidence:
    return GOOD._replace(seen={**GOOD.seen, "beta": SEEN._replace(**changed)})


def other_block(height: int, **changed: Any) -> dict[int, BlockSeen]:
    return {**BLOCKS, height: BLOCKS[height]._replace(**changed)}


def test_a_good_network_has_no_broken_verdict() -> None:
    assert broken(GOOD) == []
    assert len(judge(GOOD)) == 9


@pytest.mark.parametrize(
    ("evidence", "what"),
    [
        (beta(height=5, state_root="root-5", blocks={h: BLOCKS[h] for h in range(1, 6)}), "every node is at the tip"),
        (beta(catching_up=True), "every node is at the tip"),
        (beta(blocks=other_block(4, block_id="other")), "all nodes hold the same blocks"),
        (beta(blocks=other_block(4, state_root="other")), "all nodes have the same state roots"),
        (beta(state_root="other"), "all nodes have the same state roots"),
        (GOOD._replace(committed={"tx-3": 4}), "committed payments are found on every node"),
        (GOOD._replace(committed={}), "committed payments are found on every node"),
        (beta(blocks=other_block(3, txids=())), "committed payments are found on every node"),
        (GOOD._replace(accepted={"tx-9": "alpha"}), "accepted payments are not lost"),
        (GOOD._replace(lights={"light": LightSeen(5, "other")}), "light agrees"),
        (GOOD._replace(lights={"light": LightSeen(2, "id-2")}), "light agrees"),
        (GOOD._replace(stakes={**GOOD.stakes, "gamma": 7}), "validators have the power that they bonded"),
        (
            GOOD._replace(seen=dict.fromkeys(GOOD.seen, SEEN._replace(blocks=other_block(2, evidence=1)))),
            "nobody is accused of lying",
        ),
    ],
)
def test_one_thing_that_is_wrong_breaks_one_verdict(evidence: Evidence, what: str) -> None:
    assert what in broken(evidence)


def test_what_a_fault_explains_is_no_fault_of_the_chain() -> None:
    assert broken(GOOD._replace(accepted={"tx-9": "alpha"}, disturbed={"alpha"})) == []
    assert broken(GOOD._replace(accepted={"tx-5": "alpha"})) == []
    jailed = tuple({**row, "status": "jailed"} if row["moniker"] == "beta" else row for row in ROWS)
    seen = dict.fromkeys(GOOD.seen, SEEN._replace(candidates=jailed))
    assert broken(GOOD._replace(seen=seen)) == ["nobody honest is punished"]
    assert broken(GOOD._replace(seen=seen, disturbed={"beta"})) == []
    tombstoned = tuple({**row, "status": "tombstoned"} if row["moniker"] == "beta" else row for row in ROWS)
    seen = dict.fromkeys(GOOD.seen, SEEN._replace(candidates=tombstoned))
    assert broken(GOOD._replace(seen=seen, disturbed={"beta"})) == ["nobody honest is punished"]
    liar = with_fields(MANIFEST, nodes={**MANIFEST.nodes, "beta": Node(lies=("double_prevote",))})
    assert broken(GOOD._replace(seen=seen, manifest=liar)) == []


def test_a_node_that_joined_by_a_snapshot_is_not_asked_for_what_came_before() -> None:
    late = SEEN._replace(blocks={height: BLOCKS[height] for height in (4, 5, 6)})
    nodes = {**MANIFEST.nodes, "late": Node(role="full", sync="snapshot", start_at=3)}
    evidence = GOOD._replace(seen={**GOOD.seen, "late": late}, manifest=with_fields(MANIFEST, nodes=nodes))
    assert broken(evidence) == []
    assert broken(evidence._replace(seen={**GOOD.seen, "late": SEEN})) == ["late joined by a snapshot"]
    nodes["late"] = Node(role="full", sync="blocks", start_at=3)
    blocks = evidence._replace(manifest=with_fields(MANIFEST, nodes=nodes))
    assert broken(blocks) == ["late joined by blocks"]


def test_a_planned_version_begins_with_its_block() -> None:
    planned = with_fields(MANIFEST, steps=(Plan(version=2, height=5),))
    assert broken(GOOD._replace(manifest=planned)) == ["version 2 begins with block 5"]
    blocks = {height: block._replace(version=1 + (height >= 5)) for height, block in BLOCKS.items()}
    seen = dict.fromkeys(GOOD.seen, SEEN._replace(blocks=blocks))
    assert broken(GOOD._replace(manifest=planned, seen=seen)) == []
