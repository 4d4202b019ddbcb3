"""The model of the router, and the picture of what it says."""

import random
from xml.etree import ElementTree

import pytest

from testnet.chart import Axis, Series, line_chart
from testnet.router_model import delivery_times, drawn_links, mesh_graph


def test_a_line_of_nodes_delivers_hop_by_hop() -> None:
    line = [[1], [0, 2], [1]]
    # 2 s of sending, 1 s on the link, 2 s of receiving; then the same again
    assert delivery_times(line, 0, 4.0, lambda _one, _other: 1.0) == [5.0, 10.0]


def test_one_processor_does_everything_in_turn() -> None:
    star = [[1, 2], [0], [0]]
    assert delivery_times(star, 0, 2.0, lambda _one, _other: 0.0) == [2.0, 3.0]
    assert delivery_times(star, 0, 2.0, lambda _one, _other: 0.0, one_processor=True) == [3.0, 4.0]


@pytest.mark.parametrize("nodes", [2, 4, 20, 300])
def test_everybody_is_reached_and_no_mesh_is_too_large(nodes: int) -> None:
    rng = random.Random(nodes)
    graph = mesh_graph(nodes, rng)
    assert max(map(len, graph)) <= 12
    assert all(node in graph[other] for node, mesh in enumerate(graph) for other in mesh)
    delays = delivery_times(graph, 0, 0.001, drawn_links(rng, 0.02, 0.15))
    assert len(delays) == nodes - 1 and min(delays) > 0.02


def test_the_picture_is_svg_with_every_point() -> None:
    axis = Axis("nodes", (1, 10, 100), True)
    drawn = line_chart("a < b", axis, Axis("ms", (0, 5, 10)), [Series("p50", [(1, 0), (10, 5), (100, 10)])])
    root = ElementTree.fromstring(drawn)
    marks = [one for one in root if one.tag.endswith("circle")]
    assert [(one.get("cx"), one.get("cy")) for one in marks[:3]] == [
        ("70.0", "365.0"), ("305.0", "202.5"), ("540.0", "40.0")
    ]
