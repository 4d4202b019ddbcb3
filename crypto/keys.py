"""Secret keys, and the tree of all of a person's keys that grows from 24 words (BIP 39).

Every key grows from a seed of 32 bytes, and that seed is what a key file holds: every 32 bytes are a good seed, so a
damaged or hostile file cannot hold half a key. With one byte for role, scheme and part and four, big-endian, for index:

- seed of a key of the tree = H("key-derive", BIP-39 seed (64) || role || scheme || index); roles never share a key;
- seed of one of its parts = H("key-derive", seed (32) || scheme || part): Falcon's, and for HYBRID Ed25519's.
"""

import secrets
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from mnemonic import Mnemonic
from nacl.signing import SigningKey

from crypto import falcon, hpke
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.schemes import Scheme, address_of, hybrid_message, scheme_of

SEED_SIZE: Final = 32
PHRASE_WORDS: Final = 24
MAX_INDEX: Final = 2**32 - 1

_PHRASE_BITS: Final = 256
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


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that signs, of scheme FALCON or HYBRID. Made by its class methods and by `KeyTree`.

    Its secret bytes appear in no repr.

    Attributes:
        scheme: the scheme.
        public_key: scheme byte and raw public key.
        seed: 32 bytes, from which all the rest follows.
    """

    scheme: Scheme
    public_key: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    _falcon: bytes = field(repr=False, compare=False)
    _ed25519: bytes = field(repr=False, compare=False)

    @classmethod
    def generate(cls, scheme: Scheme = Scheme.FALCON) -> "SecretKey":
        """Return a new random key that no phrase gives back.

        Raises:
            Refused: BAD_KEY for MULTISIG, which has no secret key of its own.
        """
        return cls.from_seed(scheme, secrets.token_bytes(SEED_SIZE))

    @classmethod
    def from_seed(cls, scheme: Scheme, seed: bytes) -> "SecretKey":
        """Return the key of 32 secret bytes. Takes about 30 ms.

        Raises:
            Refused: BAD_KEY for MULTISIG, which has no secret key of its own, or another size.
        """
        if len(seed) != SEED_SIZE:
            raise Refused(Reason.BAD_KEY, f"the seed of a key has {SEED_SIZE} bytes, not {len(seed)}")
        if scheme is Scheme.MULTISIG:
            raise Refused(Reason.BAD_KEY, "a multi-signature key has no secret key: its members sign")
        prefix = bytes([scheme])
        public, secret = falcon.generate_from_seed(_part(scheme, _Part.FALCON, seed))
        if scheme is Scheme.FALCON:
            return cls(scheme, prefix + public, seed, secret, b"")
        ed25519 = _part(scheme, _Part.ED25519, seed)
        return cls(scheme, prefix + bytes(SigningKey(ed25519).verify_key) + public, seed, secret, ed25519)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "SecretKey":
        """Return the key that `to_bytes` wrote.

        Raises:
            Refused: BAD_KEY.
        """
        if len(raw) != 1 + SEED_SIZE:
            raise Refused(Reason.BAD_KEY, f"a stored secret key has {1 + SEED_SIZE} bytes, not {len(raw)}")
        return cls.from_seed(scheme_of(raw), raw[1:])

    def to_bytes(self) -> bytes:
        """Return scheme byte and seed (33 bytes): for sealing into a key file."""
        return bytes([self.scheme]) + self.seed

    @property
    def address(self) -> bytes:
        """The address (32 bytes) of the public key."""
        return address_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return scheme byte and signature over `message`. See `crypto.falcon.sign`; the GIL is released meanwhile."""
        prefix = bytes([self.scheme])
        if self.scheme is Scheme.FALCON:
            return prefix + falcon.sign(self._falcon, message)
        signed = hybrid_message(self.public_key, message)
        return prefix + SigningKey(self._ed25519).sign(signed).signature + falcon.sign(self._falcon, signed)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key to which others seal payloads (`crypto.hpke`). Its secret bytes appear in no repr.

    Attributes:
        public_key: 1216 bytes.
        secret: 32 bytes.
    """

    public_key: bytes = field(repr=False)
    secret: bytes = field(repr=False)


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
        return SealingKey(*hpke.sealing_key_from_seed(self._derive(Role.SEALING, _SEALING_SCHEME, index)))

    def _signing_key(self, role: Role, scheme: Scheme, index: int) -> SecretKey:
        return SecretKey.from_seed(scheme, self._derive(role, scheme, index))

    def _derive(self, role: Role, scheme: int, index: int) -> bytes:
        if not 0 <= index <= MAX_INDEX:
            raise Refused(Reason.BAD_ARGUMENT, f"a key index is a number from 0 to {MAX_INDEX}")
        return digest(Label.KEY_DERIVE, self.seed + bytes([role, scheme]) + index.to_bytes(4, "big"))


def _part(scheme: Scheme, part: _Part, seed: bytes) -> bytes:
    return digest(Label.KEY_DERIVE, seed + bytes([scheme, part]))
