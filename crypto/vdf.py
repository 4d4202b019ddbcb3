"""Proofs of time: a function that takes many steps one after the other, and is checked in a few milliseconds.

It squares in the class group of an imaginary quadratic field whose discriminant is made from the challenge, so that
nobody knows the group's order; the proof is Wesolowski's (https://eprint.iacr.org/2018/623). The library is `chiavdf`.
Classical: a quantum computer finds the order, and then takes a short cut.

The output is one form of the group. `chiavdf` also verifies other bytes for the same output (spare bits of the form's
last byte) and other proofs of it: so the output is read strictly, one way to write each form, and whatever is derived
from a proof of time is derived from that alone, never from the proof.
"""

from typing import Final

import chiavdf

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest

FORM_SIZE: Final = 100
"""Bytes of a form, for every size of discriminant up to MAX_BITS."""
MIN_BITS: Final = 256
MAX_BITS: Final = 1024
GENERATOR: Final = b"\x08" + bytes(FORM_SIZE - 1)
"""The form (2, 1, c) that the function begins with: the generator of chiavdf."""


def time_challenge(chain_id: bytes, epoch: int, seed: bytes) -> bytes:
    """Return what the discriminant is made from: H("time-challenge", chain id || epoch as 8 bytes || seed)."""
    return digest(Label.TIME_CHALLENGE, chain_id + epoch.to_bytes(8, "big") + seed)


def check_time(challenge: bytes, bits: int, iterations: int, output: bytes, proof: bytes) -> None:
    """Check that `output` is the generator squared `iterations` times.

    Args:
        challenge: 32 bytes, from `time_challenge`.
        bits: size of the discriminant, a multiple of 8 from MIN_BITS to MAX_BITS.
        iterations: squarings, at least 1.
        output: a form.
        proof: a form.

    Raises:
        Refused: BAD_TIME_PROOF.
    """
    if len(output) != FORM_SIZE or len(proof) != FORM_SIZE:
        raise Refused(Reason.BAD_TIME_PROOF, f"output and proof have {FORM_SIZE} bytes each")
    if not MIN_BITS <= bits <= MAX_BITS or bits % 8 or iterations < 1 or len(challenge) != 32:
        raise Refused(Reason.BAD_TIME_PROOF, f"{bits} bits and {iterations} iterations are outside what can be checked")
    try:
        discriminant = chiavdf.create_discriminant(challenge, bits)
        chiavdf.bqfc_deserialize(discriminant, output, True)
        good = chiavdf.verify_wesolowski(discriminant, GENERATOR, output, proof, iterations)
    except (RuntimeError, ValueError, IndexError, OverflowError):
        good = False
    if not good:
        raise Refused(Reason.BAD_TIME_PROOF, "the proof does not hold for this output")


def beacon_of(output: bytes) -> bytes:
    """Return the beacon that a checked output gives: H("beacon", the form)."""
    return digest(Label.BEACON, output)
