"""What people do with stake, and what operators owe the chain: messages for the load."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from apps.chain.records import beacon
from apps.proofs.messages import Work
from apps.proofs.records import epoch, given, proof_params
from apps.proofs.rules import work_prefix
from apps.slashing.messages import Unjail
from apps.staking.messages import Claim, Delegate, EditValidator, Redelegate, Unbond
from apps.staking.records import find_operator
from crypto.hashing import Label, digest
from crypto.work import meets
from node.wallet import message
from state.changes import Reader
from state.params import BASIS
from state.transaction import Message
from state.types import UNXS_PER_NXS, Address, Amount

MOST_STAKE: Final = 4 * UNXS_PER_NXS
"""Most that one message moves: a validator begins with ten."""


class Stakes:
    """Makes messages about stake.

    Args:
        operators: of all validators.
        trusted: whom people choose. Who delegates to liars takes part in what they do, and nobody is safe from a third.
        random: draws.
    """

    def __init__(self, operators: Sequence[Address], trusted: Sequence[Address], random: Random) -> None:
        self._operators = frozenset(operators)
        self._trusted = trusted
        self._random = random
        self._makers: tuple[Callable[[Address], Message], ...] = (
            self._delegate, self._delegate, self._unbond, self._redelegate, self._claim, self._edit,
        )

    def some(self, sender: Address) -> Message:
        """Return a message that anybody may send; it may well fail."""
        return self._random.choice(self._makers)(sender)

    def duty(self, state: Reader, sender: Address) -> Message | None:
        """Return what an operator owes the chain now: to come out of jail, or the epoch's hashcash."""
        found = find_operator(state, sender) if sender in self._operators else None
        if found is None:
            return None
        if found.jailed and not found.tombstoned:
            return message("slashing/unjail", Unjail())
        known, now, bits = given(state, sender), epoch(state).number, proof_params(state).work_bits
        if not bits or (known is not None and known.work == now + 1):
            return None
        return message("proofs/work", Work(now, _search(work_prefix(beacon(state), sender), bits)))

    def _operator(self) -> Address:
        return self._random.choice(self._trusted)

    def _amount(self) -> Amount:
        return Amount(self._random.randint(1, MOST_STAKE))

    def _delegate(self, _sender: Address) -> Message:
        return message("staking/delegate", Delegate(self._operator(), self._amount()))

    def _unbond(self, _sender: Address) -> Message:
        return message("staking/unbond", Unbond(self._operator(), self._amount()))

    def _redelegate(self, _sender: Address) -> Message:
        return message("staking/redelegate", Redelegate(self._operator(), self._operator(), self._amount()))

    def _claim(self, _sender: Address) -> Message:
        return message("staking/claim", Claim(self._operator()))

    def _edit(self, _sender: Address) -> Message:
        return message("staking/edit_validator", EditValidator("renamed", self._random.randrange(BASIS)))


def _search(prefix: bytes, bits: int) -> int:
    nonce = 0
    while not meets(digest(Label.WORK, prefix + nonce.to_bytes(8, "big")), bits):
        nonce += 1
    return nonce
