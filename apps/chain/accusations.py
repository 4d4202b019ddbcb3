"""Which evidence a block may hold; whether its signatures hold is `consensus.evidence`."""

from apps.chain.records import is_recorded, params
from consensus.evidence import height_of
from consensus.types import Evidence
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
    window = params(reader).evidence_window
    if not height - window <= height_of(evidence) < height:
        raise Refused(Reason.BAD_EVIDENCE, f"the offence is not of the last {window} heights")
