"""Generators of vector commitments: points of which nobody knows a logarithm, derived from a public name.

Each party's are a SHAKE256 stream of its own, as in the crate `bulletproofs`.
"""

import hashlib

from crypto.ristretto import UNIFORM_SIZE, Group, Point


def chain(group: Group, side: bytes, party: int, count: int) -> list[Point]:
    """Return the first generators of a party: 10 us each on the native backend, 30 on libsodium.

    Args:
        group: the backend.
        side: b"G" for the left vector, b"H" for the right one.
        party: its place among those whose proofs are aggregated.
        count: how many.
    """
    seed = b"GeneratorsChain" + side + party.to_bytes(4, "little")
    stream = hashlib.shake_256(seed).digest(count * UNIFORM_SIZE)
    return [group.from_uniform(stream[at : at + UNIFORM_SIZE]) for at in range(0, len(stream), UNIFORM_SIZE)]
