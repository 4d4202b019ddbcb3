"""The load of a laboratory: payments through nodes that should answer, and a ledger of what they promised."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.client import AsyncClient
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.purse import COMMIT_TIMEOUT, Purse

REST: Final = 0.1
"""Seconds that a sender waits after a refusal."""


@dataclass(slots=True)
class Ledger:
    """What became of payments.

    Attributes:
        committed: height of each payment that a node called committed, by txid in hex.
        accepted: through whom, for payments that were accepted and not called committed within the time.
        refused: how many others, by reason.
    """

    committed: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


class Payers:
    """Accounts that pay themselves one unxs again and again.

    Args:
        keys: of the accounts; each has one payment in flight at most.
        clients: by name, of the nodes that may be asked.
        answering: tells which of them should answer now.
        seed: of who pays through whom.
        ledger: where outcomes go.
    """

    def __init__(
        self, keys: Sequence[SecretKey], clients: Mapping[str, AsyncClient], answering: Callable[[], Sequence[str]],
        seed: int, ledger: Ledger,
    ) -> None:
        self._keys = keys
        self._clients = clients
        self._answering = answering
        self._dice = random.Random(seed)
        self._ledger = ledger

    async def run(self, rate: float, stopped: trio.Event) -> None:
        """Offer `rate` payments a second until `stopped` is set; return when all are answered.

        A payment whose moment finds every account busy is left out: a network that stands still is not offered more.
        """
        entrance, exit_ = trio.open_memory_channel[None](0)
        async with trio.open_nursery() as nursery:
            for key in self._keys:
                nursery.start_soon(self._pay, key, exit_.clone())
            await exit_.aclose()
            async with entrance:
                while not stopped.is_set():
                    with contextlib.suppress(trio.WouldBlock):
                        entrance.send_nowait(None)
                    with trio.move_on_after(1 / rate):
                        await stopped.wait()

    async def _pay(self, key: SecretKey, tickets: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in tickets:
            names = self._answering()
            if not names:
                continue
            name = self._dice.choice(names)
            purse = Purse("payer", key, self._clients[name])
            try:
                await self._pay_once(purse, name)
            except Refused as refused:
                self._ledger.refused[refused.reason.value] += 1
                await trio.sleep(REST)

    async def _pay_once(self, purse: Purse, name: str) -> None:
        signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
        txid = signed.txid.hex()
        answer = await purse.submit(signed.raw)
        if answer.receipt is None:
            self._ledger.accepted[txid] = name
            raise Refused(Reason.TIMED_OUT, f"{name} accepted {txid}, and no block held it in {COMMIT_TIMEOUT:.0f} s")
        if answer.receipt.reason:
            raise Refused(Reason(answer.receipt.reason), answer.receipt.detail)
        self._ledger.committed[txid] = int(answer.receipt.height)
