"""Every signature scheme of the chain behind one scheme byte.

| scheme   | public key after the byte                  | signature after the byte                    |
|----------|--------------------------------------------|---------------------------------------------|
| FALCON   | Falcon-1024 key (1793)                     | Falcon-1024 signature (1280)                |
| HYBRID   | Ed25519 key (32), Falcon-1024 key (1793)   | Ed25519 signature (64), Falcon one (1280)   |
| MULTISIG | threshold (1), count (1), the keys, rising | for each signer, rising: index (1), signature |

Keys and signatures inside MULTISIG carry their own scheme byte, FALCON or HYBRID; there is no nesting. Exactly
`threshold` signatures are wanted: with a surplus one, a third party could drop it and so change the wtxid.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_BYTES, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from crypto import falcon
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest, hasher

ED25519_PUBLIC_SIZE: Final = crypto_sign_PUBLICKEYBYTES
ED25519_SIGNATURE_SIZE: Final = crypto_sign_BYTES
MAX_MULTISIG_KEYS: Final = 16
"""Sixteen hybrid keys are 29 kB, and their signatures 22 kB: far below a frame's cap."""


class Scheme(IntEnum):
    """First byte of every public key and of every signature."""

    FALCON = 1
    HYBRID = 2
    MULTISIG = 3


FALCON_KEY_SIZE: Final = 1 + falcon.PUBLIC_KEY_SIZE
FALCON_SIGNATURE_SIZE: Final = 1 + falcon.SIGNATURE_SIZE
HYBRID_KEY_SIZE: Final = 1 + ED25519_PUBLIC_SIZE + falcon.PUBLIC_KEY_SIZE
HYBRID_SIGNATURE_SIZE: Final = 1 + ED25519_SIGNATURE_SIZE + falcon.SIGNATURE_SIZE

_KEY_SIZE: Final = {Scheme.FALCON: FALCON_KEY_SIZE, Scheme.HYBRID: HYBRID_KEY_SIZE}
_SIGNATURE_SIZE: Final = {Scheme.FALCON: FALCON_SIGNATURE_SIZE, Scheme.HYBRID: HYBRID_SIGNATURE_SIZE}
_VERIFICATIONS: Final = {Scheme.FALCON: 1, Scheme.HYBRID: 2}
_FALCON, _HYBRID, _MULTISIG = (bytes([scheme]) for scheme in Scheme)
_MULTISIG_HEAD: Final = 3  # bytes before the first member: scheme, threshold, count
_ED25519_END: Final = 1 + ED25519_PUBLIC_SIZE

_hybrid_digest = hasher(Label.HYBRID_SIGN)
_falcon_verify = falcon.verify


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` over `message` is valid under `public_key`. Never raises for bytes."""
    scheme = public_key[:1]
    if scheme != signature[:1]:
        return False
    # The hot path first: nearly every signature of the chain is one Falcon signature.
    if scheme == _FALCON:
        return _falcon_verify(public_key[1:], message, signature[1:])
    if scheme == _HYBRID:
        return _verify_hybrid(public_key, message, signature)
    return scheme == _MULTISIG and _verify_multisig(public_key, message, signature)


def check_public_key(public_key: bytes) -> None:
    """Refuse bytes that are no public key in canonical form.

    Raises:
        Refused: BAD_KEY.
    """
    scheme = scheme_of(public_key)
    if scheme is Scheme.MULTISIG:
        _, keys = multisig_members(public_key)
        for key in keys:
            _check_single_key(key)
    else:
        _check_single_key(public_key)


def scheme_of(public_key: bytes) -> Scheme:
    """Return the scheme that a public key names; the rest of the key is not looked at.

    Raises:
        Refused: BAD_KEY if there is no such scheme.
    """
    if not public_key or public_key[0] not in Scheme.__members__.values():
        raise Refused(Reason.BAD_KEY, "the key begins with no known scheme byte")
    return Scheme(public_key[0])


def address_of(public_key: bytes) -> bytes:
    """Return the address (32 bytes) of a public key: H("address", scheme byte || key)."""
    return digest(Label.ADDRESS, public_key)


def signature_count(public_key: bytes) -> int:
    """Return how many verifications a signature under this key costs at most: 1, 2 for HYBRID, their sum for MULTISIG.

    Raises:
        Refused: BAD_KEY.
    """
    return sum(_VERIFICATIONS[scheme] for scheme in _dearest_signers(public_key))


def expected_signature_size(public_key: bytes) -> int:
    """Return the bytes of a signature under this key; the most it can have if MULTISIG mixes its members' schemes.

    Raises:
        Refused: BAD_KEY.
    """
    sizes = [_SIGNATURE_SIZE[scheme] for scheme in _dearest_signers(public_key)]
    return 1 + len(sizes) + sum(sizes) if scheme_of(public_key) is Scheme.MULTISIG else sizes[0]


def hybrid_message(public_key: bytes, message: bytes) -> bytes:
    """Return what both halves of a HYBRID key sign: H(hybrid-sign, scheme byte || both keys || message).

    A half of such a signature is thus worth nothing under another pair of keys, nor as a plain FALCON signature.
    """
    return _hybrid_digest(public_key + message)


def multisig_public_key(threshold: int, keys: Sequence[bytes]) -> bytes:
    """Return the public key that wants signatures of `threshold` of `keys`; the order of `keys` does not matter.

    Raises:
        Refused: BAD_KEY if the threshold is not 1..len(keys), keys repeat, are more than MAX_MULTISIG_KEYS, or one is
            no canonical FALCON or HYBRID key.
    """
    if not 1 <= threshold <= len(keys) <= MAX_MULTISIG_KEYS:
        raise Refused(Reason.BAD_KEY, f"{threshold} of {len(keys)} keys; at most {MAX_MULTISIG_KEYS} may be members")
    public_key = bytes([Scheme.MULTISIG, threshold, len(keys)]) + b"".join(sorted(keys))
    check_public_key(public_key)
    return public_key


def multisig_members(public_key: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Return (threshold, member keys in order) of a MULTISIG public key.

    Raises:
        Refused: BAD_KEY unless the key is canonical: members strictly rising, each of FALCON or HYBRID, no rest.
    """
    members = _parse_members(public_key)
    if members is None:
        raise Refused(Reason.BAD_KEY, "the bytes are no multi-signature key with distinct members in rising order")
    return members


def multisig_signature(public_key: bytes, signatures: Mapping[int, bytes]) -> bytes:
    """Return the joint signature from those of single members over the same message.

    Args:
        public_key: the MULTISIG key.
        signatures: a member's index in the key, from 0 -> its signature with scheme byte. Exactly `threshold` of them.

    Raises:
        Refused: BAD_KEY, MISSING_SIGNATURE, SURPLUS_SIGNATURE, or BAD_SIGNATURE for one of the wrong scheme or size.
    """
    threshold, keys = multisig_members(public_key)
    if len(signatures) < threshold:
        raise Refused(Reason.MISSING_SIGNATURE, f"{len(signatures)} signatures of the {threshold} that the key wants")
    if len(signatures) > threshold or not all(0 <= index < len(keys) for index in signatures):
        raise Refused(Reason.SURPLUS_SIGNATURE, f"exactly {threshold} signatures by members are wanted")
    parts = [bytes([Scheme.MULTISIG])]
    for index, signature in sorted(signatures.items()):
        scheme = Scheme(keys[index][0])
        if signature[:1] != bytes([scheme]) or len(signature) != _SIGNATURE_SIZE[scheme]:
            raise Refused(Reason.BAD_SIGNATURE, f"the signature of member {index} is not of the member's scheme")
        parts += (bytes([index]), signature)
    return b"".join(parts)


def _verify_hybrid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(public_key) != HYBRID_KEY_SIZE or len(signature) != HYBRID_SIGNATURE_SIZE:
        return False
    signed = hybrid_message(public_key, message)
    middle = 1 + ED25519_SIGNATURE_SIZE
    if not _falcon_verify(public_key[_ED25519_END:], signed, signature[middle:]):
        return False
    try:
        VerifyKey(public_key[1:_ED25519_END]).verify(signed, signature[1:middle])
    except BadSignatureError:
        return False
    return True


def _verify_multisig(public_key: bytes, message: bytes, signature: bytes) -> bool:
    members = _parse_members(public_key)
    if members is None:
        return False
    threshold, keys = members
    signed_by = _split_signatures(keys, signature)
    if signed_by is None or len(signed_by) != threshold:
        return False
    return all(verify(key, message, part) for key, part in signed_by)


def _split_signatures(keys: tuple[bytes, ...], signature: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return the signers' (key, signature) in rising order of their indexes, or None if the form is wrong."""
    signed_by: list[tuple[bytes, bytes]] = []
    position, previous = 1, -1
    while position < len(signature):
        index = signature[position]
        if not previous < index < len(keys):
            return None
        start, position = position + 1, position + 1 + _SIGNATURE_SIZE[Scheme(keys[index][0])]
        if position > len(signature):
            return None
        signed_by.append((keys[index], signature[start:position]))
        previous = index
    return signed_by


def _parse_members(public_key: bytes) -> tuple[int, tuple[bytes, ...]] | None:
    if len(public_key) < _MULTISIG_HEAD or public_key[0] != Scheme.MULTISIG:
        return None
    threshold, count = public_key[1], public_key[2]
    if not 1 <= threshold <= count <= MAX_MULTISIG_KEYS:
        return None
    keys: list[bytes] = []
    position = _MULTISIG_HEAD
    for _ in range(count):
        scheme = public_key[position : position + 1]
        if scheme not in (_FALCON, _HYBRID):
            return None
        start, position = position, position + _KEY_SIZE[Scheme(scheme[0])]
        keys.append(public_key[start:position])
    rising = all(low < high for low, high in pairwise(keys))
    # One Falcon key alone and inside a hybrid key would let one person count twice.
    distinct = len({key[-falcon.PUBLIC_KEY_SIZE :] for key in keys}) == count
    return (threshold, tuple(keys)) if position == len(public_key) and rising and distinct else None


def _dearest_signers(public_key: bytes) -> list[Scheme]:
    """Return the schemes of the signers of one signature, taking the dearest members of a MULTISIG key."""
    scheme = scheme_of(public_key)
    if scheme is not Scheme.MULTISIG:
        return [scheme]
    threshold, keys = multisig_members(public_key)
    return sorted((Scheme(key[0]) for key in keys), key=_VERIFICATIONS.__getitem__, reverse=True)[:threshold]


def _check_single_key(key: bytes) -> None:
    scheme = Scheme(key[0])
    if len(key) != _KEY_SIZE[scheme]:
        raise Refused(Reason.BAD_KEY, f"a key of scheme {scheme.name} has {_KEY_SIZE[scheme]} bytes, not {len(key)}")
    falcon.check_public_key(key[-falcon.PUBLIC_KEY_SIZE :])
    if scheme is Scheme.HYBRID and not crypto_core_ed25519_is_valid_point(key[1:_ED25519_END]):
        raise Refused(Reason.BAD_KEY, "the Ed25519 half of the key is no point of the group's prime order")
