"""Falcon-1024 signatures: NIST round-3 format, padded to exactly 1280 bytes.

PQClean (through `pqcrypto`) signs and verifies. It cannot make a key from a seed, so seeded generation comes from
`algorand-falcon`, whose key bytes are the same; that library's own signatures are another format and are not used.

Source: "Falcon: Fast-Fourier Lattice-based Compact Signatures over NTRU", specification v1.2, section 3.
"""

from typing import Final

from algorand_falcon import FalconError, falcon1024
from pqcrypto.sign import falcon_padded_1024 as pqclean

from crypto.errors import Reason, Refused

SEED_SIZE: Final = 32
PUBLIC_KEY_SIZE: Final = 1793
"""Header byte and 1024 coefficients of 14 bits."""
SECRET_KEY_SIZE: Final = 2305
SIGNATURE_SIZE: Final = 1280
"""Header byte, nonce of 40 bytes, compressed polynomial, zeros up to this size."""

_PUBLIC_HEADER: Final = 0x0A
_SECRET_HEADER: Final = 0x5A
_MODULUS: Final = 12289
_DEGREE: Final = 1024
_BITS: Final = 14  # of a coefficient in a public key

# Every second coefficient of a key read as one integer, so that each has 14 free bits above it to carry into.
_STRIDE: Final = sum(1 << place for place in range(0, _DEGREE * _BITS, 2 * _BITS))
_LANES: Final = _STRIDE * ((1 << _BITS) - 1)
_TO_CARRY: Final = _STRIDE * ((1 << _BITS) - _MODULUS)
_CARRIES: Final = _STRIDE << _BITS

_pqclean_verify = pqclean.verify


def generate() -> tuple[bytes, bytes]:
    """Return a new random (public key, secret key) from the operating system's randomness."""
    public, secret = pqclean.generate_keypair()
    return public, secret


def generate_from_seed(seed: bytes) -> tuple[bytes, bytes]:
    """Return the (public key, secret key) that belongs to 32 secret bytes; the same seed gives the same key.

    Raises:
        Refused: BAD_KEY if the seed is not 32 bytes.
    """
    if len(seed) != SEED_SIZE:
        raise Refused(Reason.BAD_KEY, f"a Falcon seed has {SEED_SIZE} bytes, not {len(seed)}")
    signer = falcon1024.Signer.generate(seed)
    return signer.public_key, signer.private_key


def public_key_of(secret: bytes) -> bytes:
    """Return the public key of a secret key.

    Raises:
        Refused: BAD_KEY if the bytes are no secret key.
    """
    _check_secret_shape(secret)
    try:
        return falcon1024.Signer(secret).public_key
    except FalconError:
        raise Refused(Reason.BAD_KEY, "the bytes are no Falcon-1024 secret key") from None


def check_public_key(public: bytes) -> None:
    """Refuse bytes under which nothing can ever verify: wrong size, header or a coefficient not below 12289.

    Raises:
        Refused: BAD_KEY.
    """
    if len(public) != PUBLIC_KEY_SIZE:
        raise Refused(Reason.BAD_KEY, f"a Falcon-1024 public key has {PUBLIC_KEY_SIZE} bytes, not {len(public)}")
    if public[0] != _PUBLIC_HEADER:
        raise Refused(Reason.BAD_KEY, "the header byte is not that of a Falcon-1024 public key")
    packed = int.from_bytes(public[1:], "big")
    if any((lanes & _LANES) + _TO_CARRY & _CARRIES for lanes in (packed, packed >> _BITS)):
        raise Refused(Reason.BAD_KEY, "a coefficient of the Falcon-1024 public key is not below the modulus")


def sign(secret: bytes, message: bytes) -> bytes:
    """Return a signature of 1280 bytes. Randomised: signing twice gives two different signatures.

    Takes about 12 ms; the GIL is released meanwhile.

    Raises:
        Refused: BAD_KEY if the bytes are no secret key.
    """
    _check_secret_shape(secret)
    try:
        signature: bytes = pqclean.sign(secret, message)
    except RuntimeError:
        raise Refused(Reason.BAD_KEY, "the bytes are no Falcon-1024 secret key") from None
    return signature


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is valid. Never raises for bytes, whatever they hold. Releases the GIL.

    The size is checked here because PQClean's padded verification takes the unpadded form too, and two forms of
    one signature would let a third party change a transaction's wtxid.
    """
    if len(signature) != SIGNATURE_SIZE or len(public) != PUBLIC_KEY_SIZE:
        return False
    return bool(_pqclean_verify(public, message, signature))


def _check_secret_shape(secret: bytes) -> None:
    if len(secret) != SECRET_KEY_SIZE or secret[0] != _SECRET_HEADER:
        raise Refused(Reason.BAD_KEY, "the bytes are no Falcon-1024 secret key")
