"""Transactions of a forged chain: splits that fill the state with outputs, then payments that go round.

All of them spend coins that earlier ones made, so they are known long before they are signed: a transaction's id does
not depend on its signatures.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from state.genesis import Genesis
from state.transaction import OutPoint, tx_id
from state.types import Address, ChainId, TxId
from testnet.senders import (
    SPLIT,
    SpendableCoin,
    Terms,
    Unsigned,
    halving_body,
    halving_fee,
    split_body,
    split_fee,
)

SMALL: Final = 1_000_000
"""unxs in each output that only fills the state."""


class Traffic:
    """Who has which coins, as of the last transaction that was made up.

    Args:
        genesis: gives the senders their coins.
        chain_id: its hash, which names the outpoints.
        senders: their keys.
    """

    def __init__(self, genesis: Genesis, chain_id: ChainId, senders: Sequence[SecretKey]) -> None:
        self._owners = [Address(key.address) for key in senders]
        self._coins: list[deque[SpendableCoin]] = [deque() for _ in senders]
        self._known: set[int] = set()
        self._turn = 0
        places = {owner: place for place, owner in enumerate(self._owners)}
        for index, output in enumerate(genesis.outputs):
            if output.owner in places:
                coin = SpendableCoin(OutPoint(TxId(chain_id), index), output.amount)
                self._coins[places[output.owner]].append(coin)

    def split(self, terms: Terms, outputs: int) -> Unsigned:
        """Return a transaction after which there are `outputs` more of them, at most SPLIT. Raises Refused."""
        sender = self._next()
        pieces = min(outputs, SPLIT)
        coin = self._take(sender, pieces * SMALL + split_fee(terms, pieces))
        body = split_body(terms, self._owners[sender], coin, pieces, SMALL)
        rest = coin.amount - pieces * SMALL - split_fee(terms, pieces)
        self._coins[sender].appendleft(SpendableCoin(OutPoint(TxId(tx_id(body)), pieces), rest))
        return self._unsigned(sender, body)

    def payment(self, terms: Terms) -> Unsigned:
        """Return a transaction with two inputs and two outputs, one of them another sender's. Raises Refused."""
        sender = self._next()
        to = (sender + 1) % len(self._owners)
        one, other = self._take(sender, halving_fee(terms) + 2), self._take(sender, 0)
        body = halving_body(terms, self._owners[sender], self._owners[to], one, other)
        txid, rest = TxId(tx_id(body)), one.amount + other.amount - halving_fee(terms)
        self._coins[to].append(SpendableCoin(OutPoint(txid, 0), rest // 2))
        self._coins[sender].append(SpendableCoin(OutPoint(txid, 1), rest - rest // 2))
        return self._unsigned(sender, body)

    def _next(self) -> int:
        self._turn = (self._turn + 1) % len(self._owners)
        return self._turn

    def _take(self, sender: int, amount: int) -> SpendableCoin:
        coins = self._coins[sender]
        if not coins or coins[0].amount <= amount:
            raise Refused(Reason.INSUFFICIENT_FUNDS, "the senders of the forged chain have spent what they had")
        return coins.popleft()

    def _unsigned(self, sender: int, body: bytes) -> Unsigned:
        reveal = sender not in self._known
        self._known.add(sender)
        return Unsigned(sender, body, reveal)
