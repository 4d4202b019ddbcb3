"""Which transactions' signatures are known to hold, and under which keys."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from consensus.effects import Verifier
from node.actions import Check
from state.transaction import Decoded, sign_digest
from state.types import WtxId

KEPT: Final = 60_000
"""Verified transactions that are remembered: three times a full mempool by default."""

Holds = Callable[[Decoded, tuple[bytes, ...]], bool]


def checks_of(decoded: Decoded, keys: tuple[bytes, ...]) -> tuple[Check, ...]:
    """Return what has to be verified for a transaction whose witnesses sign under these keys."""
    message = sign_digest(decoded.transaction.body)
    return tuple(
        Check(key, message, witness.signature)
        for key, witness in zip(keys, decoded.transaction.witnesses, strict=True)
    )


def verdicts(verifier: Verifier, checks: Sequence[Sequence[Check]]) -> list[bool]:
    """Tell of each group whether all its signatures hold. May run on any thread."""
    verify = verifier.verify
    return [all(verify(one.public_key, one.message, one.signature) for one in group) for group in checks]


class SignatureCache:
    """Remembers by wtxid, so that a bad witness on a good body hides nothing, and by keys, which a rotation changes.

    Args:
        holds: verifies now.

    Attributes:
        hits: answers from memory.
        misses: answers that cost a verification.
    """

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._verified: OrderedDict[WtxId, tuple[bytes, ...]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def knows(self, wtxid: WtxId, keys: tuple[bytes, ...]) -> bool:
        """Tell whether these bytes were verified under these keys."""
        return self._verified.get(wtxid) == keys

    def add(self, wtxid: WtxId, keys: tuple[bytes, ...]) -> None:
        """Remember that the signatures hold."""
        self._verified[wtxid] = keys
        if len(self._verified) > KEPT:
            self._verified.popitem(last=False)

    def forget(self, wtxid: WtxId) -> None:
        """Drop a transaction that is in a block for good."""
        self._verified.pop(wtxid, None)

    def __call__(self, decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
        """Tell whether the signatures hold, from memory or by verifying now (`apps.validity.SignatureCheck`)."""
        if self.knows(decoded.wtxid, keys):
            self.hits += 1
            return True
        self.misses += 1
        if not self._holds(decoded, keys):
            return False
        self.add(decoded.wtxid, keys)
        return True
