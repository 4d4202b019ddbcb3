import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import keyfile
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keyfile import Preset, open_secret, read_about, seal_secret

SECRET = bytes(range(40))
ABOUT = {"address": "nx1qqq", "scheme": "falcon"}
RAW = seal_secret(SECRET, "right", cost=Preset.QUICK, about=ABOUT)


def reason_of(raw: bytes, password: str = "right") -> Reason:
    with pytest.raises(Refused) as refusal:
        open_secret(raw, password)
    return refusal.value.reason


def resealed(**changes: Any) -> bytes:
    """Return a file with other open fields and a checksum that fits them: what an attacker would write."""
    file = json.loads(RAW)
    for name, value in changes.items():
        (file["kdf"] if name in file["kdf"] else file)[name] = value
    compact = json.dumps({**file, "checksum": ""}, separators=(",", ":"))
    file["checksum"] = digest(Label.KEY_FILE_CHECKSUM, compact.encode()).hex()
    return json.dumps(file, indent=2).encode() + b"\n"


def test_round_trip_and_open_facts() -> None:
    assert open_secret(RAW, "right") == SECRET
    assert read_about(RAW) == ABOUT
    assert SECRET not in RAW and SECRET.hex().encode() not in RAW
    assert seal_secret(SECRET, "right", cost=Preset.QUICK, about=ABOUT) != RAW


@pytest.mark.parametrize("password", ["", "Right", "right ", "\ud800", "r\0ight"])
def test_wrong_password(password: str) -> None:
    assert reason_of(RAW, password) is Reason.WRONG_PASSWORD


@pytest.mark.parametrize("secret", [b"", bytes(keyfile.MAX_SECRET_SIZE)])
@pytest.mark.parametrize("password", ["", "\ud800", "päss\0wörd", "x" * 5000])
def test_any_password_and_size(secret: bytes, password: str) -> None:
    assert open_secret(seal_secret(secret, password, cost=Preset.QUICK), password) == secret


def test_accents_typed_in_two_ways_are_one_password() -> None:
    assert open_secret(seal_secret(SECRET, "\u00e9", cost=Preset.QUICK), "e\u0301") == SECRET


def test_a_real_cost_works() -> None:
    raw = seal_secret(SECRET, "right", cost=Preset.INTERACTIVE)
    assert json.loads(raw)["kdf"]["memlimit"] == 64 << 20
    assert open_secret(raw, "right") == SECRET


def test_every_flipped_bit_is_found() -> None:
    for place in range(len(RAW)):
        for bit in range(8):
            damaged = bytearray(RAW)
            damaged[place] ^= 1 << bit
            assert reason_of(bytes(damaged)) is Reason.BAD_KEY_FILE


def test_every_cut_and_any_addition_is_found() -> None:
    for size in range(len(RAW)):
        assert reason_of(RAW[:size]) is Reason.BAD_KEY_FILE
    for other in (RAW + b"\n", b" " + RAW, RAW.replace(b"\n", b"\r\n"), json.dumps(json.loads(RAW)).encode()):
        assert reason_of(other) is Reason.BAD_KEY_FILE


@pytest.mark.parametrize(
    "changes",
    [
        {"about": {"address": "nx1zzz", "scheme": "falcon"}},
        {"about": {}},
        {"opslimit": 2},
        {"memlimit": 16384},
        {"salt": "00" * 16},
        {"nonce": "00" * 24},
        {"sealed": ""},
        {"sealed": "00" * 56},
    ],
)
def test_open_fields_are_bound_to_the_key(changes: dict[str, Any]) -> None:
    assert reason_of(resealed(**changes)) is Reason.WRONG_PASSWORD
    assert open_secret(resealed(), "right") == SECRET


@pytest.mark.parametrize(
    "changes",
    [
        {"memlimit": keyfile.MAX_MEMLIMIT + 1},
        {"memlimit": 100 << 30},
        {"memlimit": 2**64},
        {"memlimit": 0},
        {"memlimit": -1},
        {"opslimit": keyfile.MAX_OPSLIMIT + 1},
        {"opslimit": 0},
        {"salt": "00" * 15},
        {"salt": "zz" * 16},
        {"nonce": "00" * 23},
        {"sealed": "0"},
        {"name": "scrypt"},
        {"format": "nexus-key-file-2"},
        {"cipher": "none"},
    ],
)
def test_a_hostile_file_is_refused_before_any_work(changes: dict[str, Any]) -> None:
    assert reason_of(resealed(**changes)) is Reason.BAD_KEY_FILE


def test_sizes_are_capped() -> None:
    assert reason_of(RAW.ljust(keyfile.MAX_FILE_SIZE + 1)) is Reason.BAD_KEY_FILE
    for secret, about in ((bytes(keyfile.MAX_SECRET_SIZE + 1), {}), (b"", {"note": "x" * keyfile.MAX_FILE_SIZE})):
        with pytest.raises(Refused) as refusal:
            seal_secret(secret, "right", cost=Preset.QUICK, about=about)
        assert refusal.value.reason is Reason.TOO_LARGE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*json.loads(RAW), "x"]), inner),
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 60000))
def test_any_bytes_are_refused_by_name(raw: bytes) -> None:
    assert reason_of(raw) is Reason.BAD_KEY_FILE


@given(st.dictionaries(st.sampled_from(sorted(json.loads(RAW))), JSON, min_size=1, max_size=2))
def test_any_field_is_refused_by_name(fields: dict[str, Any]) -> None:
    raw = json.dumps({**json.loads(RAW), **fields}, indent=2).encode() + b"\n"
    assert raw == RAW or reason_of(raw) is Reason.BAD_KEY_FILE
