"""Rules of the anonymous module's messages: the ways between a balance and an anonymous account."""

from typing import Final

from apps.anonymous.messages import Close, Open
from apps.anonymous.records import add_held, append_account, check_free, known_account, remove_account
from apps.gas import RECORD
from apps.module import Context
from crypto.accounts import Closing
from crypto.quisquis import default_quisquis
from state.ledger import credit, debit
from state.types import NATIVE

OPEN_GAS: Final = 4 * RECORD + 600
"""Records, and the points of one account: libsodium's time."""
CLOSE_GAS: Final = 6 * RECORD + 1_500
"""Records, and the verification of one proof of three points."""


def open_account(context: Context, message: Open) -> None:
    """Make an anonymous account of a part of the sender's balance.

    Raises:
        Refused: INSUFFICIENT_FUNDS, BAD_POINT, ACCOUNT_EXISTS.
    """
    account = default_quisquis().account(message.key, message.amount)
    check_free(context.state, account)
    debit(context.state, context.sender, NATIVE, message.amount)
    add_held(context.state, message.amount)
    name = append_account(context.state, account, context.block.height)
    context.emit(
        "anonymous/open", account=name.hex(), sender=context.sender.hex(), amount=str(message.amount),
        key=message.key.hex(),
    )  # fmt: skip


def close_account(context: Context, message: Close) -> None:
    """Make balance of all that an anonymous account holds, and remove it.

    Raises:
        Refused: ACCOUNT_NOT_FOUND, UNPROVEN, BAD_POINT, BAD_SCALAR, TURNSTILE_OVERDRAWN, AMOUNT_OUT_OF_RANGE.
    """
    kept = known_account(context.state, message.account)
    closing = Closing(context.block.chain_id, kept.account, context.sender, message.amount)
    default_quisquis().verify_closing(closing, message.proof)
    remove_account(context.state, message.account)
    add_held(context.state, -message.amount)
    credit(context.state, context.sender, NATIVE, message.amount)
    context.emit(
        "anonymous/close", account=message.account.hex(), sender=context.sender.hex(), amount=str(message.amount)
    )
