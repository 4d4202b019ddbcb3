"""Tokens in accounts: the native one and any number of issued ones, and their way to coins and back."""

from typing import Any, Final

from apps.gas import INPUT, OUTPUT, RECORD
from apps.module import MessageKind, Module, Rule, flat_gas
from apps.token import issuing, messages, queries, rules
from apps.token.carrying import EXPORT
from apps.token.genesis import write_genesis
from state.encoding import Codec
from state.records import UTXO


def _kind(message: type[Any], rule: Rule, records: int) -> MessageKind:
    return MessageKind(Codec(message), rule, flat_gas(RECORD * records))


def _deposit_gas(message: messages.Deposit) -> int:
    return RECORD + OUTPUT * len(message.coins)


def _withdraw_gas(message: messages.Withdraw) -> int:
    return RECORD + INPUT * len(message.inputs)


MODULE: Final = Module(
    name="token",
    messages={
        "transfer": _kind(messages.Transfer, rules.transfer, 2),
        "approve": _kind(messages.Approve, rules.approve, 1),
        "transfer_from": _kind(messages.TransferFrom, rules.transfer_from, 3),
        "lock": _kind(messages.Lock, rules.lock, 3),
        "unlock": _kind(messages.Unlock, rules.unlock, 3),
        "issue": _kind(messages.Issue, issuing.issue, 3),
        "mint": _kind(messages.Mint, issuing.mint, 3),
        "burn": _kind(messages.Burn, rules.burn, 2),
        "freeze": _kind(messages.Freeze, issuing.freeze, 2),
        "thaw": _kind(messages.Thaw, issuing.thaw, 2),
        "deposit": MessageKind(Codec(messages.Deposit), rules.deposit, _deposit_gas),
        "withdraw": MessageKind(Codec(messages.Withdraw), rules.withdraw, _withdraw_gas),
    },
    queries={
        "balance": queries.balance,
        "allowance": queries.allowance,
        "asset": queries.asset,
        "supply": queries.supply,
        "locks": queries.locks,
    },
    genesis=write_genesis,
    supply=queries.supply_of,
    export=EXPORT,
    prefixes=(UTXO,),
)

__all__ = ["MODULE"]
