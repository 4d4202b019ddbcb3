"""A person's wallet on a running network: one key, one node to ask. Built on the public client and wallet alone."""

from collections.abc import Sequence

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api.methods import GetAccount, GetBalance, GetOutputs, GetParams, GetStatus
from node.api.shapes import ReceiptView, Submission
from node.client import AsyncClient, Wait
from node.wallet import Account, ChainPoint, OwnCoin, Signed, call, transfer
from state.records import asset_text
from state.transaction import Coin, Message, OutPoint, Output
from state.types import NATIVE, Address, Amount, AssetId, BlockId, ChainId, Height, TxId

COMMIT_TIMEOUT = 30.0
"""Seconds to wait for a block."""


class Purse:
    """What one person can do.

    Args:
        name: for people.
        key: of the account.
        client: the node to ask.
    """

    def __init__(self, name: str, key: SecretKey, client: AsyncClient) -> None:
        self.name = name
        self.key = key
        self.address = Address(key.address)
        self.text = encode_address(key.address)
        self._client = client

    async def point(self) -> ChainPoint:
        """Return what a transaction made now must know of the chain."""
        status, params = await self._client.ask(GetStatus()), await self._client.ask(GetParams())
        return ChainPoint(
            ChainId(bytes.fromhex(status.chain_id)), BlockId(bytes.fromhex(status.block_id)),
            Height(int(status.height)), int(params.chain["min_gas_price"]), status.difficulty,
            int(params.chain["expiry_window"]), status.protocol_version,
        )

    async def account(self) -> tuple[Account, int]:
        """Return the account as the chain knows it, and its next nonce behind what waits."""
        view = await self._client.ask(GetAccount(address=self.text))
        return Account(self.address, self.key.public_key, bool(view.public_key)), int(view.pending_nonce)

    async def balance(self, asset: AssetId = NATIVE) -> int:
        """Return what the account holds, coins aside."""
        return int((await self._client.ask(GetBalance(address=self.text, asset=asset_text(asset)))).amount)

    async def coins(self) -> list[OwnCoin]:
        """Return the native coins of this account."""
        view = await self._client.ask(GetOutputs(address=self.text, limit=1000))
        return [
            OwnCoin(
                OutPoint(TxId(bytes.fromhex(output.txid)), output.index),
                Coin(NATIVE, self.address, Amount(output.amount)),
            )
            for output in view.outputs
            if output.kind == "coin" and output.asset == asset_text(NATIVE) and output.amount is not None
        ]

    async def signed_call(self, *messages: Message, nonce: int | None = None) -> Signed:
        """Return a call, signed and not sent."""
        account, following = await self.account()
        return call(await self.point(), account, self.key, following if nonce is None else nonce, messages)

    async def signed_transfer(self, coins: Sequence[OwnCoin], outputs: Sequence[Output]) -> Signed:
        """Return a transfer of these coins, signed and not sent."""
        account, _ = await self.account()
        return transfer(await self.point(), account, self.key, coins, outputs)

    async def submit(self, raw: bytes, wait: Wait = "committed") -> Submission:
        """Send a transaction. Raises Refused with the node's reason if it is not accepted."""
        return await self._client.submit_one(raw, wait=wait, timeout=COMMIT_TIMEOUT)

    async def do(self, signed: Signed) -> ReceiptView:
        """Send a transaction and wait for its block.

        Raises:
            Refused: why it was not accepted, or why it failed in its block.
        """
        receipt = (await self.submit(signed.raw)).receipt
        if receipt is None:
            raise Refused(Reason.TIMED_OUT, "accepted, but in no block yet")
        if receipt.reason:
            raise Refused(Reason(receipt.reason), receipt.detail)
        return receipt

    async def call(self, *messages: Message) -> ReceiptView:
        """Send a call and wait for its block. Raises Refused as `do`."""
        return await self.do(await self.signed_call(*messages))
