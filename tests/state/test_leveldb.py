"""What can go wrong on a disk: a second process, a flipped bit, a torn write, a kill in the middle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crypto.errors import Reason, Refused
from state.chainstore import ChainStore
from state.leveldb import LevelDB
from state.types import Height
from tests.state.chains import GENESIS, Chain, initial

ROOT = Path(__file__).resolve().parents[2]
ROWS = [(b"key %05d" % number, b"value %05d " % number * 8) for number in range(3000)]


def fill(path: Path) -> None:
    """Leave the rows in a table file, not in the log: opening a database turns its log into a table."""
    for rows in (ROWS, []):
        db = LevelDB.open(path)
        db.write(rows)
        db.close()


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    path.write_bytes(raw)


def reason_of_reading(path: Path) -> Reason | None:
    """Open and read everything; return the reason if that is refused."""
    try:
        db = LevelDB.open(path)
    except Refused as refused:
        return refused.reason
    try:
        found = [(key, db.get(key)) for key, _ in ROWS]
        assert found == ROWS == list(db.scan(b"", b"z"))
        return None
    except Refused as refused:
        return refused.reason
    finally:
        db.close()


def test_survives_reopening(tmp_path: Path) -> None:
    fill(tmp_path / "db")
    assert reason_of_reading(tmp_path / "db") is None


def test_only_one_may_hold_it(tmp_path: Path) -> None:
    db = LevelDB.open(tmp_path / "db")
    with pytest.raises(Refused) as refused:
        LevelDB.open(tmp_path / "db")
    assert refused.value.reason is Reason.HOME_IN_USE
    db.close()
    LevelDB.open(tmp_path / "db").close()


@pytest.mark.network
def test_only_one_process_may_hold_it(tmp_path: Path) -> None:
    db = LevelDB.open(tmp_path / "db")
    program = (
        "import sys\nfrom crypto.errors import Refused\nfrom state.leveldb import LevelDB\n"
        "try:\n    LevelDB.open(sys.argv[1])\nexcept Refused as refused:\n    print(refused.reason.value)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "db"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == Reason.HOME_IN_USE.value
    db.close()


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.8])
def test_a_flipped_bit_in_a_table_is_noticed(tmp_path: Path, part: float) -> None:
    fill(tmp_path)
    (table,) = tmp_path.glob("*.ldb")
    flip(table, int(table.stat().st_size * part))
    assert reason_of_reading(tmp_path) is Reason.CORRUPT_DATABASE


def test_a_flipped_bit_in_the_log_is_noticed(tmp_path: Path) -> None:
    db = LevelDB.open(tmp_path)
    for start in range(0, len(ROWS), 100):
        db.write(ROWS[start : start + 100])
    db.close()
    (log,) = tmp_path.glob("*.log")
    flip(log, log.stat().st_size // 2)
    assert reason_of_reading(tmp_path) is Reason.CORRUPT_DATABASE


def test_a_torn_last_write_is_dropped_as_a_whole(tmp_path: Path) -> None:
    db = LevelDB.open(tmp_path)
    db.write(ROWS[:10])
    db.write(ROWS[10:20])
    db.close()
    (log,) = tmp_path.glob("*.log")
    log.write_bytes(log.read_bytes()[:-37])
    db = LevelDB.open(tmp_path)
    assert list(db.scan(b"", b"z")) == ROWS[:10]
    db.close()


def test_a_missing_current_file_is_no_new_database(tmp_path: Path) -> None:
    """LevelDB itself would begin a new one there, and delete the tables."""
    fill(tmp_path / "db")
    (tmp_path / "db" / "CURRENT").unlink()
    tables = sorted(file.name for file in (tmp_path / "db").glob("*.ldb"))
    with pytest.raises(Refused) as caught:
        LevelDB.open(tmp_path / "db")
    assert caught.value.reason is Reason.CORRUPT_DATABASE
    assert tables and sorted(file.name for file in (tmp_path / "db").glob("*.ldb")) == tables


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Refused) as refused:
        LevelDB.open(tmp_path / "file" / "db")
    assert refused.value.reason is Reason.CORRUPT_DATABASE


def committing(path: Path) -> None:
    """Commit blocks for ever, telling the height of each that is done: the other half of the test below."""
    chain = Chain(LevelDB.open(path))
    while True:
        chain.grow(transactions=20)
        sys.stdout.write(f"{chain.chain.height}\n")
        sys.stdout.flush()


@pytest.mark.network
@pytest.mark.parametrize("lines", [1, 2, 5, 9])
def test_a_kill_leaves_whole_blocks(tmp_path: Path, lines: int) -> None:
    program = "import sys\nfrom pathlib import Path\nfrom tests.state.test_leveldb import committing\n"
    command = [sys.executable, "-c", program + "committing(Path(sys.argv[1]))", str(tmp_path / "db")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        seen = [int(child.stdout.readline()) for _ in range(lines)][-1]
        os.kill(child.pid, signal.SIGKILL)
        seen = max([seen, *(int(line) for line in child.stdout if line.endswith("\n"))])
    db = LevelDB.open(tmp_path / "db")
    chain = ChainStore.open(db, GENESIS, initial)  # compares the root of all records with the stored one
    assert chain.height >= seen
    for height in map(Height, range(1, chain.height + 1)):
        assert len(chain.block(height).transactions) == len(chain.receipts(height)) == 20
    db.close()
