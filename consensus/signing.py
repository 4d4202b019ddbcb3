"""The real keys behind the engine's Signer and Verifier protocols (consensus/effects.py)."""

from collections.abc import Sequence
from typing import Final, Protocol

from crypto.falcon_batch import Signed
from crypto.falcon_batch import verify_many as verify_falcon
from crypto.keys import SecretKey
from crypto.schemes import Scheme, verify

_FALCON: Final = bytes([Scheme.FALCON])


class Claimed(Protocol):
    """What one verification takes."""

    @property
    def public_key(self) -> bytes:
        """Scheme byte and key."""
        ...

    @property
    def message(self) -> bytes:
        """What was signed."""
        ...

    @property
    def signature(self) -> bytes:
        """Scheme byte and signature."""
        ...


class SchemeVerifier:
    """Checks signatures of every scheme that the chain knows, by the scheme byte of the public key."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds. Never raises on hostile bytes."""
        return verify(public_key, message, signature)

    def verify_many(self, signed: Sequence[Claimed]) -> list[bool]:
        """Return of each whether it holds: those of Falcon in one call that leaves other threads free to run."""
        falcon = [one.public_key[:1] == one.signature[:1] == _FALCON for one in signed]
        batch = [
            Signed(one.public_key[1:], one.message, one.signature[1:])
            for one, is_falcon in zip(signed, falcon, strict=True) if is_falcon
        ]
        found = verify_falcon(batch)
        if all(falcon):
            return found
        verdicts = iter(found)
        return [
            next(verdicts) if is_falcon else verify(one.public_key, one.message, one.signature)
            for one, is_falcon in zip(signed, falcon, strict=True)
        ]


class KeySigner:
    """Signs with one consensus key.

    Attributes:
        public_key: scheme byte and key, as in the validator set.
    """

    def __init__(self, key: SecretKey) -> None:
        self.public_key = key.public_key
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """Return the signature. Falcon is randomised: two calls give two different valid signatures."""
        return self._key.sign(message)
