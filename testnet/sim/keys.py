"""Keys of the simulated machines and people: keyed hashes that cost a microsecond, or real Falcon-1024.

A made-up public key has the form of a Falcon key, so that every check of form in the production code takes it: scheme
byte, header byte, and 1024 coefficients of 14 bits, of which the last 32 hold an identity of one byte each. Anybody
could sign with it, but in here nobody does for another.
"""

import hashlib
from itertools import count
from typing import Final, Protocol

from consensus.effects import Signer, Verifier
from consensus.signing import KeySigner, SchemeVerifier
from crypto.falcon import PUBLIC_KEY_SIZE
from crypto.keys import SecretKey
from crypto.schemes import Scheme

_COEFFICIENT_BITS: Final = 14
_IDENTITY_SIZE: Final = 32
_TAIL: Final = _IDENTITY_SIZE * _COEFFICIENT_BITS // 8
_TAG_SIZE: Final = 16
_SCHEME: Final = bytes([Scheme.FALCON])
_SIGNATURE_SIZE: Final = 1 + _TAG_SIZE + 4


def _tag(public_key: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, digest_size=_TAG_SIZE, key=public_key[-_TAIL:]).digest()


class HashSigner:
    """Signs with a keyed hash. Like Falcon's, its signatures of one message differ: a counter stands behind the hash.

    Attributes:
        public_key: in the form of a Falcon key.
    """

    def __init__(self, identity: bytes) -> None:
        packed = sum(byte << (_COEFFICIENT_BITS * place) for place, byte in enumerate(reversed(identity)))
        self.public_key = _SCHEME + b"\x0a" + packed.to_bytes(PUBLIC_KEY_SIZE - 1, "big")
        self._count = count()

    def sign(self, message: bytes) -> bytes:
        """Return the signature (21 bytes), another one each time."""
        return _SCHEME + _tag(self.public_key, message) + next(self._count).to_bytes(4, "big")


class HashVerifier:
    """Knows the signatures of `HashSigner`."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds."""
        return len(signature) == _SIGNATURE_SIZE and signature[1 : 1 + _TAG_SIZE] == _tag(public_key, message)


class Keys(Protocol):
    """Where the keys of one run come from."""

    verifier: Verifier

    def signer(self, name: str) -> Signer:
        """Return the key of a name: the same name gives the same key."""
        ...


class HashKeys:
    """Keyed hashes."""

    def __init__(self, seed: int) -> None:
        self.verifier: Verifier = HashVerifier()
        self._seed = seed

    def signer(self, name: str) -> Signer:
        """Return the key of a name."""
        return HashSigner(_identity(self._seed, name))


class FalconKeys:
    """Real keys: 30 ms to make, 0.4 to 12 ms a signature. Signatures are randomised by the operating system."""

    def __init__(self, seed: int) -> None:
        self.verifier: Verifier = SchemeVerifier()
        self._seed = seed

    def signer(self, name: str) -> Signer:
        """Return the key of a name."""
        return KeySigner(SecretKey.from_seed(Scheme.FALCON, _identity(self._seed, name)))


def _identity(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
