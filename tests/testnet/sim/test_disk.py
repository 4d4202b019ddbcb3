"""What a power loss and a failed write leave behind."""

from random import Random

import pytest

from consensus.log import HeightEntry, decode_entries, encode_entry
from crypto.errors import Reason, Refused
from state.types import Height
from testnet.sim.disk import Disk, PowerLoss, SimFile, Trouble


def disk(seed: int = 1) -> Disk:
    return Disk(Random(seed))


def after_power_loss(seed: int) -> tuple[bytes, SimFile]:
    made = disk(seed)
    file = made.file("log")
    file.append(b"synced")
    file.sync()
    file.append(b"one")
    file.cut(2)
    file.append(b"two")
    made.lose_power()
    return file.read(), file


def test_what_was_synced_stays_and_the_rest_is_some_first_part_of_what_was_done() -> None:
    found = {after_power_loss(seed)[0] for seed in range(300)}
    whole = {b"synced", b"syncedone", b"sy", b"sytwo"}
    torn = {b"syncedo", b"syncedon", b"syt", b"sytw"}
    zeros = {b"synced\0\0\0", b"syncedo\0\0", b"syncedon\0", b"sy\0\0\0", b"syt\0\0", b"sytw\0"}
    assert {b"synced", b"sy"} <= found
    assert found & torn and found & zeros
    assert found <= whole | torn | zeros


def test_a_second_power_loss_takes_nothing_more() -> None:
    for seed in range(50):
        left, file = after_power_loss(seed)
        file._disk.lose_power()
        assert file.read() == left


def test_a_torn_log_is_read_up_to_the_tear() -> None:
    records = [encode_entry(HeightEntry(Height(height))) for height in (1, 2, 3)]
    for seed in range(100):
        made = disk(seed)
        file = made.file("log")
        file.append(records[0])
        file.sync()
        file.append(records[1])
        file.append(records[2])
        made.lose_power()
        entries, good = decode_entries(file.read())
        assert entries[:1] == (HeightEntry(Height(1)),)
        assert good <= len(file.read())


def test_a_synced_batch_is_durable_and_an_unsynced_one_may_be_undone_as_a_whole() -> None:
    found = set()
    for seed in range(50):
        made = disk(seed)
        made.store.write([(b"a", b"1"), (b"b", b"1")])
        made.store.write([(b"a", None), (b"b", b"2"), (b"c", b"2")], sync=False)
        made.store.write([(b"a", b"3")], sync=False)
        made.lose_power()
        found.add(tuple(made.store.scan(b"", b"z")))
    assert found == {
        ((b"a", b"1"), (b"b", b"1")),
        ((b"b", b"2"), (b"c", b"2")),
        ((b"a", b"3"), (b"b", b"2"), (b"c", b"2")),
    }


def test_power_fails_at_the_chosen_operation() -> None:
    made = disk()
    file = made.file("log")
    made.arm(Trouble.POWER, 1)
    file.append(b"one")
    with pytest.raises(PowerLoss):
        file.sync()
    file.append(b"two")


def test_a_failed_database_write_shows_after_the_next_start_or_never() -> None:
    found: set[bytes | None] = set()
    for seed in range(20):
        made = disk(seed)
        made.arm(Trouble.FAILURE, 0)
        for _ in range(2):  # every write until the next start fails
            with pytest.raises(Refused) as caught:
                made.store.write([(b"a", b"1")])
            assert caught.value.reason is Reason.CORRUPT_DATABASE
        assert made.failed
        assert made.store.get(b"a") is None
        made.started()
        assert not made.failed
        found.add(made.store.get(b"a"))
    assert found == {None, b"1"}


def test_failed_file_operations_raise_what_the_real_ones_raise() -> None:
    made = disk()
    file, document = made.file("log"), made.document("state", Reason.BAD_SIGN_STATE)
    made.arm(Trouble.FAILURE, 0)
    with pytest.raises(OSError):
        file.append(b"record")
    made.arm(Trouble.FAILURE, 0)
    with pytest.raises(OSError):
        file.sync()
    made.arm(Trouble.FAILURE, 0)
    with pytest.raises(OSError):
        file.cut(0)
    made.arm(Trouble.FAILURE, 0)
    with pytest.raises(Refused) as caught:
        document.replace(b"new")
    assert caught.value.reason is Reason.BAD_SIGN_STATE
    assert document.read() in (b"", b"new")


def test_wiping_keeps_one_document() -> None:
    made = disk()
    made.store.write([(b"a", b"1")])
    made.file("log").append(b"record")
    for name in ("kept", "lost"):
        made.document(name, Reason.CORRUPT_LOG).replace(b"content")
    made.wipe(kept="kept")
    assert made.store.get(b"a") is None
    assert made.file("log").read() == b""
    assert made.document("kept", Reason.CORRUPT_LOG).read() == b"content"
    assert made.document("lost", Reason.CORRUPT_LOG).read() == b""


def test_disarmed_disks_do_no_harm() -> None:
    made = disk()
    made.arm(Trouble.POWER, 0)
    made.disarm()
    made.file("log").append(b"record")
