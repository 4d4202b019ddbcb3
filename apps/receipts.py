"""Receipts as Merkle leaves: the next block's header holds their root, so that one receipt can be proven."""

from collections.abc import Sequence

from crypto.merkle import inclusion_proof, merkle_root, verify_inclusion
from state.encoding import Record, encode
from state.receipt import Receipt
from state.types import Hash32


class ReceiptProof(Record, frozen=True):
    """Shows that a receipt is in a block: the number of receipts there, and sibling hashes from the leaf up."""

    size: int
    path: tuple[Hash32, ...]


def receipts_root(receipts: Sequence[Receipt]) -> bytes:
    """Return the Merkle root over the receipts' encodings, in block order."""
    return merkle_root([encode(receipt) for receipt in receipts])


def prove_receipt(receipts: Sequence[Receipt], index: int) -> ReceiptProof:
    """Return the proof of one receipt of a block. Raises Refused(BAD_ARGUMENT) if there is no such receipt."""
    return ReceiptProof(len(receipts), inclusion_proof([encode(receipt) for receipt in receipts], index))


def verify_receipt(root: bytes, receipt: Receipt, proof: ReceiptProof) -> None:
    """Check a receipt against the receipts root of the block after its own. Raises Refused(BAD_PROOF)."""
    verify_inclusion(root, encode(receipt), receipt.index, proof.size, proof.path)
