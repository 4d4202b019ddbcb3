"""Keys in a home: named account keys, sealed with a password, and the two keys that a running node needs.

    keys/NAME.json          an account key: Argon2id and SecretBox (crypto.keyfile)
    keys/NAME.next.json     its successor while a rotation is under way
    keys/NAME.joint.json    a multi-signature account: public, no secret
    keys/consensus_key.json the validator's voting key
    keys/node_key.json      the key that peers know this node by

A validator must come up again without anybody at the keyboard. So its two keys are, as operators expect, plain files
that their owner alone can read (mode 0600, refused with any other), or sealed like account keys if `init` was told to;
then `start` needs the password. Account keys are always sealed.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from crypto.keyfile import Preset, open_secret, read_about, seal_secret
from crypto.keys import SecretKey
from crypto.schemes import Scheme, address_of, multisig_members
from node.home import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder, write_file
from state.types import Address

CONSENSUS_KEY: Final = "consensus_key"
NODE_KEY: Final = "node_key"
RESERVED: Final = frozenset({CONSENSUS_KEY, NODE_KEY})
MAX_KEY_FILE: Final = 1 << 17
_NAME: Final = re.compile("[a-z0-9][a-z0-9_-]{0,31}")
_PLAIN_FORMAT: Final = "nexus-plain-key-1"
_JOINT_FORMAT: Final = "nexus-joint-key-1"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What is known of a stored account key without its password.

    `address` names the account; after a rotation it is not that of the present key. `scheme` is "falcon", "hybrid" or
    "multisig".
    """

    name: str
    address: Address
    scheme: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """An account key, ready to sign for the account at `address`."""

    name: str
    address: Address
    key: SecretKey


class _PlainKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    address: str
    secret: str


class _JointKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    address: str
    public_key: Annotated[str, Meta(max_length=MAX_KEY_FILE)]


class Keystore:
    """Account keys in one folder, by name.

    Args:
        folder: made, private, when the first key is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> tuple[str, ...]:
        """Return the names of all account keys in order."""
        found = {path.name.removesuffix(".json").removesuffix(".joint") for path in self.folder.glob("*.json")}
        return tuple(sorted(name for name in found if _NAME.fullmatch(name) and name not in RESERVED))

    def entry(self, name: str) -> KeyEntry:
        """Return what is known without a password. Raises Refused(KEY_NOT_FOUND | BAD_KEY_FILE)."""
        joint = self._path(name, ".joint")
        if joint.exists():
            return _read_joint(name, joint)
        about = read_about(_read(self._path(name), name))
        try:
            address = Address(decode_address(about["address"]))
            return KeyEntry(name, address, about["scheme"], bytes.fromhex(about["public_key"]))
        except (KeyError, ValueError, Refused):
            raise Refused(Reason.BAD_KEY_FILE, f"the file of key {name!r} does not say whose it is") from None

    def add(
        self, name: str, key: SecretKey, password: str, *,
        address: Address | None = None, cost: Preset = Preset.MODERATE,
    ) -> KeyEntry:
        """Seal and store a key.

        Args:
            name: small letters, digits, `-` and `_`, at most 32.
            key: the secret.
            password: seals it.
            address: the account it signs for, if that is not the key's own address.
            cost: of one guess of the password.

        Raises:
            Refused: BAD_ARGUMENT (name), KEY_EXISTS.
        """
        self._check_free(name)
        self._write(self._path(name), _seal(key, password, address, cost))
        return self.entry(name)

    def add_joint(self, name: str, public_key: bytes, address: Address | None = None) -> KeyEntry:
        """Store a multi-signature account, which has no secret of its own.

        Raises:
            Refused: BAD_ARGUMENT, KEY_EXISTS, BAD_KEY.
        """
        self._check_free(name)
        multisig_members(public_key)
        text = encode_address(address or address_of(public_key))
        file = _JointKey(_JOINT_FORMAT, text, public_key.hex())
        self._write(self._path(name, ".joint"), msgspec.json.format(msgspec.json.encode(file)) + b"\n")
        return self.entry(name)

    def open(self, name: str, password: str) -> OpenedKey:
        """Return a key with its secret.

        Raises:
            Refused: KEY_NOT_FOUND, BAD_KEY_FILE, WRONG_PASSWORD; BAD_KEY for a multi-signature account.
        """
        if self._path(name, ".joint").exists():
            raise Refused(Reason.BAD_KEY, f"{name!r} is a multi-signature account: its members sign")
        return self._open(name, self._path(name), password)

    def export(self, name: str) -> bytes:
        """Return the key file as it is, still sealed. Raises Refused(KEY_NOT_FOUND | BAD_KEY_FILE)."""
        self.entry(name)
        joint = self._path(name, ".joint")
        return _read(joint if joint.exists() else self._path(name), name)

    def import_file(self, name: str, raw: bytes, password: str) -> KeyEntry:
        """Store a key file from elsewhere; the password must open it, so that a useless one is noticed now.

        Raises:
            Refused: BAD_ARGUMENT, KEY_EXISTS, BAD_KEY_FILE, WRONG_PASSWORD.
        """
        self._check_free(name)
        opened = _opened(name, raw, password)
        self._write(self._path(name), raw)
        return self.entry(opened.name)

    def delete(self, name: str) -> None:
        """Remove a key for good. Raises Refused(KEY_NOT_FOUND)."""
        self.entry(name)
        for part in ("", ".next", ".joint"):
            self._path(name, part).unlink(missing_ok=True)
        sync_folder(self.folder)

    # ---- rotation: the successor is on disk before the chain hears of it

    def prepare_rotation(self, name: str, key: SecretKey, password: str, cost: Preset = Preset.MODERATE) -> None:
        """Store the successor beside the present key. Raises Refused(KEY_EXISTS) while one is there already."""
        path = self._path(name, ".next")
        if path.exists():
            raise Refused(Reason.KEY_EXISTS, f"a rotation of {name!r} is under way; its outcome decides first")
        self._write(path, _seal(key, password, self.entry(name).address, cost))

    def successor(self, name: str, password: str) -> OpenedKey | None:
        """Return the successor of a rotation that is under way, or None. Raises as `open`."""
        path = self._path(name, ".next")
        return self._open(name, path, password) if path.exists() else None

    def finish_rotation(self, name: str, *, happened: bool) -> None:
        """Put the successor in the key's place, or drop it if the chain refused it."""
        path = self._path(name, ".next")
        if happened:
            os.replace(path, self._path(name))
        else:
            path.unlink(missing_ok=True)
        sync_folder(self.folder)

    # ----

    def _path(self, name: str, part: str = "") -> Path:
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise Refused(Reason.BAD_ARGUMENT, f"{name!r} is no key name: small letters, digits, - and _, at most 32")
        return self.folder / f"{name}{part}.json"

    def _check_free(self, name: str) -> None:
        if self._path(name).exists() or self._path(name, ".joint").exists():
            raise Refused(Reason.KEY_EXISTS, f"there is a key {name!r} already")

    def _write(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        write_file(path, content)

    def _open(self, name: str, path: Path, password: str) -> OpenedKey:
        return _opened(name, _read(path, name), password)


def save_node_key(path: Path, key: SecretKey, password: str | None = None, cost: Preset = Preset.MODERATE) -> None:
    """Store a consensus or node key: plain and private, or sealed if there is a password."""
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if password is not None:
        write_file(path, _seal(key, password, None, cost))
        return
    file = _PlainKey(_PLAIN_FORMAT, encode_address(key.address), key.to_bytes().hex())
    write_file(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")


def load_node_key(path: Path, password: str | None = None) -> SecretKey:
    """Return a consensus or node key.

    Raises:
        Refused: KEY_NOT_FOUND; BAD_KEY_FILE if it is damaged or others may read it; WRONG_PASSWORD, also if the file
            is sealed and there is no password.
    """
    raw = _read(path, path.stem)
    try:
        plain = msgspec.json.decode(raw, type=_PlainKey)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if password is None and b'"nexus-key-file' in raw:
            raise Refused(Reason.WRONG_PASSWORD, f"{path.name} is sealed and needs a password") from None
        try:
            return _opened(path.stem, raw, password or "").key
        except Refused as refused:
            if refused.reason is not Reason.BAD_KEY_FILE:
                raise
            raise Refused(refused.reason, f"{path}: {refused.detail}") from None
    if stat.S_IMODE(path.stat().st_mode) & ~PRIVATE_FILE:
        raise Refused(Reason.BAD_KEY_FILE, f"{path} holds a plain secret and others may read it; run chmod 600 on it")
    try:
        key = SecretKey.from_bytes(bytes.fromhex(plain.secret))
    except (ValueError, Refused):
        raise Refused(Reason.BAD_KEY_FILE, f"the secret in {path.name} is damaged") from None
    if plain.format != _PLAIN_FORMAT or plain.address != encode_address(key.address):
        raise Refused(Reason.BAD_KEY_FILE, f"{path.name} is of another format or its parts do not belong together")
    return key


def is_sealed(path: Path) -> bool:
    """Tell whether a consensus or node key needs a password. Raises Refused(KEY_NOT_FOUND)."""
    return b'"nexus-key-file' in _read(path, path.stem)


def _seal(key: SecretKey, password: str, address: Address | None, cost: Preset) -> bytes:
    about = {
        "address": encode_address(address or key.address),
        "scheme": key.scheme.name.lower(),
        "public_key": key.public_key.hex(),
    }
    return seal_secret(key.to_bytes(), password, cost=cost, about=about)


def _opened(name: str, raw: bytes, password: str) -> OpenedKey:
    about = read_about(raw)
    try:
        key = SecretKey.from_bytes(open_secret(raw, password))
        address = Address(decode_address(about.get("address", "")))
    except Refused as refused:
        if refused.reason is Reason.WRONG_PASSWORD:
            raise
        raise Refused(Reason.BAD_KEY_FILE, f"the file of key {name!r} holds no key: {refused.detail}") from None
    return OpenedKey(name, address, key)


def _read_joint(name: str, path: Path) -> KeyEntry:
    try:
        file = msgspec.json.decode(_read(path, name), type=_JointKey)
        public_key = bytes.fromhex(file.public_key)
        multisig_members(public_key)
        return KeyEntry(name, Address(decode_address(file.address)), Scheme.MULTISIG.name.lower(), public_key)
    except (msgspec.DecodeError, ValueError, Refused):
        raise Refused(Reason.BAD_KEY_FILE, f"the file of the multi-signature account {name!r} is damaged") from None


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_FILE + 1)
    except FileNotFoundError:
        raise Refused(Reason.KEY_NOT_FOUND, f"there is no key {name!r} in {path.parent}") from None
    except OSError as error:
        raise Refused(Reason.BAD_KEY_FILE, f"{path} cannot be read: {error.strerror}") from None
