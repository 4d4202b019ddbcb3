"""Messages of a validator's duty, which go for free: a proof, a beacon, the way out of jail.

A call is exempt if it holds exactly one message of a kind that says so, wants at most FREE_GAS, and is sent by a
validator's operator or by the account of its consensus key, once per validator, kind and epoch, whether the message
succeeds or not. It needs no fee, no hashcash and no space record. Any other call with such a message is ordinary.
"""

from typing import Final, NamedTuple

from apps.proofs.identity import validator_of
from apps.proofs.records import free_used
from apps.registry import MESSAGES
from apps.validity import View
from state.transaction import Call, Decoded
from state.types import Address

FREE_GAS: Final = 100_000
"""Most gas that a free call may want: free calls of all validators together must not fill a block."""
_WITHOUT_WHERE: Final = frozenset({"proofs/space"})
"""Messages that an account without a space record may send: this is how it gets one."""


class Exemption(NamedTuple):
    """For whom, and for which message, a call is exempt."""

    operator: Address
    name: str

    @property
    def key(self) -> bytes:
        """Names operator and message: of one key, one call may wait at a time."""
        return self.operator + self.name.encode()


def exemption(decoded: Decoded, view: View) -> Exemption | None:
    """Return on what ground a transaction is exempt in this view, or None if it is an ordinary one."""
    payload = decoded.body.payload
    if not isinstance(payload, Call) or not may_be_exempt(decoded):
        return None
    name = payload.messages[0].name
    operator = validator_of(view.reader, view.height, payload.sender)
    if operator is None or free_used(view.reader, operator, name, view.demands.epoch):
        return None
    return Exemption(operator, name)


def may_be_exempt(decoded: Decoded) -> bool:
    """Tell whether a transaction has the form of an exempt call; whether it is one, the state says."""
    payload = decoded.body.payload
    if not isinstance(payload, Call) or len(payload.messages) != 1 or payload.gas_wanted > FREE_GAS:
        return False
    kind = MESSAGES.get(payload.messages[0].name)
    return kind is not None and kind.exempt


def needs_where(decoded: Decoded) -> bool:
    """Tell whether a transaction needs a space record on a chain that asks for them."""
    payload = decoded.body.payload
    return not isinstance(payload, Call) or any(one.name not in _WITHOUT_WHERE for one in payload.messages)
