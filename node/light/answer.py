"""One answer with all that proves it, in one file: whoever trusts its root needs no network to check it.

The state after block h stands in header h + 1, and so do the receipts of block h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from consensus.commit import signed_power, verify_commit
from consensus.effects import Verifier
from consensus.light import LightBlock, check_earlier, verify_light
from consensus.types import Header
from crypto.errors import Reason, Refused
from crypto.merkle import NEXUS, fold, path_of
from node.light.roots import Root, check_identity, check_root, trusted_genesis
from state.encoding import Codec, Record
from state.genesis import MAX_GENESIS
from state.proof import StateProof, verify_state_proof
from state.receipt import Receipt, receipt_codec
from state.types import Hash32, Height

MAX_STEPS: Final = 1024
"""Headers between the root of trust and the answer: bisection needs about the logarithm of the distance, or one for
each time that a third of the validators changed."""
MAX_EARLIER: Final = 100_000
MAX_ANSWER: Final = MAX_GENESIS + (256 << 20)


class PathStep(Record, frozen=True):
    """A sibling on the way from a receipt to the root, and whether it stands on the left."""

    left: bool
    sibling: Hash32


class ReceiptEvidence(Record, frozen=True):
    """A receipt and its way to the receipts root. It leaves out the number of receipts, which proves nothing."""

    receipt: bytes
    path: Annotated[tuple[PathStep, ...], Meta(max_length=63)]


class ProvenRecord(Record, frozen=True):
    """A record's raw key, and the proof of its value or of its absence."""

    key: Annotated[bytes, Meta(min_length=1, max_length=1024)]
    proof: StateProof


class LightAnswer(Record, frozen=True):
    """An answer with all that proves it. Every byte of it is checked: none can be changed unnoticed.

    `genesis` is the canonical document. `blocks` lead from the root of trust upwards; `earlier` are headers of falling
    heights below the last of them, each named by the one above. The proofs are against the last header of all:
    `records`, or the one receipt.
    """

    genesis: bytes
    blocks: Annotated[tuple[LightBlock, ...], Meta(min_length=1, max_length=MAX_STEPS)]
    earlier: Annotated[tuple[Header, ...], Meta(max_length=MAX_EARLIER)]
    records: Annotated[tuple[ProvenRecord, ...], Meta(max_length=512)]
    receipts: Annotated[tuple[ReceiptEvidence, ...], Meta(max_length=1)]

    @property
    def header(self) -> Header:
        """The header that the proofs are against."""
        return self.earlier[-1] if self.earlier else self.blocks[-1].header


answer_codec: Final = Codec(LightAnswer, max_size=MAX_ANSWER)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was proven, and by what.

    Attributes:
        header: that the proofs lead to; the records are those after the block below it.
        values: of the records, by raw key; None for a record that does not exist.
        receipt: the one receipt, if the answer has one.
        signed: the last header that signatures stand under.
        age: of that header in ms.
        steps: headers whose signatures were checked for it, after the root of trust.
    """

    header: Header
    values: Mapping[bytes, bytes | None]
    receipt: Receipt | None
    signed: LightBlock
    age: int
    steps: int


class RememberingVerifier:
    """Checks each signature once, however often it is asked."""

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner
        self._known: dict[tuple[bytes, bytes, bytes], bool] = {}

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds."""
        asked = public_key, message, signature
        if asked not in self._known:
            self._known[asked] = self._inner.verify(*asked)
        return self._known[asked]


def verify_answer(root: Root, answer: LightAnswer, now: int, verifier: Verifier) -> Verified:
    """Check an answer from end to end. The hashes come before the signatures: what is cheap to refuse, is.

    Args:
        root: what is trusted; never from the node that answered, nor from the file.
        answer: from anybody.
        now: our clock, ms since 1970.
        verifier: checks signatures.

    Raises:
        Refused: TRUST_EXPIRED, UNTRUSTED, WRONG_CHAIN, BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE, BAD_TIME, WRONG_HEIGHT,
            BAD_PROOF, BAD_GENESIS, MALFORMED.
    """
    remembering = verifier if isinstance(verifier, RememberingVerifier) else RememberingVerifier(verifier)
    first, last = answer.blocks[0], answer.blocks[-1]
    values = _check_records(answer)
    receipt = check_receipt(answer.receipts[0], answer.header) if answer.receipts else None
    check_earlier(last.header, answer.earlier)
    chain_id = check_identity(root, first)
    genesis = trusted_genesis(answer.genesis, chain_id)
    params = check_root(root, first, genesis, now, remembering)
    for trusted, new in pairwise(answer.blocks):
        verify_light(trusted, new, now, params, remembering)
    for block in answer.blocks:  # signatures above two thirds add nothing to the proof, and still none may be wrong
        verify_commit(chain_id, block.validators, block.height, block.header.block_id, block.commit, remembering)
    return Verified(
        header=answer.header, values=values, receipt=receipt, signed=last, age=now - last.header.time,
        steps=len(answer.blocks) - 1,
    )


def _check_records(answer: LightAnswer) -> dict[bytes, bytes | None]:
    if any(one.key >= other.key for one, other in pairwise(answer.records)):
        raise Refused(Reason.MALFORMED, "the records are not in rising order of key")
    root = answer.header.state_root
    return {record.key: verify_state_proof(root, record.key, record.proof) for record in answer.records}


def check_receipt(evidence: ReceiptEvidence, header: Header) -> Receipt:
    """Check a receipt against the header above its block. Raises Refused(BAD_PROOF)."""
    path = ((step.left, step.sibling) for step in evidence.path)
    if fold(NEXUS.leaf(evidence.receipt), path) != header.receipts_root:
        raise Refused(Reason.BAD_PROOF, "the receipt's proof leads to another root")
    receipt = receipt_codec.decode(evidence.receipt)
    if receipt.height != header.height - 1:
        raise Refused(Reason.BAD_PROOF, "the receipt is of another height")
    return receipt


def sides(index: int, size: int, siblings: Sequence[bytes]) -> tuple[PathStep, ...]:
    """Return for each sibling of an inclusion proof on which side it stands. Raises Refused(BAD_PROOF)."""
    return tuple(PathStep(*step) for step in path_of(index, size, siblings))


def share_signed(block: LightBlock) -> tuple[int, int]:
    """Return the power that signed a light block, and the power of all its validators."""
    return signed_power(block.validators, block.commit), block.validators.total_power


def height_of_state(header: Header) -> Height:
    """Return the block after which the records stand that a header proves."""
    return Height(header.height - 1)
