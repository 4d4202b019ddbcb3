"""EXPERIMENTAL, classical. Anonymous accounts and ring coins: who paid whom is hidden, from computers of today.

Messages lead in and out. What happens inside are payloads of their own, which proofs alone authorise: see `accounts`
and `ring`. Each has a turnstile, which is part of the supply.
"""

from typing import Final

from apps.anonymous import queries
from apps.anonymous.carrying import EXPORT
from apps.anonymous.messages import Close, Mint, Open
from apps.anonymous.records import HELD, RING_POOL
from apps.anonymous.ringrules import MINT_GAS, mint
from apps.anonymous.rules import CLOSE_GAS, OPEN_GAS, close_account, open_account
from apps.module import MessageKind, Module, flat_gas
from state.encoding import Codec

MODULE: Final = Module(
    name="anonymous",
    messages={
        "open": MessageKind(Codec(Open), open_account, flat_gas(OPEN_GAS)),
        "close": MessageKind(Codec(Close), close_account, flat_gas(CLOSE_GAS)),
        "mint": MessageKind(Codec(Mint), mint, flat_gas(MINT_GAS)),
    },
    queries={
        "pools": queries.pools,
        "account": queries.account,
        "accounts": queries.accounts,
        "coins": queries.coins,
        "images": queries.images,
        "image": queries.image,
    },
    supply=queries.supply_of,
    export=EXPORT,
    turnstiles=(HELD, RING_POOL),
)

__all__ = ["MODULE"]
