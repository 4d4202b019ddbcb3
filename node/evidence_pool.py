"""Proofs of double signing that wait for a block: found here or told by peers, checked, kept over a restart.

    engine or peer -> checked against the validator set of its own height -> file, synced -> every peer -> a block

Everything that is pending can go into a block, now or once the height in progress is over; what never can (it is on
chain already, or too old) or is of no use (the accused is out for ever) is dropped at once. So pending evidence may
count as work without ever leading to an endless chain of blocks: who is tombstoned can still sign two things at
heights long past, as often as it likes.
"""

from collections import Counter
from pathlib import Path
from typing import Final

from apps.chain.records import offence_id
from consensus.effects import Verifier
from consensus.evidence import height_of
from consensus.types import Evidence
from crypto.errors import Reason, Refused
from node.chain import Chain, evidence_codec
from node.document import DiskDocument, Document
from node.logs import logger
from state.encoding import encode
from state.types import Address, Height

MAX_IN_BLOCK: Final = 64
"""Accusations in one block."""
MAX_PER_ACCUSED: Final = 4
"""Offences of one validator that wait: the first is enough to remove it, and a liar can commit any number."""
MAX_AHEAD: Final = 2
"""Heights after the last block whose validator set is known."""
MAX_PENDING: Final = 256
"""Offences that wait, of all validators."""

_log = logger("consensus")


def evidence_document(path: Path) -> DiskDocument:
    """Return the pool's document in a real file; CORRUPT_LOG if it cannot be written. Peers tell the content again."""
    return DiskDocument(path, Reason.CORRUPT_LOG, expendable=True)


class EvidencePool:
    """Pending evidence.

    Args:
        file: where it survives a restart.
        chain: the committed chain.
        verifier: checks signatures.

    Attributes:
        known: how many offences were learned in this life of the node.
    """

    def __init__(self, file: Document, chain: Chain, verifier: Verifier) -> None:
        self.known = 0
        self._file = file
        self._chain = chain
        self._verifier = verifier
        self._pending: dict[bytes, Evidence] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def load(self) -> None:
        """Read what the last life left, and check it like a stranger's. What is damaged is forgotten: peers tell it."""
        raw = self._file.read()
        if not raw:
            return
        try:
            for evidence in evidence_codec.decode(raw):
                self._take(evidence)
        except Refused as refused:
            _log.warning("the file of pending evidence is not used", reason=refused.reason.value, detail=refused.detail)

    def add(self, evidence: Evidence) -> bool:
        """Take evidence; return whether it is news.

        Raises:
            Refused: UNKNOWN_VALIDATOR, BAD_EVIDENCE, BAD_SIGNATURE if it proves nothing: no honest node sends it.
        """
        if not self._take(evidence):
            return False
        self.known += 1
        self._save()
        return True

    def pending(self) -> tuple[Evidence, ...]:
        """Return all of it, the oldest offence first."""
        return tuple(sorted(self._pending.values(), key=height_of))

    def for_block(self) -> tuple[Evidence, ...]:
        """Return what the block after the tip accuses: each operator, by any of its keys, of one offence; the oldest.

        A block with more than that, or with anything that is of no use any more, would be invalid.
        """
        chosen: dict[Address, Evidence] = {}
        for evidence in self.pending():
            if height_of(evidence) <= self._chain.height and self._is_of_use(evidence):
                chosen.setdefault(self._accused(evidence), evidence)
        return tuple(chosen.values())[:MAX_IN_BLOCK]

    def prune(self) -> None:
        """Drop what the last block made useless."""
        gone = [offence for offence, evidence in self._pending.items() if not self._is_of_use(evidence)]
        if gone:
            for offence in gone:
                del self._pending[offence]
            self._save()

    def _take(self, evidence: Evidence) -> bool:
        offence = offence_id(evidence)
        if offence in self._pending:
            return False
        if height_of(evidence) > self._chain.height + MAX_AHEAD:
            return False  # we are behind: we cannot check it, and shall find it in a block
        try:
            self._accused(evidence)
        except Refused as refused:
            if refused.reason is Reason.UNKNOWN_VALIDATOR:
                raise
            return False
        waiting = Counter(other.validator for other in self._pending.values())
        if waiting[evidence.validator] >= MAX_PER_ACCUSED or len(self._pending) >= MAX_PENDING:
            return False
        self._chain.check_evidence(evidence, self._verifier)
        self._pending[offence] = evidence
        return True

    def _is_of_use(self, evidence: Evidence) -> bool:
        """Whether a block from here on may hold it."""
        try:
            self._accused(evidence)
        except Refused:
            return False
        return True

    def _accused(self, evidence: Evidence) -> Address:
        """Return the operator that a block from here on may accuse by it. Raises Refused if none may."""
        return self._chain.check_accusation(evidence, Height(max(self._chain.height, height_of(evidence)) + 1))

    def _save(self) -> None:
        self._file.replace(encode(self.pending()))
