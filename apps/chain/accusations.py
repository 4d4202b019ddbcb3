"""Which evidence a block may hold; whether its signatures hold is `consensus.evidence`, and whom it may accuse, one
operator at most once, `apps.slashing.rules.check_accused`.

Evidence is too old once it is older than `evidence_window` heights *and* `evidence_age` ms. Stake that leaves waits for
both of its own bounds, which are no longer, so that whatever can still be proven can still be slashed. The age in ms is
that of the last block of the fault's epoch: times are kept by epoch, and the error is in favour of the evidence.
"""

from apps.chain.clock import clock, oldest_epoch, time_mark
from apps.chain.records import anchor, epoch_of, is_recorded, params, security
from consensus.evidence import height_of
from consensus.types import Evidence, LightClientAttack
from crypto.errors import Reason, Refused
from state.changes import Reader
from state.types import Height


def check_accusation(reader: Reader, evidence: Evidence, height: Height) -> None:
    """Check that a block of this height may hold the evidence, on the state before it.

    Raises:
        Refused: BAD_EVIDENCE for an offence that is recorded already, is too old, or lies in the future.
    """
    if is_recorded(reader, evidence):
        raise Refused(Reason.BAD_EVIDENCE, "this offence is on chain already")
    fault = height_of(evidence)
    if not 0 < fault < height:
        raise Refused(Reason.BAD_EVIDENCE, f"the offence is of height {fault}, the block of {height}")
    if is_too_old(reader, fault, height):
        raise Refused(Reason.BAD_EVIDENCE, "the offence is older than the evidence window and the evidence age")
    if isinstance(evidence, LightClientAttack):
        known = anchor(reader, evidence.trusted.block_id)
        if known is None or known.height != evidence.trusted.height:
            raise Refused(Reason.BAD_EVIDENCE, "the trusted header is none of this chain's recent ones")


def is_too_old(reader: Reader, fault: int, height: int) -> bool:
    """Tell whether a fault can no longer be accused in a block of `height`, by the state before it."""
    epoch = epoch_of(fault, security(reader).epoch_length)
    if epoch < oldest_epoch(reader):
        return True
    if height - fault <= params(reader).evidence_window:
        return False
    mark = time_mark(reader, epoch)
    return mark is not None and clock(reader) - mark > security(reader).evidence_age


def is_past(reader: Reader, epoch: int, height: int, time: int) -> bool:
    """Tell whether every fault of an epoch is too old for a block of `height` after one of `time`."""
    rules = security(reader)
    last = (epoch + 1) * rules.epoch_length
    if height - last <= params(reader).evidence_window:
        return False
    mark = time_mark(reader, epoch)
    return mark is not None and time - mark > rules.evidence_age
