"""Many Falcon-1024 verifications at once: on several cores where the native kernel is built, else one by one.

Both say the same of every signature; a test holds them against each other on published and on damaged ones.
"""

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from crypto import falcon
from crypto.group import NATIVE, available


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
    formed = [one for one in signed if _has_sizes(one)]
    kernel = _kernel() if NATIVE in available() else _one_by_one
    verdicts = iter(kernel(formed, threads))
    return [_has_sizes(one) and next(verdicts) for one in signed]


def _has_sizes(one: Signed) -> bool:
    return len(one.public) == falcon.PUBLIC_KEY_SIZE and len(one.signature) == falcon.SIGNATURE_SIZE


def _one_by_one(signed: Sequence[Signed], _threads: int) -> list[bool]:
    return [falcon.verify(*one) for one in signed]


@cache
def _kernel() -> Callable[[Sequence[Signed], int], list[bool]]:
    kernel: Any = importlib.import_module("nexus_native")
    verify: Callable[[Sequence[Signed], int], list[bool]] = kernel.falcon_verify
    return verify
