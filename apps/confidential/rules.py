"""Rules of the confidential module."""

from typing import Final

from apps.confidential.messages import Publish
from apps.gas import RECORD
from apps.module import Context
from crypto.hpke import check_sealing_key
from state.ledger import set_receiving_key

PUBLISH_GAS: Final = 2 * RECORD + 500
"""A record, and one encapsulation to see that the key is one."""


def publish(context: Context, message: Publish) -> None:
    """Write the sender's receiving key. Raises Refused(BAD_KEY)."""
    check_sealing_key(message.public_key)
    set_receiving_key(context.state, context.sender, message.public_key)
    context.emit("confidential/publish", account=context.sender.hex())
