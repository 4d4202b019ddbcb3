"""The secret behind all anonymous accounts of a wallet, and the keys to which it is paid.

One secret opens all of them, on every chain: it follows from the viewing seed, and that from the 24 words. An address
is a key (g, h = secret * g) as text, `nxa1...`; a wallet has as many as it wants, one for each number, and nobody can
tell that two of them are of one wallet while the decisional Diffie-Hellman problem is hard. Who pays renews the key
first, so an address never stands on the chain.
"""

from dataclasses import dataclass, field
from typing import Final

from bech32m.codecs import CHARSET, DecodeError, Encoding, bech32_encode, bech32_verify_checksum, convertbits

from crypto.accounts import KEY_SIZE
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.quisquis import Quisquis, default_quisquis
from crypto.ristretto import scalar_from_uniform
from node.hidden.viewing import SEED_SIZE

PREFIX: Final = "nxa"
ADDRESS_LENGTH: Final = 113
"""Characters: prefix, separator, 103 digits of 5 bits, checksum of 6."""
_CHECKSUM: Final = 6
_SECRET: Final = b"secret"
_BASE: Final = b"base"
_BOX: Final = b"box"
_NUMBER_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class AnonymousKeys:
    """What only the owner of a wallet has: whoever has `secret` spends all of its anonymous accounts.

    Attributes:
        secret: of all accounts.
        box_key: seals what the wallet remembers.
        seed: what both, and the bases of addresses, follow from.
    """

    secret: int = field(repr=False)
    box_key: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    def key(self, number: int = 0, proofs: Quisquis | None = None) -> bytes:
        """Return the key of an address by its number: g and h, encoded."""
        base = _scalar(self.seed, _BASE + number.to_bytes(_NUMBER_SIZE, "big"))
        return (proofs or default_quisquis()).key(self.secret, base)


def anonymous_keys(seed: bytes) -> AnonymousKeys:
    """Return the keys of a viewing seed (`node.hidden.viewing`). Raises Refused(BAD_KEY) for another size."""
    if len(seed) != SEED_SIZE:
        raise Refused(Reason.BAD_KEY, f"a viewing seed has {SEED_SIZE} bytes, not {len(seed)}")
    return AnonymousKeys(_scalar(seed, _SECRET), digest(Label.ANONYMOUS_KEY, seed + _BOX), seed)


def random_scalar(uniform: bytes) -> int:
    """Return a scalar that is not zero, out of 64 random bytes."""
    return scalar_from_uniform(uniform) or 1


def encode_anonymous_address(key: bytes) -> str:
    """Return `nxa1...` for an encoded key. Raises Refused(BAD_ADDRESS) if it is not 64 bytes."""
    if len(key) != KEY_SIZE:
        raise Refused(Reason.BAD_ADDRESS, f"a key has {KEY_SIZE} bytes, not {len(key)}")
    return bech32_encode(PREFIX, bytes(convertbits(key, 8, 5)), Encoding.BECH32M)


def is_anonymous_address(text: str) -> bool:
    """Tell whether a text is meant as an anonymous address."""
    return text.startswith(PREFIX + "1")


def decode_anonymous_address(text: str, proofs: Quisquis | None = None) -> bytes:
    """Return the encoded key of `nxa1...`. One key has one text: capitals are refused.

    The checksum finds up to three wrong characters for certain (BIP 173, of texts over 90 characters), others but one
    time in 2^30; points that are none are refused, too.

    Raises:
        Refused: BAD_ADDRESS.
    """
    head = PREFIX + "1"
    digits = bytes(CHARSET.find(letter) & 0xFF for letter in text[len(head) :])
    if len(text) != ADDRESS_LENGTH or not text.startswith(head) or max(digits) >= len(CHARSET):
        raise Refused(
            Reason.BAD_ADDRESS, f"an anonymous address begins with {head} and has {ADDRESS_LENGTH} characters"
        )
    try:
        encoding = bech32_verify_checksum(PREFIX, digits)
        key = bytes(convertbits(digits[:-_CHECKSUM], 5, 8, pad=False))
    except DecodeError:
        raise Refused(Reason.BAD_ADDRESS, "the address has a typing error: its checksum is wrong") from None
    if encoding is not Encoding.BECH32M:
        raise Refused(Reason.BAD_ADDRESS, "the text is no bech32m address")
    try:
        (proofs or default_quisquis()).renewed(key, 1)
    except Refused:
        raise Refused(Reason.BAD_ADDRESS, "the address holds no key") from None
    return key


def _scalar(seed: bytes, purpose: bytes) -> int:
    halves = (digest(Label.ANONYMOUS_KEY, seed + purpose + bytes([half])) for half in range(2))
    return random_scalar(b"".join(halves))
