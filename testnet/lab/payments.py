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
from node.api.shapes import Submission
from node.client import AsyncClient
from node.wallet import Signed, message
from state.types import NATIVE, Amount
from testnet.purse import Purse

PATIENCE: Final = 15.0
"""Seconds after which a payment that was accepted is handed in again, through another node."""
REST: Final = 0.1
"""Seconds that a sender waits after a refusal."""


@dataclass(slots=True)
class Ledger:
    """What became of payments.

    Attributes:
        committed: height of each payment that a node called committed, by txid in hex.
        accepted: through whom, for payments that were accepted and not called committed within the time.
        late: how often a payment was accepted and in no block for `PATIENCE` seconds.
        refused: how many others, by reason.
    """

    committed: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    late: int = 0
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
        open_: Signed | None = None  # whose end is not known: handed in again, through another node, before any other
        async for _ in tickets:
            open_ = await self._pay_once(key, open_)
        while open_ is not None:
            open_ = await self._pay_once(key, open_)

    async def _pay_once(self, key: SecretKey, signed: Signed | None) -> Signed | None:
        """Sign a payment, unless there is one, and hand it in; return it if its end is not known afterwards."""
        names = self._answering()
        if not names:
            await trio.sleep(REST)
            return signed
        name = self._dice.choice(names)
        purse = Purse("payer", key, self._clients[name])
        try:
            if signed is None:
                signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
            (answer,) = await self._clients[name].submit([signed.raw], wait="committed", timeout=PATIENCE)
        except Refused as refused:
            self._ledger.refused[refused.reason.value] += 1
            await trio.sleep(REST)
            return signed
        return signed if self._entered(name, signed.txid.hex(), answer) else None

    def _entered(self, name: str, txid: str, answer: Submission) -> bool:
        """Write down what a node says of a payment; return whether its end is still open."""
        if answer.receipt is not None and not answer.receipt.reason:
            self._ledger.committed[txid] = int(answer.receipt.height)
            return False
        if answer.reason == Reason.TIMED_OUT:
            self._ledger.late += 1
            self._ledger.accepted[txid] = name
            return True
        # a clear word, on which nobody relies any more
        self._ledger.accepted.pop(txid, None)
        self._ledger.refused[answer.reason or (answer.receipt.reason if answer.receipt else "")] += 1
        return False
