"""Proving processes: what they give, what they say of bad plots, and how they end."""

import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
import trio

from crypto.errors import Reason, Refused
from crypto.space import check_space, space_challenge
from crypto.vdf import check_time
from node.home import Home
from node.proving.plots import Plot, answer_challenges, find_plots, make_plot, plot_of
from node.proving.tasks import run_job
from node.proving.worker import Job, PlotJob, TimeJob, WorkJob
from state.types import Address, ChainId

CHAIN = ChainId(b"\x07" * 32)
OWNER = Address(b"\x08" * 32)
BEACON = b"\x09" * 32


@pytest.fixture(scope="module")
def plot(tmp_path_factory: pytest.TempPathFactory) -> Plot:
    made = plot_of(Home(tmp_path_factory.mktemp("home")), CHAIN, OWNER, 0, 18)
    told: list[float] = []
    trio.run(make_plot, made, told.append)
    assert told == sorted(told) and len(told) > 5 and 0 < told[0] < told[-1] <= 1
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]
    return made


async def refusal(job_or_plot: Job | Plot) -> Refused:
    with pytest.raises(Refused) as caught:
        if isinstance(job_or_plot, Plot):
            await answer_challenges(job_or_plot, BEACON, 64, 16)
        else:
            await run_job(job_or_plot)
    return caught.value


async def test_a_plot_answers_and_its_proofs_hold(plot: Plot) -> None:
    result = await answer_challenges(plot, BEACON, 64, 16)
    numbers = [number for number, _ in result.proofs]
    assert len(numbers) == 16 and numbers == sorted(set(numbers))
    for number, proof in result.proofs:
        check_space(plot.id, 18, space_challenge(BEACON, plot.id, number), proof)


async def test_a_plot_that_is_there_is_not_made_again(plot: Plot) -> None:
    before = plot.path.stat()
    await make_plot(plot)
    assert plot.path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("damage", ["empty", "head", "half", "noise", "rotten", "header", "text"])
async def test_a_damaged_plot_is_named_and_ends_its_process_alone(plot: Plot, tmp_path: Path, damage: str) -> None:
    rng, raw = random.Random(damage), bytearray(plot.path.read_bytes())
    size = len(raw)
    match damage:
        case "empty":
            raw = bytearray()
        case "head":
            raw = raw[:60]
        case "half":
            raw = raw[: size // 2]
        case "noise":
            raw = bytearray(rng.randbytes(size))
        case "rotten":
            for _ in range(5000):
                raw[rng.randrange(200, size)] = rng.randrange(256)
        case "header":
            raw[54:200] = rng.randbytes(146)
        case "text":
            raw = bytearray(b"not a plot at all\n" * 100)
    copy = Plot(tmp_path / plot.path.name, plot.index, plot.k, plot.id)
    copy.path.write_bytes(raw)
    assert (await refusal(copy)).reason in (Reason.BAD_PLOT, Reason.NODE_DIED)


async def test_another_accounts_plot_under_this_name_is_named(plot: Plot, tmp_path: Path) -> None:
    other = plot_of(Home(tmp_path), CHAIN, Address(b"\x01" * 32), 0, 18)
    other.path.parent.mkdir()
    other.path.write_bytes(plot.path.read_bytes())
    assert (await refusal(other)).reason is Reason.BAD_PLOT


async def test_plots_are_found_by_chain_owner_and_size(plot: Plot, tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert find_plots(home, CHAIN, OWNER, 0) == []
    home.plots.mkdir()
    wanted = [plot_of(home, CHAIN, OWNER, index, k) for index, k in ((0, 18), (0, 20), (3, 19))]
    others = [plot_of(home, CHAIN, Address(BEACON), 0, 18), plot_of(home, ChainId(BEACON), OWNER, 0, 18)]
    for one in (*wanted, *others):
        one.path.touch()
    (home.plots / "plot-k18-0-x.plot").touch()
    (home.plots / "plot-k18-0.plot.2.tmp").touch()
    assert find_plots(home, CHAIN, OWNER, 18) == wanted
    assert find_plots(home, CHAIN, OWNER, 19) == wanted[1:]


async def test_impossible_plots_are_refused(tmp_path: Path) -> None:
    for k in (0, 17, 51):
        with pytest.raises(Refused) as caught:
            await make_plot(plot_of(Home(tmp_path), CHAIN, OWNER, 0, k))
        assert caught.value.reason is Reason.BAD_ARGUMENT
    job = PlotJob(str(tmp_path / "nowhere"), "x.plot", 18, bytes(32))
    assert (await refusal(job)).reason in (Reason.BAD_PLOT, Reason.NODE_DIED)


async def test_time_and_work(plot: Plot) -> None:
    result = await run_job(TimeJob(BEACON, 256, 3000))
    check_time(BEACON, 256, 3000, result.output, result.proof)
    tries: list[float] = []
    found = await run_job(WorkJob("WORK", BEACON, 18), tries.append)
    assert tries == sorted(tries) and all(count <= found.nonce for count in tries)


async def test_a_cancelled_job_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with trio.move_on_after(2) as scope:
        await run_job(TimeJob(BEACON, 1024, 10**9))
    assert scope.cancelled_caught
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_job_ends_when_its_parent_is_killed() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "node.proving.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert worker.stdin is not None
    worker.stdin.write(msgspec.json.encode(TimeJob(BEACON, 1024, 10**9)) + b"\n")
    worker.stdin.flush()
    worker.stdin.close()  # what the kernel does when the parent dies
    assert worker.wait(timeout=60) == 1


def test_the_worker_yields_to_consensus() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "node.proving.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(msgspec.json.encode(WorkJob("WORK", BEACON, 64)) + b"\n")
    worker.stdin.flush()
    worker.stdout.readline()
    worker.stdout.readline()  # its first report
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    worker.stdin.close()
    worker.wait(timeout=60)
    worker.stdout.close()
