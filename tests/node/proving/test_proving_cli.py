"""Plots, proofs and sponsors on the command line, against a real node."""

import sys
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from apps.proofs.records import Given, given
from crypto.errors import Reason
from node.cli.commands.init import write_genesis
from node.home import open_home
from node.logs import configure_logging
from node.node import load_genesis
from state.params import ProofParams, SecurityParams
from tests.node.lab import until
from tests.node.test_cli import PASSWORD, nexus, running


def make_home(folder: Path, proofs: ProofParams) -> Path:
    home = folder / "home"
    assert nexus("--home", str(home), "init", "alice", "--key-cost", "quick").code == 0
    genesis = load_genesis(open_home(home))
    write_genesis(open_home(home), replace(genesis, proofs=proofs, security=SecurityParams(epoch_length=100)))
    open_home(home).sign_state.unlink(missing_ok=True)  # it is of the chain that `init` made
    return home


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("error", "json", sys.__stderr__ or sys.stderr)
    monkeypatch.setenv("NEXUS_PASSWORD", PASSWORD)


async def test_an_operator_plots_proves_and_sponsors(tmp_path: Path) -> None:
    home = make_home(tmp_path, ProofParams(space_k=18, work_bits=4, where=1))
    made = (await trio.to_thread.run_sync(nexus, "--home", str(home), "validator", "plot")).value
    assert [(plot["k"], plot["index"], plot["bytes"] > "3") for plot in made] == [(18, 0, True)]
    assert nexus("--home", str(home), "validator", "status").code == 1  # no node runs
    async with running(home) as run:
        assert (await run("validator", "plot")).value == made
        operator = load_genesis(open_home(home)).validators[0].operator
        await until(lambda: given(run.service.reader(), operator) == Given(1, 1), 60)
        shown = (await run("validator", "status")).value
        assert [shown[kind] for kind in ("space", "work", "time")] == ["given in this epoch"] * 2 + ["not asked"]
        assert (shown["share_of_stake"], shown["epoch"], shown["beacon"]) == ("2/2", 0, "weak")
        assert (shown["status"], shown["bonded"], shown["voting_power"]) == ("candidate", "10nxs", "10")
        found = (await run("query", "proofs", "operator")).value
        assert (found["asked"]["space_k"], found["space"]["valid"], found["given"]["space_epoch"]) == ("18", True, "0")
        assert set((await run("query", "proofs")).value) == {"asked", "epoch"}
        bob = (await run("keys", "add", "bob", "--key-cost", "quick")).value["address"]
        await run.send("transfer", bob, "3nxs")  # the operator's record is its WHERE
        back = ("tx", "transfer", "operator", "1nxs", "--from", "bob")
        assert (await run(*back)).reason == Reason.MISSING_WHERE
        assert (await run(*back, "--sponsor", "carol")).reason == Reason.KEY_NOT_FOUND
        assert (await run(*back, "--sponsor", "operator")).value["status"] == "committed"
        assert (await run("tx", "space", "--from", "bob")).reason == Reason.BAD_PLOT
        assert (await run("tx", "space", "--from", "operator")).reason == Reason.ALREADY_GIVEN
        assert (await run("tx", "time", "--from", "operator")).reason == Reason.NOT_ASKED


async def test_anybody_may_show_the_delay_functions_output(tmp_path: Path) -> None:
    home = make_home(tmp_path, ProofParams(vdf_iterations=50_000, vdf_bits=256))
    async with running(home) as run:
        outcome = await run("tx", "time", "--from", "operator")
        assert outcome.code == 0 or outcome.reason == Reason.ALREADY_GIVEN  # its own node may be first
        assert (await run("tx", "time", "--from", "operator")).reason == Reason.ALREADY_GIVEN
        assert (await run("validator", "status")).value["time"] == "the next beacon is known"


def test_what_cannot_be_plotted_says_why(tmp_path: Path) -> None:
    home = make_home(tmp_path, ProofParams())
    assert nexus("--home", str(home), "validator", "plot", "--k", "17").reason == Reason.BAD_ARGUMENT
    assert nexus("--home", str(home), "validator", "plot", "--k", "51").code == 2
    assert nexus("--home", str(home), "validator", "plot", "--account", "nobody").reason == Reason.KEY_NOT_FOUND
    assert nexus("--home", str(tmp_path / "none"), "validator", "plot").reason == Reason.HOME_MISSING
    other = tmp_path / "other"
    made = nexus(
        "--home", str(other), "init", "bob", "--key-cost", "quick", "--genesis", str(home / "genesis.json")
    )
    assert made.code == 0, made.err
    assert nexus("--home", str(other), "validator", "plot").code == 2  # no validator of genesis: needs --account
