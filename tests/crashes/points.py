"""Dies at every write and sync point of a small network, restarts it, and checks: `python -m tests.crashes.points`.

A scenario is a number of machines, all on real disks, and whose disks are counted. At each point the process dies by
`os._exit`; then the disks are taken as they are, and again with everything cut back that was not synced: wholly, by one
byte, by half, at random, and with unsynced renames undone. On each of them the network is started anew, takes up all
payments, and must not have lost, forked or signed anything twice.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tests.crashes.disk import DIED, Death, Unsynced
from tests.crashes.lives import Committed, Ended, Story, check_story, first_life, next_life, story_of

CUTS: Final = ("all", "one byte", "half", "random")


class Scenario(NamedTuple):
    """How many machines there are, and whose disks are counted. All die together."""

    name: str
    size: int
    counted: tuple[str, ...]


SOLO: Final = Scenario("solo", 1, ("node0",))
FOUR: Final = Scenario("four", 4, ("node0",))
SCENARIOS: Final = (SOLO, FOUR)


class Tally(NamedTuple):
    """What was run."""

    points: int
    restarts: int


def undisturbed(scenario: Scenario, folder: Path) -> tuple[int, dict[int, Committed]]:
    """Run a scenario to its end; return the number of its points, and its blocks by height."""
    assert first_life(folder, scenario.size, 0, scenario.counted) == 0
    story = story_of(folder)
    (ended,) = [line for line in story.lines if isinstance(line, Ended)]
    return ended.points, {line.height: line for line in story.lines if isinstance(line, Committed)}


def check_point(scenario: Scenario, point: int, expected: dict[int, Committed], dice: random.Random) -> int:
    """Die at one point, and restart from every state that the disks may be in; return the number of restarts."""
    restarts = 0
    with tempfile.TemporaryDirectory(prefix="nexus-crash-") as name:
        folder = Path(name) / "life"
        folder.mkdir()
        code = first_life(folder, scenario.size, point, scenario.counted)
        assert code == DIED, f"point {point} was not reached (exit code {code})"
        death = msgspec.msgpack.decode((folder / "death").read_bytes(), type=Death)
        cuts = ("", *CUTS) if death.unsynced else ("",)
        for cut in cuts:
            copy = Path(name) / "copy"
            shutil.copytree(folder, copy)
            if cut:
                for item in death.unsynced:
                    lose(copy / Path(item.path).relative_to(folder), item, cut, dice)
            try:
                restart(copy, scenario, expected)
            except AssertionError as error:
                raise AssertionError(f"{scenario.name}, point {point} ({death.what}), cut {cut!r}: {error}") from None
            shutil.rmtree(copy)
            restarts += 1
    return restarts


def restart(folder: Path, scenario: Scenario, expected: dict[int, Committed]) -> Story:
    """Go on with the disks in a folder; return the whole story, which is as it should be."""
    assert next_life(folder, scenario.size) == 0
    story = story_of(folder)
    ended = story.lines[-1]
    assert isinstance(ended, Ended), "the restart did not end"
    check_story(story, expected)
    assert not ended.fault, ended.fault
    assert not ended.refused, f"{ended.refused}: {ended.detail}"
    return story


def lose(path: Path, item: Unsynced, cut: str, dice: random.Random) -> None:
    """Take away what was not synced of a file: all of it, or some."""
    if item.length >= 0:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(_length(item.length, size, cut, dice))
        return
    present = path.read_bytes() if path.is_file() else b""
    durable = item.durable or b""
    if cut == "all":
        if item.durable is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(durable)
    elif path.is_file() and not item.name_only:
        low = len(durable) if present.startswith(durable) else 0
        path.write_bytes(present[: _length(low, len(present), cut, dice)])


def _length(low: int, high: int, cut: str, dice: random.Random) -> int:
    return {"all": low, "one byte": max(low, high - 1), "half": (low + high) // 2}.get(cut, dice.randint(low, high))


def run(scenario: Scenario, share: int, seed: int) -> Iterator[Tally]:
    """Check every `share`-th point of a scenario, from a random one on; yield the tally after each."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="nexus-crash-") as name:
        points, expected = undisturbed(scenario, Path(name))
    restarts = 0
    chosen = range(1 + dice.randrange(share), points + 1, share)
    for done, point in enumerate(chosen, 1):
        restarts += check_point(scenario, point, expected, dice)
        yield Tally(done, restarts)


def tell(line: str) -> None:
    """Write a line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run all points of all scenarios, or a share of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.points", description=__doc__)
    parser.add_argument("--share", type=int, default=1, help="every so many points only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", choices=[scenario.name for scenario in SCENARIOS])
    given = parser.parse_args()
    for scenario in SCENARIOS:
        if given.scenario in (None, scenario.name):
            tally = Tally(0, 0)
            for tally in run(scenario, given.share, given.seed):
                if tally.points % 25 == 0:
                    tell(f"{scenario.name}: {tally.points} points, {tally.restarts} restarts")
            tell(f"{scenario.name}: all well; {tally.points} points, {tally.restarts} restarts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
