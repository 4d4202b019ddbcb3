"""Signatures of blocks that wait for their turn, checked on a thread while the blocks before them are executed. Pure.

A block that came by catching up carries transactions whose signatures cost a third of its processor time. They need
only the signers' keys, which nearly always are in the state already. What is verified here is remembered by bytes and
keys; where a key was not known yet, or has changed since, the signature is verified when the block is executed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from apps.execution import decode_block
from apps.validity import resolve_keys
from consensus.types import Block
from crypto.errors import Reason, Refused
from node.actions import Check
from node.signatures import SignatureCache, Verdict, checks_of
from state.changes import Reader
from state.transaction import Decoded
from state.types import Height, WtxId

MOST: Final = 40_000
"""Transactions in verification at a time: the cache remembers some more."""


@dataclass(frozen=True, slots=True)
class _Begun:
    height: Height
    known: tuple[tuple[WtxId, tuple[bytes, ...]], ...]


class Ahead:
    """The blocks of one node's catching up that are looked at before their turn.

    Args:
        signatures: remembers what holds.
    """

    def __init__(self, signatures: SignatureCache) -> None:
        self._signatures = signatures
        self._begun: dict[int, _Begun] = {}
        self._decoded: dict[Height, tuple[Block, tuple[Decoded, ...]]] = {}
        self._waiting: set[Height] = set()

    def begin(self, ticket: int, block: Block, reader: Reader) -> tuple[tuple[Check, ...], ...]:
        """Return what to verify of a block that has just come, transaction by transaction; or nothing.

        Args:
            ticket: of the verification.
            block: from a peer, unchecked.
            reader: the state now.

        Raises:
            Refused: CORRUPT_DATABASE.
        """
        height = block.header.height
        if not block.transactions or sum(len(one.known) for one in self._begun.values()) > MOST:
            return ()
        try:
            transactions = decode_block(block.transactions)
        except Refused:
            return ()  # it is judged when its turn comes
        known: list[tuple[WtxId, tuple[bytes, ...]]] = []
        checks: list[tuple[Check, ...]] = []
        for decoded in transactions:
            try:
                keys = resolve_keys(decoded, reader)
            except Refused as refused:
                if refused.reason is Reason.CORRUPT_DATABASE:
                    raise
                continue
            known.append((decoded.wtxid, keys))
            checks.append(checks_of(decoded, keys))
        self._decoded[height] = (block, transactions)
        if checks:
            self._begun[ticket] = _Begun(height, tuple(known))
            self._waiting.add(height)
        return tuple(checks)

    def is_ours(self, ticket: int) -> bool:
        """Tell whether a ticket is one of a block."""
        return ticket in self._begun

    def verified(self, ticket: int, verdicts: Sequence[Verdict]) -> None:
        """Remember which signatures of a block hold."""
        begun = self._begun.pop(ticket)
        self._waiting.discard(begun.height)
        for (wtxid, keys), verdict in zip(begun.known, verdicts, strict=True):
            if verdict is True:
                self._signatures.add(wtxid, keys)

    def is_looking_at(self, height: Height) -> bool:
        """Tell whether a block is still in verification."""
        return height in self._waiting

    def decode(self, block: Block) -> tuple[Decoded, ...]:
        """Return a block's decoded transactions, and let go of all that is not above it. Raises as `decode_block`."""
        height = block.header.height
        found = self._decoded.pop(height, None)
        for old in [other for other in self._decoded if other < height]:
            del self._decoded[old]
        return found[1] if found is not None and found[0] is block else decode_block(block.transactions)
