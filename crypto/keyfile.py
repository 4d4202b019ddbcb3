"""Key files: a secret under a password, as JSON text.

Argon2id turns password and salt into a master key; libsodium's SecretBox (XSalsa20-Poly1305) seals the secret under
a key derived from the master key *and* everything else in the file, so no open field can be changed either. A plain
checksum tells damage from a wrong password. The text has one form: a file that differs from it in one byte, white
space included, is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final
from unicodedata import normalize

import msgspec
from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest

MAX_FILE_SIZE: Final = 1 << 16
MAX_SECRET_SIZE: Final = 1 << 14
MAX_OPSLIMIT: Final = 16
MAX_MEMLIMIT: Final = 1 << 30
"""Bytes. A file that asks Argon2id for more is refused before any of it is allocated."""

_FORMAT: Final = "nexus-key-file-1"
_KDF: Final = "argon2id13"
_CIPHER: Final = "xsalsa20-poly1305"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess of the password costs.

    Attributes:
        opslimit: passes of Argon2id over its memory.
        memlimit: that memory, in bytes.
    """

    opslimit: int
    memlimit: int


class Preset(Enum):
    """Named costs, with the times measured on a busy two-core machine."""

    QUICK = Cost(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
    """8 KiB, under a millisecond: no protection. For tests and throw-away networks."""
    INTERACTIVE = Cost(argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE)
    """64 MiB, about 0.3 s."""
    MODERATE = Cost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
    """256 MiB, about 1 s."""
    SENSITIVE = Cost(argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)
    """1 GiB, about 5 s."""


_Hex = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$")]
_Salt = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
_Nonce = Annotated[str, Meta(pattern="^[0-9a-f]{48}$")]
_Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _KeyDerivation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    opslimit: Annotated[int, Meta(ge=argon2id.OPSLIMIT_MIN, le=MAX_OPSLIMIT)]
    memlimit: Annotated[int, Meta(ge=argon2id.MEMLIMIT_MIN, le=MAX_MEMLIMIT)]
    salt: _Salt


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    about: dict[str, str]
    kdf: _KeyDerivation
    cipher: str
    nonce: _Nonce
    sealed: _Hex
    checksum: _Digest


_decoder = msgspec.json.Decoder(_KeyFile)
_encoder = msgspec.json.Encoder(order="deterministic")


def seal_secret(
    plain: bytes, password: str, *, cost: Preset = Preset.MODERATE, about: Mapping[str, str] | None = None
) -> bytes:
    """Return the text of a key file that holds `plain`.

    Args:
        plain: the secret, at most MAX_SECRET_SIZE bytes.
        password: the password, any text.
        cost: what opening, and each guess of the password, takes.
        about: open facts beside the secret, as address or scheme: readable without the password, but bound to it.

    Raises:
        Refused: TOO_LARGE if the secret, or the whole text, is over its cap.
    """
    if len(plain) > MAX_SECRET_SIZE:
        raise Refused(Reason.TOO_LARGE, f"a secret of {len(plain)} bytes, at most {MAX_SECRET_SIZE}")
    opslimit, memlimit = cost.value.opslimit, cost.value.memlimit
    unsealed = _KeyFile(
        format=_FORMAT,
        about=dict(about or {}),
        kdf=_KeyDerivation(_KDF, opslimit, memlimit, random(argon2id.SALTBYTES).hex()),
        cipher=_CIPHER,
        nonce=random(SecretBox.NONCE_SIZE).hex(),
        sealed="",
        checksum="",
    )
    sealed = _box(unsealed, password).encrypt(plain, bytes.fromhex(unsealed.nonce)).ciphertext.hex()
    file = msgspec.structs.replace(unsealed, sealed=sealed)
    raw = _text(msgspec.structs.replace(file, checksum=_checksum(file)))
    if len(raw) > MAX_FILE_SIZE:
        raise Refused(Reason.TOO_LARGE, f"a key file of {len(raw)} bytes, at most {MAX_FILE_SIZE}")
    return raw


def open_secret(raw: bytes, password: str) -> bytes:
    """Return the secret of a key file.

    Raises:
        Refused: BAD_KEY_FILE for another format, damage, or costs over the caps; WRONG_PASSWORD.
    """
    file = _parse(raw)
    try:
        return _box(file, password).decrypt(bytes.fromhex(file.sealed), bytes.fromhex(file.nonce))
    except CryptoError:
        raise Refused(Reason.WRONG_PASSWORD, "the key file does not open with this password") from None


def read_about(raw: bytes) -> dict[str, str]:
    """Return the open facts of a key file. Until `open_secret` succeeds, somebody else may have written them.

    Raises:
        Refused: BAD_KEY_FILE.
    """
    return _parse(raw).about


def _parse(raw: bytes) -> _KeyFile:
    if len(raw) > MAX_FILE_SIZE:
        raise Refused(Reason.BAD_KEY_FILE, f"a key file has at most {MAX_FILE_SIZE} bytes")
    try:
        file = _decoder.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(Reason.BAD_KEY_FILE, f"this is no key file: {error}") from None
    if (file.format, file.kdf.name, file.cipher) != (_FORMAT, _KDF, _CIPHER):
        raise Refused(Reason.BAD_KEY_FILE, f"the key file is not of the format {_FORMAT}, {_KDF}, {_CIPHER}")
    if file.checksum != _checksum(file) or _text(file) != raw:
        raise Refused(Reason.BAD_KEY_FILE, "the key file is damaged: its checksum is wrong")
    return file


def _box(file: _KeyFile, password: str) -> SecretBox:
    salt, kdf = bytes.fromhex(file.kdf.salt), file.kdf
    # One keyboard writes an accented letter as one character, another as two: both are the same password.
    secret = normalize("NFKC", password).encode("utf-8", "surrogatepass")
    try:
        master = argon2id.kdf(SecretBox.KEY_SIZE, secret, salt, opslimit=kdf.opslimit, memlimit=kdf.memlimit)
    except (MemoryError, RuntimeError):
        detail = f"this machine lacks the {kdf.memlimit >> 20} MiB of memory that the key file's password needs"
        raise Refused(Reason.BAD_KEY_FILE, detail) from None
    opened = msgspec.structs.replace(file, sealed="", checksum="")
    return SecretBox(digest(Label.KEY_FILE_BOX, master + _encoder.encode(opened)))


def _checksum(file: _KeyFile) -> str:
    return digest(Label.KEY_FILE_CHECKSUM, _encoder.encode(msgspec.structs.replace(file, checksum=""))).hex()


def _text(file: _KeyFile) -> bytes:
    return msgspec.json.format(_encoder.encode(file), indent=2) + b"\n"
