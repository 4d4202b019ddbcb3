"""Which transactions' signatures and zero-knowledge proofs are known to hold, and under which keys."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from apps import prooftask
from apps.prooftask import ProofTask
from consensus.effects import Verifier
from crypto.batch import Fault
from crypto.errors import Refused
from node.actions import Check
from state.transaction import Decoded, sign_digest
from state.types import WtxId

KEPT: Final = 60_000
"""Verified transactions that are remembered: three times a full mempool by default."""
_ENTROPY: Final = 32



@runtime_checkable
class ManyVerifier(Protocol):
    """A verifier that is faster with many signatures at once."""

    def verify_many(self, signed: Sequence[Check]) -> list[bool]:
        """Tell of each whether it holds. Never raises on hostile bytes."""
        ...


Holds = Callable[[Decoded, tuple[bytes, ...]], bool]
Verdict = bool | Refused
"""Of one transaction: True if its signatures and proofs hold, False for a bad signature, else why a proof does not."""


def checks_of(decoded: Decoded, keys: tuple[bytes, ...]) -> tuple[Check, ...]:
    """Return what has to be verified for a transaction whose witnesses sign under these keys."""
    message = sign_digest(decoded.transaction.body)
    return tuple(
        Check(key, message, witness.signature)
        for key, witness in zip(keys, decoded.transaction.witnesses, strict=True)
    )


def verdicts(verifier: Verifier, checks: Sequence[Sequence[Check | ProofTask]]) -> list[Verdict]:
    """Tell of each group whether all its signatures and proofs hold. May run on any thread.

    Signatures come first: they cost a tenth. The proofs of the groups whose signatures hold are verified in one batch.
    """
    signed = [one for group in checks for one in group if isinstance(one, Check)]
    if isinstance(verifier, ManyVerifier):
        holds = iter(verifier.verify_many(signed))
    else:
        holds = iter([verifier.verify(one.public_key, one.message, one.signature) for one in signed])
    found: list[Verdict] = []
    for group in checks:
        taken = [next(holds) for one in group if isinstance(one, Check)]
        found.append(all(taken))
    tasks = [
        (place, one) for place, group in enumerate(checks) if found[place] for one in group
        if isinstance(one, ProofTask)
    ]
    for fault in faults_of([task for _, task in tasks]):
        found[tasks[fault.place][0]] = fault.refused
    return found


def faults_of(tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
    """Verify proofs, now, in one batch under weights that nobody could know (`apps.prooftask`)."""
    return prooftask.faults_of(tasks, secrets.token_bytes(_ENTROPY)) if tasks else ()


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
        self._proven: OrderedDict[WtxId, None] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def knows(self, wtxid: WtxId, keys: tuple[bytes, ...]) -> bool:
        """Tell whether these bytes were verified under these keys."""
        return self._verified.get(wtxid) == keys

    def proven(self, wtxid: WtxId) -> bool:
        """Tell whether the zero-knowledge proofs in these bytes were verified."""
        return wtxid in self._proven

    def add(self, wtxid: WtxId, keys: tuple[bytes, ...]) -> None:
        """Remember that the signatures hold."""
        self._verified[wtxid] = keys
        if len(self._verified) > KEPT:
            self._verified.popitem(last=False)

    def add_proven(self, wtxid: WtxId) -> None:
        """Remember that the zero-knowledge proofs hold."""
        self._proven[wtxid] = None
        if len(self._proven) > KEPT:
            self._proven.popitem(last=False)

    def forget(self, wtxid: WtxId) -> None:
        """Drop a transaction that is in a block for good."""
        self._verified.pop(wtxid, None)
        self._proven.pop(wtxid, None)

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

    def find_faults(self, tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
        """Return which proofs do not hold, from memory or by verifying now (`apps.prooftask.ProofCheck`)."""
        unknown = [(place, task) for place, task in enumerate(tasks) if task.wtxid not in self._proven]
        faults = tuple(
            Fault(unknown[fault.place][0], fault.refused) for fault in faults_of([task for _, task in unknown])
        )
        bad = {fault.place for fault in faults}
        for place, task in unknown:
            if place not in bad:
                self.add_proven(task.wtxid)
        return faults
