"""The rule of anonymous/mint: the way from a balance to a ring coin. A payment that makes clear coins leads back."""

from typing import Final

from apps.anonymous.messages import Mint
from apps.anonymous.records import add_coin, add_ring_pool, check_new_key
from apps.gas import RECORD, RING_COIN
from apps.module import Context
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.group import default
from crypto.ristretto import decode_nonzero, decode_scalar
from state.ledger import asset, debit
from state.records import asset_text
from state.transaction import RingCoin
from state.types import NATIVE

MINT_GAS: Final = 5 * RECORD + RING_COIN + 400
"""Records, the coin that stays for ever, and three points: libsodium's time."""


def mint(context: Context, message: Mint) -> None:
    """Make a ring coin of a part of the sender's balance.

    Raises:
        Refused: UNKNOWN_ASSET, ASSET_FREEZABLE, AMOUNT_OUT_OF_RANGE, INSUFFICIENT_FUNDS, BAD_POINT, BAD_SCALAR,
            COIN_KEY_USED.
    """
    if message.amount <= 0:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the amount is at least 1")
    if message.asset != NATIVE:
        found = asset(context.state, message.asset)
        if found is None:
            raise Refused(Reason.UNKNOWN_ASSET, f"there is no asset {message.asset.hex()}")
        if found.freezable:
            raise Refused(Reason.ASSET_FREEZABLE, f"{message.asset.hex()} can be frozen: no ring coin can hold it")
    debit(context.state, context.sender, message.asset, message.amount)
    decode_nonzero(default(), message.key)
    check_new_key(context.state, message.key)
    commitment = default_proofs().commit(Opening(message.amount, decode_scalar(message.blinding)))
    coin = RingCoin(message.asset, message.key, commitment, message.note)
    add_ring_pool(context.state, message.asset, message.amount)
    number = add_coin(context.state, coin, context.block.height)
    context.emit(
        "anonymous/mint", sender=context.sender.hex(), asset=asset_text(message.asset), amount=str(message.amount),
        number=str(number), key=message.key.hex(),
    )  # fmt: skip
