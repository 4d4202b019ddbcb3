"""The file under the log's records: what survives, and what a torn end costs."""

from pathlib import Path

import pytest

from consensus.log import HeightEntry, decode_entries, encode_entry
from node.consensus_log import DiskLog
from state.types import Height


def record(height: int) -> bytes:
    return encode_entry(HeightEntry(Height(height)))


def test_records_come_back_in_order(tmp_path: Path) -> None:
    with DiskLog(tmp_path / "log") as log:
        log.append(record(1))
        log.append(record(2))
        log.sync()
    with DiskLog(tmp_path / "log") as log:
        log.append(record(3))
        entries, good = decode_entries(log.read())
    assert entries == (HeightEntry(Height(1)), HeightEntry(Height(2)), HeightEntry(Height(3)))
    assert good == sum(len(record(height)) for height in (1, 2, 3))


@pytest.mark.parametrize("torn", range(1, len(record(2))))
def test_a_torn_end_is_cut_and_written_over(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(record(1) + record(2)[:torn])
    with DiskLog(path) as log:
        _, good = decode_entries(log.read())
        log.cut(good)
        log.append(record(3))
        assert decode_entries(log.read())[0] == (HeightEntry(Height(1)), HeightEntry(Height(3)))


def test_cutting_everything_begins_anew(tmp_path: Path) -> None:
    with DiskLog(tmp_path / "log") as log:
        log.append(record(1))
        log.cut(0)
        log.append(record(2))
        assert log.read() == record(2)


def test_the_log_is_private(tmp_path: Path) -> None:
    with DiskLog(tmp_path / "log"):
        assert (tmp_path / "log").stat().st_mode & 0o077 == 0
