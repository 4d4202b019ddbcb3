"""Makes the plots of a test network's validators, several at a time."""

import os
from collections.abc import Callable
from functools import partial

import trio

from crypto.errors import Refused
from node.home import Home
from node.keystore import CONSENSUS_KEY, load_node_key
from node.node import load_genesis
from node.proving.plots import Plot, make_plot, plot_of
from state.genesis import genesis_hash
from state.types import Address
from testnet.network import LocalNetwork

Progress = Callable[[str, float], None]
"""Is told which validator's plot is how far, from 0 to 1."""


def missing_plots(network: LocalNetwork) -> dict[str, Plot]:
    """Return by name of the node the plots that its chain asks for and that are not there yet.

    The validators of a test network are their own operators.

    Raises:
        Refused: BAD_GENESIS, GENESIS_MISMATCH, KEY_NOT_FOUND, BAD_KEY_FILE.
    """
    missing = {}
    for member in network.members:
        home = Home(network.home(member))
        genesis = load_genesis(home)
        if genesis.proofs.space_k:
            owner = Address(load_node_key(home.keys / f"{CONSENSUS_KEY}.json").address)
            plot = plot_of(home, genesis_hash(genesis), owner, 0, genesis.proofs.space_k)
            if not plot.path.exists():
                missing[member.name] = plot
    return missing


def make_plots(plots: dict[str, Plot], progress: Progress) -> None:
    """Make plots, as many at a time as there are processors.

    Raises:
        Refused: BAD_PLOT or NODE_DIED for the first that fails; the others are given up.
    """
    trio.run(_make_all, plots, progress)


async def _make_all(plots: dict[str, Plot], progress: Progress) -> None:
    limit = trio.CapacityLimiter(len(os.sched_getaffinity(0)))
    failed: list[Refused] = []

    async def make(name: str, plot: Plot) -> None:
        try:
            async with limit:
                await make_plot(plot, partial(progress, name))
            progress(name, 1.0)
        except Refused as refused:
            failed.append(refused)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for name, plot in plots.items():
            nursery.start_soon(make, name, plot)
    if failed:
        raise failed[0]
