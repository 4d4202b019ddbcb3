"""Many Falcon-1024 verifications at once: on several cores where the native kernel is built, else one by one.

Both say the same of every signature; a test holds them against each other on published and on damaged ones.
"""

import importlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from crypto import falcon
from crypto.group import NATIVE, available

KEYS_KEPT: Final = 2048
"""Public keys that the kernel keeps ready (4 kB each): who signed once mostly signs again, and to make a key ready
takes half as long as to verify with it."""


class Signed(NamedTuple):
    """What one verification takes."""

    public: bytes
    message: bytes
    signature: bytes


def verify_many(signed: Sequence[Signed], threads: int = 1) -> list[bool]:
    """Tell of each whether its signature is valid. Never raises for bytes. Releases the GIL.

    Args:
        signed: any number.
        threads: among how many threads to divide them, if the kernel is there.
    """
    kernel = _kernel() if NATIVE in available() else _one_by_one
    return kernel(signed, threads)


def _one_by_one(signed: Sequence[Signed], _threads: int) -> list[bool]:
    return [falcon.verify(*one) for one in signed]


_Verify = Callable[[Sequence[Signed], int], list[bool]]


@cache
def _kernel() -> _Verify:
    """Return how the kernel verifies; one of an older form leaves it to PQClean."""
    kernel: Any = importlib.import_module("nexus_native")
    if not hasattr(kernel, "falcon_verify_many"):
        return _one_by_one
    ready = lru_cache(KEYS_KEPT)(kernel.falcon_key)

    def verify(signed: Sequence[Signed], threads: int) -> list[bool]:
        keyed = [
            (ready(public) if len(public) == falcon.PUBLIC_KEY_SIZE else None, message, signature)
            for public, message, signature in signed
        ]
        verdicts: list[bool] = kernel.falcon_verify_many(keyed, threads)
        return verdicts

    return verify
