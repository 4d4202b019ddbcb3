"""Key files in a home: every byte of them matters, and no secret is readable by others."""

import stat
from pathlib import Path

import pytest

from crypto.errors import Reason, Refused
from crypto.keyfile import Preset
from crypto.keys import KeyTree, SecretKey, new_phrase
from crypto.schemes import Scheme, multisig_public_key
from node.keystore import CONSENSUS_KEY, Keystore, is_sealed, load_node_key, save_node_key
from state.types import Address

QUICK = Preset.QUICK


def _refused(function: object, *arguments: object, **named: object) -> Reason:
    assert callable(function)
    with pytest.raises(Refused) as caught:
        function(*arguments, **named)
    return caught.value.reason


@pytest.mark.parametrize("scheme", [Scheme.FALCON, Scheme.HYBRID])
def test_a_stored_key_signs_again(tmp_path: Path, scheme: Scheme) -> None:
    store, key = Keystore(tmp_path / "keys"), SecretKey.generate(scheme)
    entry = store.add("alice", key, "pässword", cost=QUICK)
    assert (entry.address, entry.public_key, entry.scheme) == (key.address, key.public_key, scheme.name.lower())
    opened = store.open("alice", "pässword")
    assert (opened.key.to_bytes(), opened.address) == (key.to_bytes(), key.address)
    assert store.names() == ("alice",)
    assert stat.S_IMODE((tmp_path / "keys" / "alice.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_what_is_wrong_has_a_name(tmp_path: Path) -> None:
    store, key = Keystore(tmp_path), SecretKey.generate()
    assert store.names() == ()
    assert _refused(store.open, "alice", "pw") is Reason.KEY_NOT_FOUND
    store.add("alice", key, "pw", cost=QUICK)
    assert _refused(store.open, "alice", "wrong") is Reason.WRONG_PASSWORD
    assert _refused(store.add, "alice", key, "pw", cost=QUICK) is Reason.KEY_EXISTS
    for name in ("", "Alice", "../alice", "a b", "node_key", "x" * 33, "alice.next", "-x"):
        assert _refused(store.add, name, key, "pw", cost=QUICK) is Reason.BAD_ARGUMENT, name
    assert _refused(store.delete, "bob") is Reason.KEY_NOT_FOUND
    store.delete("alice")
    assert store.names() == ()


def test_a_damaged_file_is_refused_at_every_place(tmp_path: Path) -> None:
    store, key = Keystore(tmp_path), SecretKey.generate()
    store.add("alice", key, "pw", cost=QUICK)
    path = tmp_path / "alice.json"
    raw = path.read_bytes()
    for place in range(0, len(raw), 97):
        changed = bytearray(raw)
        changed[place] ^= 0x01
        path.write_bytes(changed)
        assert _refused(store.open, "alice", "pw") in (Reason.BAD_KEY_FILE, Reason.WRONG_PASSWORD)
    path.write_bytes(b"{}")
    assert _refused(store.entry, "alice") is Reason.BAD_KEY_FILE


def test_keys_move_between_homes(tmp_path: Path) -> None:
    here, there, key = Keystore(tmp_path / "a"), Keystore(tmp_path / "b"), SecretKey.generate()
    here.add("alice", key, "pw", cost=QUICK)
    raw = here.export("alice")
    assert _refused(there.import_file, "carol", raw, "wrong") is Reason.WRONG_PASSWORD
    assert _refused(there.import_file, "carol", raw[:-10], "pw") is Reason.BAD_KEY_FILE
    assert there.names() == ()
    assert there.import_file("carol", raw, "pw").address == key.address
    assert _refused(there.import_file, "carol", raw, "pw") is Reason.KEY_EXISTS


def test_a_rotation_keeps_both_keys_until_it_is_decided(tmp_path: Path) -> None:
    store, old, new = Keystore(tmp_path), SecretKey.generate(), SecretKey.generate()
    store.add("alice", old, "pw", cost=QUICK)
    store.prepare_rotation("alice", new, "pw", QUICK)
    assert _refused(store.prepare_rotation, "alice", new, "pw", QUICK) is Reason.KEY_EXISTS
    assert store.names() == ("alice",)
    successor = store.successor("alice", "pw")
    assert successor is not None and (successor.key.to_bytes(), successor.address) == (new.to_bytes(), old.address)
    assert store.open("alice", "pw").key.to_bytes() == old.to_bytes()
    store.finish_rotation("alice", happened=False)
    assert store.successor("alice", "pw") is None
    store.prepare_rotation("alice", new, "pw", QUICK)
    store.finish_rotation("alice", happened=True)
    opened = store.open("alice", "pw")
    assert (opened.key.to_bytes(), opened.address) == (new.to_bytes(), old.address)
    assert store.entry("alice").address == old.address


def test_joint_accounts_have_no_secret(tmp_path: Path) -> None:
    store = Keystore(tmp_path)
    public_key = multisig_public_key(2, [SecretKey.generate().public_key for _ in range(3)])
    entry = store.add_joint("team", public_key, Address(b"\x01" * 32))
    assert (entry.scheme, entry.public_key, entry.address) == ("multisig", public_key, b"\x01" * 32)
    assert store.names() == ("team",) and store.entry("team") == entry
    assert _refused(store.open, "team", "") is Reason.BAD_KEY
    assert _refused(store.add_joint, "other", b"\x03junk") is Reason.BAD_KEY
    (tmp_path / "team.joint.json").write_bytes(b"{}")
    assert _refused(store.entry, "team") is Reason.BAD_KEY_FILE


def test_a_nodes_own_keys_are_plain_and_private_or_sealed(tmp_path: Path) -> None:
    path, key = tmp_path / "keys" / f"{CONSENSUS_KEY}.json", KeyTree.from_phrase(new_phrase()).consensus()
    assert _refused(load_node_key, path) is Reason.KEY_NOT_FOUND
    save_node_key(path, key)
    assert load_node_key(path).to_bytes() == key.to_bytes() and not is_sealed(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    assert _refused(load_node_key, path) is Reason.BAD_KEY_FILE
    path.chmod(0o600)
    text = path.read_text()
    path.write_text(text.replace(key.to_bytes().hex()[2000:2010], key.to_bytes().hex()[2000:2009] + "z"))
    assert _refused(load_node_key, path) is Reason.BAD_KEY_FILE
    path.write_text("{")
    assert _refused(load_node_key, path) is Reason.BAD_KEY_FILE
    path.write_bytes(b'{"format": "\xb9"}')
    assert _refused(load_node_key, path) is Reason.BAD_KEY_FILE
    save_node_key(path, key, "pw", QUICK)
    assert is_sealed(path) and load_node_key(path, "pw").to_bytes() == key.to_bytes()
    assert _refused(load_node_key, path) is Reason.WRONG_PASSWORD
    assert _refused(load_node_key, path, "wrong") is Reason.WRONG_PASSWORD
