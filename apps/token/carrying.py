"""What of the token module a chain that is started from this one's state begins with: all of it."""

from typing import Final

from msgspec.structs import replace

from apps.carrying import CarriedKind, as_amount, as_bytes, as_record, carrying
from apps.module import rebased
from crypto.errors import Reason, Refused
from state.encoding import Codec
from state.ledger import MAX_LOCKS
from state.records import ALLOWANCE, ASSET, BALANCE, FROZEN, LOCK, LOCKS, SUPPLY, UTXO, Asset, Lock
from state.transaction import Coin, HiddenCoin, Output
from state.types import HASH_SIZE

_output_codec: Final[Codec[Output]] = Codec(Output)  # type: ignore[arg-type]


def _rebase_lock(lock: Lock, height: int) -> Lock:
    if not lock.amount:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "a lock holds at least 1")
    return replace(lock, release_height=rebased(lock.release_height, height))


def _rebase_output(output: Output, height: int) -> Output:
    """Count the time bounds from the new start. One that has run out stays so: no block has height 0."""
    if isinstance(output, Coin):
        if not output.amount:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "a coin holds at least 1")
        return output
    if isinstance(output, HiddenCoin):
        return output
    return replace(
        output, not_before=rebased(output.not_before, height), not_after=rebased(output.not_after, height)
    )


EXPORT: Final = carrying(
    CarriedKind(BALANCE, (HASH_SIZE, 2 * HASH_SIZE), as_amount),
    CarriedKind(ALLOWANCE, (2 * HASH_SIZE, 3 * HASH_SIZE), as_amount),
    CarriedKind(LOCK, (2 * HASH_SIZE,), as_record(Codec(Lock), _rebase_lock)),
    CarriedKind(LOCKS, (HASH_SIZE,), as_bytes(HASH_SIZE, MAX_LOCKS * HASH_SIZE, HASH_SIZE)),
    CarriedKind(ASSET, (HASH_SIZE,), as_record(Codec(Asset))),
    CarriedKind(SUPPLY, (0, HASH_SIZE), as_amount),
    CarriedKind(FROZEN, (2 * HASH_SIZE,), as_bytes(1, 1)),
    CarriedKind(UTXO, (HASH_SIZE + 4,), as_record(_output_codec, _rebase_output)),
)
"""Addresses, asset ids and txids have HASH_SIZE bytes; the native token's id is empty; an output's index has 4."""
