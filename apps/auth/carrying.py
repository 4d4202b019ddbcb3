"""What of the auth module a chain that is started from this one's state begins with: keys, their owners, nonces.

A key that was replaced stays unusable, and a nonce goes on where it was.
"""

from typing import Final

from apps.auth.messages import MAX_PUBLIC_KEY
from apps.carrying import CarriedKind, as_amount, as_bytes, carrying
from state.records import KEY, KEY_OWNER, NONCE
from state.types import HASH_SIZE

EXPORT: Final = carrying(
    CarriedKind(KEY, (HASH_SIZE,), as_bytes(1, MAX_PUBLIC_KEY)),
    CarriedKind(KEY_OWNER, (HASH_SIZE,), as_bytes(HASH_SIZE, HASH_SIZE)),
    CarriedKind(NONCE, (HASH_SIZE,), as_amount),
)
