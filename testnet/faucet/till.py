"""Pays: one task owns the faucet's key and its nonce, and pays everybody who waits in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.amounts import format_amount
from node.api.methods import GetReceipt
from node.api.shapes import ReceiptView
from node.client import AsyncClient
from node.wallet import message
from state.transaction import MAX_MESSAGES
from state.types import NATIVE, Address, Amount
from testnet.purse import Purse

MOST_WAITING: Final = 256
"""Orders in the queue: a few seconds of work."""
LOOK: Final = 0.2
"""Seconds between two looks for a receipt."""
COMMITTED_WITHIN: Final = 30.0
"""Seconds that somebody waits for a block."""
RESERVE: Final = 1_000_000
"""unxs that stay in the account to pay the fee with."""


@dataclass(frozen=True, slots=True)
class Order:
    """Somebody to pay. The transaction's id, or why there is none, goes into `answer`, which has room for it."""

    to: Address
    answer: trio.MemorySendChannel[str | Refused]


class Till:
    """The faucet's account on one node.

    Args:
        key: of the account.
        client: asks the node.
        chain_id: in hexadecimal; money of another chain is not given away.
        amount: unxs in one gift.
    """

    def __init__(self, key: SecretKey, client: AsyncClient, chain_id: str, amount: int) -> None:
        self.amount = amount
        self.chain_id = chain_id
        self._client = client
        self._purse = Purse("faucet", key, client)
        self._queue, self._orders = trio.open_memory_channel[Order](MOST_WAITING)

    @property
    def account(self) -> str:
        """Address that gifts come from."""
        return self._purse.text

    async def balance(self) -> int:
        """Return the unxs that are left. Raises Refused if the node does not answer."""
        return await self._purse.balance()

    async def run(self) -> None:
        """Pay until cancelled."""
        async for order in self._orders:
            orders = [order]
            try:
                while len(orders) < MAX_MESSAGES:
                    orders.append(self._orders.receive_nowait())
            except trio.WouldBlock:
                pass
            outcome = await self._pay([one.to for one in orders])
            for one in orders:
                one.answer.send_nowait(outcome)

    async def pay(self, to: Address) -> str:
        """Have somebody paid and return the transaction's id, once a node has accepted it.

        Raises:
            Refused: RATE_LIMITED if too many wait, INSUFFICIENT_FUNDS if nothing is left, WRONG_CHAIN, or why the node
                did not take it.
        """
        sender, receiver = trio.open_memory_channel[str | Refused](1)
        try:
            self._queue.send_nowait(Order(to, sender))
        except trio.WouldBlock:
            raise Refused(Reason.RATE_LIMITED, "too many ask at the moment; try again in some seconds") from None
        outcome = await receiver.receive()
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def receipt(self, txid: str) -> ReceiptView:
        """Wait until a payment is in a block. Raises Refused(TIMED_OUT), or why it failed there."""
        with trio.move_on_after(COMMITTED_WITHIN):
            while True:
                try:
                    receipt = (await self._client.ask(GetReceipt(txid=txid))).receipt
                except Refused as refused:
                    if refused.reason is not Reason.NOT_AVAILABLE:
                        raise
                else:
                    if receipt.reason:
                        raise Refused(Reason(receipt.reason), receipt.detail)
                    return receipt
                await trio.sleep(LOOK)
        raise Refused(Reason.TIMED_OUT, f"the payment {txid} was accepted, but is in no block yet: look again later")

    async def _pay(self, owners: Sequence[Address]) -> str | Refused:
        try:
            point = await self._purse.point()
            if point.chain_id.hex() != self.chain_id:
                return Refused(Reason.WRONG_CHAIN, "the node follows another chain than this testnet's")
            left, needed = await self.balance(), len(owners) * self.amount + RESERVE
            if left < needed:
                why = f"the faucet has {format_amount(left)} left, which is not enough"
                return Refused(Reason.INSUFFICIENT_FUNDS, why)
            gifts = [message("token/transfer", Transfer(NATIVE, owner, Amount(self.amount))) for owner in owners]
            signed = await self._purse.signed_call(*gifts)
            return (await self._purse.submit(signed.raw, wait="accepted")).txid
        except Refused as refused:
            return refused
