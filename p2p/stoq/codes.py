"""Why a connection was closed, as an application error code of QUIC's CONNECTION_CLOSE (RFC 9000, section 20.2).

The reason phrase beside the code is one sentence for a person; only the code means anything.
"""

from typing import Final

from crypto.errors import Reason

_BASE: Final = 0x4E58_0000
"""Own codes begin here ("NX"), so that no other protocol's small numbers are taken for one."""
MAX_TEXT: Final = 200

_CODES: Final = {
    Reason.CLOSING: 0,
    Reason.PROTOCOL_VIOLATION: 1,
    Reason.MALFORMED: 2,
    Reason.NOT_CANONICAL: 3,
    Reason.TOO_LARGE: 4,
    Reason.BAD_SIGNATURE: 5,
    Reason.BAD_KEY: 6,
    Reason.WRONG_VERSION: 7,
    Reason.WRONG_GENESIS: 8,
    Reason.WRONG_PEER: 9,
    Reason.PEER_REFUSED: 10,
    Reason.HANDSHAKE_FAILED: 11,
    Reason.TIMED_OUT: 12,
    Reason.TOO_MANY_CONNECTIONS: 13,
    Reason.REPLACED: 14,
    Reason.CONNECTION_LOST: 15,
}
_REASONS: Final = {code: reason for reason, code in _CODES.items()}


def code_of(reason: Reason) -> int:
    """Return the close code; a reason without one goes as PROTOCOL_VIOLATION, or if temporary as PEER_REFUSED."""
    code = _CODES.get(reason)
    if code is None:
        code = _CODES[Reason.PROTOCOL_VIOLATION if reason.permanent else Reason.PEER_REFUSED]
    return _BASE + code


def reason_of(code: int, application: bool) -> Reason:
    """Return what a peer's close code means. Anything unknown, and QUIC's own errors, is CONNECTION_LOST."""
    return _REASONS.get(code - _BASE, Reason.CONNECTION_LOST) if application else Reason.CONNECTION_LOST
