"""A model of gossipsub's router: how long a message takes to everybody, without running anybody.

What it knows: a graph of meshes, a processor for each node (or one for all, as in a measurement on one machine), what
a transmission costs, and how long a link takes. A node that gets a message for the first time delivers it and passes it
on to its mesh, one copy after the other; a copy that it knows costs it as much, and ends there. What the model leaves
out: lost packets, lazy gossip (IHAVE), pruning, other traffic. `nexus bench gossip` holds it against the real router.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

Graph = Sequence[Sequence[int]]
"""For each node the nodes in its mesh."""
Link = Callable[[int, int], float]
"""Seconds from one node to another."""
SENDING: Final = 0.5
"""Share of a transmission's cost that falls on the sender."""


def mesh_graph(nodes: int, rng: random.Random, degree: int = 6, high: int = 12) -> Graph:
    """Return random meshes as gossipsub makes them: everybody grafts up to `degree`, and takes up to `high`.

    Args:
        nodes: how many.
        rng: draws.
        degree: peers that a node wants.
        high: peers that it allows.
    """
    meshes: list[set[int]] = [set() for _ in range(nodes)]
    order = list(range(nodes))
    rng.shuffle(order)
    for node in order:
        tries = 0
        while len(meshes[node]) < min(degree, nodes - 1) and tries < 50:
            other = rng.randrange(nodes)
            tries += 1
            if other != node and len(meshes[other]) < high:
                meshes[node].add(other)
                meshes[other].add(node)
    return [sorted(mesh) for mesh in meshes]


def drawn_links(rng: random.Random, least: float, most: float) -> Link:
    """Return links whose delay is drawn once for each pair, evenly between two bounds (seconds)."""
    known: dict[tuple[int, int], float] = {}

    def link(one: int, other: int) -> float:
        pair = (min(one, other), max(one, other))
        if pair not in known:
            known[pair] = rng.uniform(least, most)
        return known[pair]

    return link


def delivery_times(graph: Graph, origin: int, cost: float, link: Link, *, one_processor: bool = False) -> list[float]:
    """Return for each node but the origin the seconds until it delivers; nodes that nothing reaches are left out.

    Args:
        graph: of meshes.
        origin: who publishes, at time 0.
        cost: processor seconds of one transmission, sender and receiver together.
        link: of each pair.
        one_processor: all nodes share one.
    """
    free = [0.0] * (1 if one_processor else len(graph))
    order = count()
    under_way: list[tuple[float, int, int, int]] = []
    delivered: dict[int, float] = {origin: 0.0}

    def work(node: int, at: float, seconds: float) -> float:
        slot = 0 if one_processor else node
        free[slot] = max(free[slot], at) + seconds
        return free[slot]

    def pass_on(node: int, at: float, without: int) -> None:
        for other in graph[node]:
            if other != without:
                at = work(node, at, SENDING * cost)
                heapq.heappush(under_way, (at + link(node, other), next(order), node, other))

    pass_on(origin, 0.0, origin)
    while under_way:
        at, _, sender, receiver = heapq.heappop(under_way)
        done = work(receiver, at, (1 - SENDING) * cost)
        if receiver not in delivered:
            delivered[receiver] = done
            pass_on(receiver, done, sender)
    return [at for node, at in delivered.items() if node != origin]
