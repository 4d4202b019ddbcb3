"""What of the confidential module a chain that is started from this one's state begins with: all of it."""

from typing import Final

from apps.carrying import CarriedKind, as_amount, as_bytes, carrying
from crypto.hpke import PUBLIC_SIZE
from state.records import POOL, RECEIVING_KEY
from state.types import HASH_SIZE

EXPORT: Final = carrying(
    CarriedKind(POOL, (0, HASH_SIZE), as_amount),
    CarriedKind(RECEIVING_KEY, (HASH_SIZE,), as_bytes(PUBLIC_SIZE, PUBLIC_SIZE)),
)
