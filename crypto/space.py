"""Proofs of space: that somebody has a table of 2**k entries at hand, made from a plot id.

Plots are those of Chia (https://docs.chia.net/chia-blockchain/consensus/proof-of-space/), checked by `chiapos`: 64
values of k bits each that match in pairs through seven tables. A full plot answers about 61 of 100 challenges
[measured].
"""

from typing import Final

from chiapos import Verifier

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest

MIN_K: Final = 18
"""Smallest plot that the library makes: 4 MB, remade in seconds."""
MAX_K: Final = 50
HASH_SIZE: Final = 32

_verifier: Final = Verifier()


def proof_size(k: int) -> int:
    """Return the bytes of a proof from a plot of size k: 64 values of k bits."""
    return 8 * k


def plot_id(chain_id: bytes, owner: bytes, index: int) -> bytes:
    """Return the id of an account's plot: H("plot", chain id || owner || index as 8 bytes, big-endian)."""
    return digest(Label.PLOT, chain_id + owner + index.to_bytes(8, "big"))


def space_challenge(beacon: bytes, plot: bytes, number: int) -> bytes:
    """Return one challenge to a plot: H("space-challenge", beacon || plot id || number as one byte)."""
    return digest(Label.SPACE_CHALLENGE, beacon + plot + bytes([number]))


def check_space(plot: bytes, k: int, challenge: bytes, proof: bytes) -> None:
    """Check that a proof answers a challenge.

    Args:
        plot: the plot's id, 32 bytes.
        k: its size.
        challenge: 32 bytes.
        proof: `proof_size(k)` bytes.

    Raises:
        Refused: BAD_SPACE.
    """
    if not MIN_K <= k <= MAX_K:
        raise Refused(Reason.BAD_SPACE, f"a plot has a size from {MIN_K} to {MAX_K}, not {k}")
    if len(plot) != HASH_SIZE or len(challenge) != HASH_SIZE:
        raise Refused(Reason.BAD_SPACE, f"a plot id and a challenge have {HASH_SIZE} bytes")
    if len(proof) != proof_size(k):
        raise Refused(Reason.BAD_SPACE, f"a proof of k = {k} has {proof_size(k)} bytes, not {len(proof)}")
    try:
        good = _verifier.validate_proof(plot, k, challenge, proof)
    except (RuntimeError, ValueError, IndexError, OverflowError):
        good = None
    if not good:
        raise Refused(Reason.BAD_SPACE, "the proof does not answer the challenge")
