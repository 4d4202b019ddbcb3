"""Fiat-Shamir transcripts: what turns an interactive proof into bytes.

A prover and a verifier write the same messages into the same transcript and so draw the same challenges. Two forms:

* `Transcript`, ours: a ratchet of SHA3-512, which `hashlib` runs at C speed everywhere. It begins with the name of the
  protocol and a context of 32 bytes: the hash of all that the proof is bound to (a transaction's sign digest).
* `crypto.merlin.Merlin`: the form of the published Bulletproof vectors.

    state   = SHA3-512(label || u8 len(protocol) || protocol || context)
    append    state = SHA3-512(state || 1 || u8 len(label) || label || u64 len(message) || message)
    challenge output = SHA3-512(state || 2 || u8 len(label) || label), then state = SHA3-512(state || 3 || ... the same)

The state is 64 bytes, as long as a block of the hash needs to be for 256 bits against collisions.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol, Self

from crypto.errors import Reason, Refused
from crypto.hashing import Label
from crypto.ristretto import IDENTITY, UNIFORM_SIZE, encode_scalar, scalar_from_uniform

CONTEXT_SIZE: Final = 32
_APPEND, _OUTPUT, _RATCHET = b"\x01", b"\x02", b"\x03"
_LENGTH_SIZE: Final = 8
_WEIGHT_SIZE: Final = 16
"""128 bits: a false proof passes a batch with a probability of 2^-128."""


class FiatShamir(Protocol):
    """What a proof needs of a transcript. It is used up by one proof: prove and verify each take a new one."""

    def append(self, label: bytes, message: bytes) -> None:
        """Write a message."""
        ...

    def challenge(self, label: bytes) -> int:
        """Draw a scalar that depends on everything written so far."""
        ...

    def fork(self) -> Self:
        """Return a transcript that goes its own way from here on."""
        ...


class Transcript:
    """The ratchet of SHA3-512 over everything written so far."""

    __slots__ = ("_state",)

    def __init__(self, protocol: bytes, context: bytes) -> None:
        """Begin.

        Args:
            protocol: its name, at most 255 bytes.
            context: 32 bytes, the hash of all that the proof stands in.
        """
        if len(context) != CONTEXT_SIZE:
            raise ValueError(f"a transcript begins with a context of {CONTEXT_SIZE} bytes, not {len(context)}")
        self._state = hashlib.sha3_512(Label.TRANSCRIPT.prefix + _named(protocol) + context).digest()

    def append(self, label: bytes, message: bytes) -> None:
        """Write a message."""
        length = len(message).to_bytes(_LENGTH_SIZE, "little")
        self._state = hashlib.sha3_512(self._state + _APPEND + _named(label) + length + message).digest()

    def challenge(self, label: bytes) -> int:
        """Draw a scalar that depends on everything written so far."""
        output = hashlib.sha3_512(self._state + _OUTPUT + _named(label)).digest()
        self._state = hashlib.sha3_512(self._state + _RATCHET + _named(label)).digest()
        return scalar_from_uniform(output)

    def fork(self) -> Self:
        """Return a transcript that goes its own way from here on."""
        other = object.__new__(type(self))
        other._state = self._state
        return other


def append_integer(transcript: FiatShamir, label: bytes, number: int) -> None:
    """Write a number below 2^64, as 8 little-endian bytes."""
    transcript.append(label, number.to_bytes(_LENGTH_SIZE, "little"))


def append_point(transcript: FiatShamir, label: bytes, encoding: bytes) -> None:
    """Write a point that must not be the identity.

    Raises:
        Refused: BAD_POINT if it is.
    """
    if encoding == IDENTITY:
        raise Refused(Reason.BAD_POINT, "the identity stands where a proof needs another point")
    transcript.append(label, encoding)


def secret_scalars(transcript: FiatShamir, witness: Sequence[int], entropy: bytes, count: int) -> list[int]:
    """Return the random scalars of a prover who knows `witness`, from entropy that the caller gives.

    Statement and witness go in beside the entropy, so that bad entropy, the same twice, never gives the same nonces for
    two statements (which would give the witness away).

    Args:
        transcript: with the whole statement written; it is not changed.
        witness: the secrets.
        entropy: at least 32 fresh random bytes.
        count: how many scalars.
    """
    _check_entropy(entropy)
    seed = hashlib.shake_256(Label.PROOF_NONCES.prefix + len(entropy).to_bytes(_LENGTH_SIZE, "little") + entropy)
    seed.update(encode_scalar(transcript.fork().challenge(b"nonces")))
    for secret in witness:
        seed.update(encode_scalar(secret))
    stream = seed.digest(count * UNIFORM_SIZE)
    return [scalar_from_uniform(stream[at : at + UNIFORM_SIZE]) for at in range(0, len(stream), UNIFORM_SIZE)]


def batch_weights(transcripts: Sequence[FiatShamir], entropy: bytes, count: int) -> list[int]:
    """Return random weights of 128 bits, none zero, under which a verifier adds up equations.

    What they weigh goes in beside the entropy: who writes the proofs cannot choose them to cancel even if the entropy
    were known.

    Args:
        transcripts: of all the proofs, each with the whole proof written; they are not changed.
        entropy: at least 32 fresh random bytes.
        count: how many weights.
    """
    _check_entropy(entropy)
    seed = hashlib.shake_256(Label.BATCH_WEIGHTS.prefix + len(entropy).to_bytes(_LENGTH_SIZE, "little") + entropy)
    for transcript in transcripts:
        seed.update(encode_scalar(transcript.fork().challenge(b"weights")))
    stream = seed.digest(count * _WEIGHT_SIZE)
    drawn = (stream[at : at + _WEIGHT_SIZE] for at in range(0, len(stream), _WEIGHT_SIZE))
    return [int.from_bytes(piece, "little") or 1 for piece in drawn]


def _named(label: bytes) -> bytes:
    return bytes([len(label)]) + label


def _check_entropy(entropy: bytes) -> None:
    if len(entropy) < CONTEXT_SIZE:
        raise ValueError(f"{len(entropy)} bytes of entropy: at least {CONTEXT_SIZE} are wanted")
