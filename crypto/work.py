"""Hashcash: proof of work as leading zero bits of a digest."""


def leading_zero_bits(digest: bytes) -> int:
    """Return how many bits at the front of `digest` are zero: 8 * len(digest) if all are."""
    return 8 * len(digest) - int.from_bytes(digest, "big").bit_length()


def meets(digest: bytes, difficulty: int) -> bool:
    """Tell whether `digest` has at least `difficulty` leading zero bits; about 2**difficulty tries make one."""
    return leading_zero_bits(digest) >= difficulty
