"""Sealing a payload to a public key: HPKE (RFC 9180, base mode) with the hybrid KEM ML-KEM-768 + X25519.

The suite is MLKEM768-X25519 (draft-ietf-hpke-pq), HKDF-SHA256 and ChaCha20-Poly1305, all from `cryptography`. A
secret key is 32 bytes, expanded by SHAKE256 as in that draft (and X-Wing), so a phrase can give it back.
"""

import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest

SECRET_SIZE: Final = 32
PUBLIC_SIZE: Final = 1216
"""ML-KEM-768 encapsulation key (1184), X25519 key (32)."""
ENCAPSULATION_SIZE: Final = 1120
"""ML-KEM-768 ciphertext (1088), X25519 share (32): the first bytes of every sealed payload."""
OVERHEAD: Final = ENCAPSULATION_SIZE + 16
"""By how much a sealed payload is longer than its plaintext."""

_MLKEM_PUBLIC_SIZE: Final = 1184
_MLKEM_SEED_SIZE: Final = 64
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def generate_sealing_key() -> tuple[bytes, bytes]:
    """Return a new random (public key, secret key)."""
    return sealing_key_from_seed(secrets.token_bytes(SECRET_SIZE))


def sealing_key_from_seed(seed: bytes) -> tuple[bytes, bytes]:
    """Return the (public key, secret key) of 32 secret bytes. The secret key is the seed itself.

    Raises:
        Refused: BAD_KEY if the seed is not 32 bytes.
    """
    mlkem, x25519 = _expand(seed)
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw(), seed


def check_sealing_key(public: bytes) -> None:
    """Refuse bytes to which nothing can be sealed.

    Raises:
        Refused: BAD_KEY.
    """
    seal(public, b"", b"")


def seal(public: bytes, info: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Return `plaintext` sealed to a public key: OVERHEAD bytes longer, different each time.

    Args:
        public: the receiver's public key.
        info: what the payload is for; it opens only under the same value.
        plaintext: the payload.
        aad: bytes that go with the payload unsealed; it opens only beside the same ones.

    Raises:
        Refused: BAD_KEY if `public` is no public key.
    """
    key = _public_key(public)
    try:
        return _SUITE.encrypt(plaintext, key, _context(info, aad))
    except ValueError:
        # An X25519 key of low order shows only now: the shared secret would be zero (RFC 9180 section 7.1.4).
        raise Refused(Reason.BAD_KEY, "nothing can be sealed to this public key") from None


class Opener:
    """Opens many payloads with one secret key, which is expanded once.

    Args:
        secret: 32 bytes.

    Raises:
        Refused: BAD_KEY if `secret` is no secret key.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = MLKEM768X25519PrivateKey(*_expand(secret))

    def open(self, info: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
        """Return the plaintext. Raises Refused(CANNOT_OPEN) if the key, `info`, `aad` or a byte differs."""
        try:
            return _SUITE.decrypt(sealed, self._key, _context(info, aad))
        except (InvalidTag, ValueError):
            detail = "the payload was sealed to another key or context, or is damaged"
            raise Refused(Reason.CANNOT_OPEN, detail) from None


def open_sealed(secret: bytes, info: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
    """Return the plaintext of a payload sealed to the public key of `secret`.

    Raises:
        Refused: BAD_KEY if `secret` is no secret key; CANNOT_OPEN if the key, `info`, `aad` or a byte differs.
    """
    return Opener(secret).open(info, sealed, aad)


def _context(info: bytes, aad: bytes) -> bytes:
    """Return the HPKE info that binds both: `cryptography` offers single-shot HPKE without associated data.

    A payload is one message, so binding `aad` through the key schedule is as strong as through the AEAD.
    """
    return digest(Label.SEALING_CONTEXT, len(info).to_bytes(8, "big") + info + aad)


def _public_key(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_SIZE:
        raise Refused(Reason.BAD_KEY, f"a sealing key has {PUBLIC_SIZE} bytes, not {len(public)}")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_SIZE])
        return MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_SIZE:]))
    except ValueError:
        raise Refused(Reason.BAD_KEY, "the bytes are no ML-KEM-768 and X25519 public key") from None


def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(seed) != SECRET_SIZE:
        raise Refused(Reason.BAD_KEY, f"a sealing secret has {SECRET_SIZE} bytes, not {len(seed)}")
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_SIZE + 32)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE]),
        X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_SIZE:]),
    )
