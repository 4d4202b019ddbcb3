"""The real keys behind the engine's Signer and Verifier protocols (consensus/effects.py)."""

from crypto.keys import SecretKey
from crypto.schemes import verify


class SchemeVerifier:
    """Checks signatures of every scheme that the chain knows, by the scheme byte of the public key."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds. Never raises on hostile bytes."""
        return verify(public_key, message, signature)


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
