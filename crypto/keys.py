"""Secret keys, and the tree of all of a person's keys that grows from 24 words (BIP 39).

A node of the tree is `H("key-derive", seed || role || scheme || part || index)`, where seed is the 64-byte BIP-39
seed, role, scheme and part are one byte each and index is four bytes, big-endian. Roles never share a key.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from mnemonic import Mnemonic
from nacl.signing import SigningKey

from crypto import falcon, hpke
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.schemes import Scheme, address_of, hybrid_message, verify

PHRASE_WORDS: Final = 24
MAX_INDEX: Final = 2**32 - 1

_PHRASE_BITS: Final = 256
_ED25519_SEED_SIZE: Final = 32
_SEALING_SCHEME: Final = 0  # the sealing key is no signing key and has no scheme byte
_words = Mnemonic("english")


class Role(IntEnum):
    """What a key of the tree is for."""

    ACCOUNT = 1
    """Owns money; signs transactions."""
    CONSENSUS = 2
    """Signs proposals and votes of a validator."""
    NODE = 3
    """Authenticates a node to its peers."""
    SEALING = 4
    """Opens payloads that others sealed to it."""


class _Part(IntEnum):
    FALCON = 1
    ED25519 = 2
    SEALING = 3


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that signs, of scheme FALCON or HYBRID. Its secret bytes appear in no repr.

    Attributes:
        scheme: the scheme.
        public_key: scheme byte and raw public key.
        secret: Falcon secret key (2305), for HYBRID after the Ed25519 seed (32).
    """

    scheme: Scheme
    public_key: bytes = field(repr=False)
    secret: bytes = field(repr=False, compare=False)

    @classmethod
    def generate(cls, scheme: Scheme = Scheme.FALCON) -> "SecretKey":
        """Return a new random key that no phrase gives back.

        Raises:
            Refused: BAD_KEY for MULTISIG, which has no secret key of its own.
        """
        ed25519 = SigningKey.generate()
        return _assemble(scheme, falcon.generate(), bytes(ed25519))

    @classmethod
    def from_bytes(cls, raw: bytes) -> "SecretKey":
        """Return the key that `to_bytes` wrote, its public key computed anew and tried on a signature.

        Raises:
            Refused: BAD_KEY.
        """
        if raw[:1] == bytes([Scheme.FALCON]):
            scheme, ed25519, secret = Scheme.FALCON, b"", raw[1:]
        elif raw[:1] == bytes([Scheme.HYBRID]):
            scheme, ed25519, secret = Scheme.HYBRID, raw[1 : 1 + _ED25519_SEED_SIZE], raw[1 + _ED25519_SEED_SIZE :]
        else:
            raise Refused(Reason.BAD_KEY, "the bytes are no secret key of a known scheme")
        key = _assemble(scheme, (falcon.public_key_of(secret), secret), ed25519)
        # The public key depends on half of a Falcon secret key; only a signature shows damage in the other half.
        if not verify(key.public_key, b"", key.sign(b"")):
            raise Refused(Reason.BAD_KEY, "the secret key is damaged: it does not sign")
        return key

    def to_bytes(self) -> bytes:
        """Return scheme byte and secret bytes: for sealing into a key file, never for the screen."""
        return bytes([self.scheme]) + self.secret

    @property
    def address(self) -> bytes:
        """The address (32 bytes) of the public key."""
        return address_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return scheme byte and signature over `message`. About 12 ms; the GIL is released meanwhile."""
        prefix = bytes([self.scheme])
        if self.scheme is Scheme.FALCON:
            return prefix + falcon.sign(self.secret, message)
        signed = hybrid_message(self.public_key, message)
        seed, secret = self.secret[:_ED25519_SEED_SIZE], self.secret[_ED25519_SEED_SIZE:]
        return prefix + SigningKey(seed).sign(signed).signature + falcon.sign(secret, signed)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key to which others seal payloads (`crypto.hpke`). Its secret bytes appear in no repr."""

    public_key: bytes = field(repr=False)
    secret: bytes = field(repr=False, compare=False)


def new_phrase() -> str:
    """Return 24 new random English words (256 bits and 8 of checksum)."""
    return _words.generate(_PHRASE_BITS)


@dataclass(frozen=True, slots=True)
class KeyTree:
    """All keys of one phrase. The same phrase, passphrase and index give the same key on every machine.

    Attributes:
        seed: 64 bytes, from which everything follows.
    """

    seed: bytes = field(repr=False)

    @classmethod
    def from_phrase(cls, phrase: str, passphrase: str = "") -> "KeyTree":
        """Return the tree of 24 words; capitals and extra spaces do not matter.

        Args:
            phrase: the words.
            passphrase: BIP-39's optional 25th word: every passphrase gives another tree, and none is wrong.

        Raises:
            Refused: BAD_PHRASE for another number of words, an unknown word or a wrong checksum.
        """
        words = phrase.lower().split()
        if len(words) != PHRASE_WORDS:
            raise Refused(Reason.BAD_PHRASE, f"a phrase has {PHRASE_WORDS} words, not {len(words)}")
        unknown = next((place for place, word in enumerate(words, 1) if word not in _words.wordlist), None)
        if unknown is not None:
            raise Refused(Reason.BAD_PHRASE, f"word {unknown} of the phrase is not in the English list")
        if not _words.check(" ".join(words)):
            raise Refused(Reason.BAD_PHRASE, "the words are in the list but their checksum is wrong: one is not right")
        return cls(Mnemonic.to_seed(" ".join(words), passphrase))

    def account(self, index: int = 0, scheme: Scheme = Scheme.FALCON) -> SecretKey:
        """Return an account key of scheme FALCON or HYBRID.

        Raises:
            Refused: BAD_KEY for MULTISIG, BAD_ARGUMENT for an index outside 0..2**32-1.
        """
        return self._signing_key(Role.ACCOUNT, scheme, index)

    def consensus(self, index: int = 0) -> SecretKey:
        """Return a validator's voting key (FALCON).

        Raises:
            Refused: BAD_ARGUMENT for an index outside 0..2**32-1.
        """
        return self._signing_key(Role.CONSENSUS, Scheme.FALCON, index)

    def node(self, index: int = 0) -> SecretKey:
        """Return a node's transport key (FALCON).

        Raises:
            Refused: BAD_ARGUMENT for an index outside 0..2**32-1.
        """
        return self._signing_key(Role.NODE, Scheme.FALCON, index)

    def sealing(self, index: int = 0) -> SealingKey:
        """Return the key to which others seal payloads for this person.

        Raises:
            Refused: BAD_ARGUMENT for an index outside 0..2**32-1.
        """
        seed = self._derive(Role.SEALING, _SEALING_SCHEME, _Part.SEALING, index)
        return SealingKey(*hpke.sealing_key_from_seed(seed))

    def _signing_key(self, role: Role, scheme: Scheme, index: int) -> SecretKey:
        pair = falcon.generate_from_seed(self._derive(role, scheme, _Part.FALCON, index))
        return _assemble(scheme, pair, self._derive(role, scheme, _Part.ED25519, index))

    def _derive(self, role: Role, scheme: int, part: _Part, index: int) -> bytes:
        if not 0 <= index <= MAX_INDEX:
            raise Refused(Reason.BAD_ARGUMENT, f"a key index is a number from 0 to {MAX_INDEX}")
        return digest(Label.KEY_DERIVE, self.seed + bytes([role, scheme, part]) + index.to_bytes(4, "big"))


def _assemble(scheme: Scheme, pair: tuple[bytes, bytes], ed25519_seed: bytes) -> SecretKey:
    public, secret = pair
    prefix = bytes([scheme])
    if scheme is Scheme.FALCON:
        return SecretKey(scheme, prefix + public, secret)
    if scheme is Scheme.HYBRID:
        return SecretKey(scheme, prefix + bytes(SigningKey(ed25519_seed).verify_key) + public, ed25519_seed + secret)
    raise Refused(Reason.BAD_KEY, "a multi-signature key has no secret key: its members sign")
