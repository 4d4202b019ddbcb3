"""`nexus rollback` and the hand-over of the last-sign state, on real homes and in a network on real disks."""

import shutil
import sys
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio

from crypto.errors import Reason, Refused
from node.home import Home
from node.last_sign import decode_state, sign_document
from node.logs import configure_logging
from node.rollback import roll_back
from tests.crashes.disk import CountingDisk
from tests.crashes.lives import Ended, check_story, complete_home, in_child, lab, next_life, story_of
from tests.crashes.points import FOUR, SOLO, Scenario, undisturbed
from tests.node.test_cli import Outcome, nexus, running


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("error", "json", sys.__stderr__ or sys.stderr)
    monkeypatch.setenv("NEXUS_PASSWORD", "correct horse")


def made(home: Path) -> None:
    assert nexus("--home", str(home), "init", "alice", "--key-cost", "quick").code == 0


def at(home: Path, *words: str) -> Outcome:
    return nexus("--home", str(home), *words)


def refused(outcome: Outcome) -> str:
    return outcome.reason


# ---- rolling back


@pytest.mark.parametrize(
    ("scenario", "discard"), [(SOLO, False), (FOUR, False), (FOUR, True)], ids=["alone", "kept", "discarded"]
)
def test_undone_blocks_come_back_with_the_same_roots(tmp_path: Path, scenario: Scenario, discard: bool) -> None:
    """Alone, a validator executes again what it undid; in a network it may fetch it from the others."""
    _, blocks = undisturbed(scenario, tmp_path)
    complete_home(tmp_path, scenario.size)
    home, genesis = Home(tmp_path / "node0"), lab(scenario.size).genesis
    signed, goal = home.sign_state.read_bytes(), blocks[max(blocks) - 2]
    after = roll_back(home, genesis, 2, discard=discard)
    assert (after.height, after.block_id, after.state_root) == (goal.height, goal.block_id, goal.state_root)
    assert home.sign_state.read_bytes() == signed
    assert next_life(tmp_path, scenario.size, read_home=True) == 0
    story = story_of(tmp_path)
    assert story.lines[-1] == Ended(0)
    check_story(story, blocks, damaged=(0,))


def test_all_undo_their_last_block_and_agree_on_it_again(tmp_path: Path) -> None:
    _, blocks = undisturbed(FOUR, tmp_path)
    genesis = lab(FOUR.size).genesis
    for index in range(FOUR.size):
        assert roll_back(Home(tmp_path / f"node{index}"), genesis, 2).height == max(blocks) - 2
    assert next_life(tmp_path, FOUR.size) == 0
    story = story_of(tmp_path)
    assert story.lines[-1] == Ended(0)
    check_story(story, blocks)


def test_more_than_there_is_cannot_be_undone(tmp_path: Path) -> None:
    _, blocks = undisturbed(SOLO, tmp_path)
    home = Home(tmp_path / "node0")
    before = home.consensus_log.read_bytes()
    with pytest.raises(Refused) as caught:
        roll_back(home, lab(1).genesis, max(blocks) + 1)
    assert caught.value.reason is Reason.NOT_AVAILABLE
    assert home.consensus_log.read_bytes() == before


def test_a_crash_in_a_rollback_leaves_a_chain_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "life").mkdir()
    _, blocks = undisturbed(SOLO, tmp_path / "life")
    for point in count(1):
        copy = tmp_path / str(point)
        shutil.copytree(tmp_path / "life", copy)
        if not in_child(partial(_die_rolling_back, Home(copy / "node0"), point, copy / "death")):
            break
        assert next_life(copy, 1) == 0
        story = story_of(copy)
        assert story.lines[-1] == Ended(0)
        check_story(story, blocks, damaged=(0,))
    assert point > 8


def _die_rolling_back(home: Home, point: int, report: Path) -> None:
    disk = CountingDisk([home.root], point, report)
    disk.install()
    roll_back(home, lab(1).genesis, 1)


# ---- the last-sign state on the command line


async def vote_once(home: Path, file: Path) -> None:
    """Run a validator for some blocks; while it runs, its state is not given away."""
    async with running(home) as desk:
        bob = (await desk("keys", "add", "bob", "--key-cost", "quick")).value["address"]
        await desk.send("transfer", bob, "5nxs")
        await desk.next_block()
        assert (await desk("validator", "sign-state", "export", str(file))).reason == Reason.HOME_IN_USE


def test_a_standby_takes_over_with_the_exported_state_only(tmp_path: Path) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "exported"
    made(first)
    trio.run(vote_once, first, file)
    shown = at(first, "validator", "sign-state", "show").value
    assert shown["step"] == "precommit"
    assert not shown["exported"]
    made(second)
    for name in ("genesis.json", "genesis.hash", "keys/consensus_key.json"):
        (second / name).write_bytes((first / name).read_bytes())
    assert refused(at(second, "start")) == Reason.BAD_SIGN_STATE
    Home(second).sign_state.unlink()
    assert refused(at(second, "start")) == Reason.BAD_SIGN_STATE
    assert at(second, "start", "--standby").code == 2
    assert at(first, "validator", "sign-state", "export", str(file)).value["exported"] is False
    assert refused(at(first, "start")) == Reason.SIGN_STATE_EXPORTED
    assert refused(at(first, "validator", "sign-state", "export", str(file))) == Reason.BAD_ARGUMENT
    assert at(second, "validator", "sign-state", "import", str(file)).value["height"] == shown["height"]
    own = decode_state(sign_document(Home(second).sign_state).read())
    assert own == decode_state(file.read_bytes())


def test_a_state_goes_back_only_to_where_it_is_not_older(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "exported"
    made(home)
    assert at(home, "validator", "sign-state", "export", str(file)).code == 0
    assert at(home, "validator", "sign-state", "import", str(file)).value["exported"] is False
    assert at(home, "validator", "sign-state", "set", "--height", "9").value["height"] == 10
    assert refused(at(home, "validator", "sign-state", "import", str(file))) == Reason.DOUBLE_SIGN
    assert refused(at(home, "validator", "sign-state", "set", "--height", "8")) == Reason.DOUBLE_SIGN
    Home(home).sign_state.write_bytes(b"damaged")
    assert refused(at(home, "validator", "sign-state", "show")) == Reason.BAD_SIGN_STATE
    assert at(home, "validator", "sign-state", "import", str(file)).value["height"] == 1


def test_a_damaged_export_is_not_taken(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "exported"
    made(home)
    assert at(home, "validator", "sign-state", "export", str(file)).code == 0
    file.write_bytes(file.read_bytes()[:-1])
    assert refused(at(home, "validator", "sign-state", "import", str(file))) == Reason.BAD_SIGN_STATE
    assert refused(at(home, "validator", "sign-state", "import", str(tmp_path / "nothing"))) == Reason.BAD_SIGN_STATE


def test_a_rollback_on_the_command_line(tmp_path: Path) -> None:
    made(tmp_path / "home")
    assert refused(at(tmp_path / "home", "rollback")) == Reason.NOT_AVAILABLE
