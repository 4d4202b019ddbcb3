"""Damages the files of a stopped node at random, starts it, and checks: `python -m tests.crashes.damage --runs 500`.

Four machines die together; then some files of the first are damaged: bits flip, pages turn to zeros, ends are cut off,
files disappear. It starts again beside the other three. Whatever happens, it ends up with the chain of the others, or
it stops with a named reason that has a remedy; it never has another root and never signs a second thing.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from consensus.log import decode_entries, encode_entry
from crypto.errors import Reason
from node.remedies import REMEDIES
from tests.crashes.disk import DIED
from tests.crashes.lives import Committed, Ended, check_story, complete_home, first_life, next_life, story_of
from tests.crashes.points import FOUR, tell, undisturbed

PAGE: Final = 4096
LOG: Final = Path("node0/data/consensus.log")
BASES: Final = 6
"""Moments from which the damaged disks are taken."""


class Base(NamedTuple):
    """Disks of four machines that died in the middle of something, and the undisturbed run's blocks."""

    folder: Path
    expected: dict[int, Committed]


def make_bases(folder: Path, dice: random.Random, count: int = BASES) -> list[Base]:
    """Let the network die at some random points, none of them among the first."""
    (folder / "whole").mkdir()
    points, expected = undisturbed(FOUR, folder / "whole")
    bases: list[Base] = []
    for point in dice.sample(range(points // 3, points), points // 2):
        if len(bases) == count:
            break
        base = folder / f"base{point}"
        base.mkdir()
        complete_home(base, FOUR.size)
        # Who lies to whom, and so the number of points, varies a little from run to run: a late one may not come.
        if first_life(base, FOUR.size, point, FOUR.counted) == DIED:
            bases.append(Base(base, expected))
    assert len(bases) == count, f"only {len(bases)} of {points} points were reached"
    return bases


def damage(path: Path, dice: random.Random) -> str:
    """Do something to a file; return what."""
    content = bytearray(path.read_bytes())
    kind = dice.choice(("flip", "zero", "cut", "delete"))
    if kind == "delete" or not content:
        path.unlink()
        return f"delete {path.name}"
    if kind == "flip":
        for _ in range(dice.choice((1, 1, 1, 8))):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif kind == "zero":
        at = dice.randrange(len(content)) // PAGE * PAGE
        content[at : at + PAGE] = bytes(len(content[at : at + PAGE]))
    else:
        del content[dice.randrange(len(content)) :]
    mode = path.stat().st_mode
    path.write_bytes(content)
    path.chmod(mode)
    return f"{kind} {path.name}"


def _files(home: Path) -> tuple[list[Path], list[int]]:
    """Return a home's files, and how often each is to be hit: what the node writes while it runs, more often."""
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != "LOCK")
    often = {home / "data", home / "data" / "chain"}
    return files, [3 if path.parent in often or path.suffix == ".state" else 1 for path in files]


def votes(home: Path) -> bool:
    """Tell whether a home is still a validator's: without its key and what that signed it is a follower's."""
    return any((home / "keys" / name).exists() for name in ("consensus_key.json", "consensus_key.state"))


def outcome(base: Base, folder: Path, done: str) -> str:
    """Start the network on damaged disks; return "recovered" or the reason why it stopped."""
    try:
        assert next_life(folder, FOUR.size, read_home=True) == 0
        story = story_of(folder)
        ended = story.lines[-1]
        assert isinstance(ended, Ended), "it did not end"
        check_story(story, base.expected, damaged=(0,))
        assert not ended.fault, ended.fault
        assert not ended.refused or Reason(ended.refused) in REMEDIES, f"no remedy for {ended.refused}: {ended.detail}"
    except AssertionError as error:
        raise AssertionError(f"{done}: {error}") from None
    return ended.refused or "recovered"


def run(runs: int, seed: int) -> Iterator[tuple[str, str]]:
    """Damage and start again, `runs` times; yield what was damaged and what came of it."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="nexus-damage-") as name:
        bases = make_bases(Path(name), dice, min(runs, BASES))
        left = runs
        while left:
            base = dice.choice(bases)
            copy = Path(name) / "copy"
            shutil.copytree(base.folder, copy)
            victims = set(dice.choices(*_files(copy / "node0"), k=dice.choice((1, 1, 2, 3))))
            done = f"--seed {seed}: " + ", ".join(damage(path, dice) for path in sorted(victims))
            if votes(copy / "node0"):
                left -= 1
                yield done, outcome(base, copy, done)
            shutil.rmtree(copy)


def cut_log(seed: int, share: int = 1) -> int:
    """Cut the log at every (`share`-th) byte of its last two records, and start each time; return how often."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="nexus-damage-") as name:
        base = max(make_bases(Path(name), dice), key=lambda one: (one.folder / LOG).stat().st_size)
        raw = (base.folder / LOG).read_bytes()
        entries, whole = decode_entries(raw)
        start = whole - sum(len(encode_entry(entry)) for entry in entries[-2:])
        lengths = range(start + dice.randrange(share), len(raw), share)
        for length in lengths:
            copy = Path(name) / "copy"
            shutil.copytree(base.folder, copy)
            (copy / LOG).write_bytes(raw[:length])
            assert outcome(base, copy, f"log cut at {length}") == "recovered"
            shutil.rmtree(copy)
        return len(lengths)


def main() -> int:
    """Damage at random, then cut the log everywhere."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.damage", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=int, default=1, help="cut the log at every so many bytes only")
    given = parser.parse_args()
    outcomes: Counter[str] = Counter()
    for number, (_, came) in enumerate(run(given.runs, given.seed), 1):
        outcomes[came] += 1
        if number % 50 == 0:
            tell(f"{number} damaged: {dict(outcomes)}")
    tell(f"all well; {given.runs} damaged: {dict(outcomes)}")
    tell(f"all well; the log was cut at {cut_log(given.seed, given.share)} places")
    return 0


if __name__ == "__main__":
    sys.exit(main())
