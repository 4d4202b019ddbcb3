"""Plot files of a home: `plots/plot-k18-0-<first 16 digits of the plot id>.plot`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crypto.errors import Reason, Refused
from crypto.space import MAX_K, MIN_K, plot_id
from node.home import PRIVATE_FOLDER, Home
from node.proving.tasks import Progress, no_progress, run_job
from node.proving.worker import AnswerJob, PlotJob, Result
from state.types import Address, ChainId

_NAME: Final = re.compile(r"plot-k(?P<k>\d{2})-(?P<index>\d{1,9})-(?P<id>[0-9a-f]{16})\.plot")


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of an account: its file, which of the account's plots it is, its size and id."""

    path: Path
    index: int
    k: int
    id: bytes


def plot_of(home: Home, chain_id: ChainId, owner: Address, index: int, k: int) -> Plot:
    """Return what an account's plot is called, whether it is there or not."""
    found = plot_id(chain_id, owner, index)
    name = f"plot-k{k:02}-{index}-{found.hex()[:16]}.plot"
    return Plot(home.plots / name, index, k, found)


def find_plots(home: Home, chain_id: ChainId, owner: Address, least_k: int) -> list[Plot]:
    """Return an account's plots of at least that size, by their names, the lowest index first."""
    found = []
    folder = home.plots
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        plot = plot_of(home, chain_id, owner, int(match["index"]), int(match["k"]))
        if plot.path == path and plot.k >= least_k:
            found.append(plot)
    return sorted(found, key=lambda plot: (plot.index, plot.k))


async def make_plot(plot: Plot, progress: Progress = no_progress) -> None:
    """Make a plot unless it is there. What a stopped run left behind is removed.

    Raises:
        Refused: BAD_ARGUMENT for a size that cannot be, BAD_PLOT or NODE_DIED if it fails.
    """
    if not MIN_K <= plot.k <= MAX_K:
        raise Refused(Reason.BAD_ARGUMENT, f"a plot has a size k from {MIN_K} to {MAX_K}, not {plot.k}")
    if plot.path.exists():
        return
    folder = plot.path.parent
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    job = PlotJob(str(folder), plot.path.name, plot.k, plot.id)
    try:
        await run_job(job, progress)
    finally:
        for left in folder.glob(f"{plot.path.name}.*"):
            left.unlink(missing_ok=True)
    if not plot.path.exists():
        raise Refused(Reason.BAD_PLOT, f"{plot.path.name} was not written")


async def answer_challenges(plot: Plot, beacon: bytes, challenges: int, needed: int) -> Result:
    """Return `needed` proofs from a plot. Raises Refused(BAD_PLOT | NODE_DIED)."""
    return await run_job(AnswerJob(str(plot.path), plot.k, plot.id, beacon, challenges, needed))
