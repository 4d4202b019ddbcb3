"""Messages of the auth module."""

from typing import Annotated

from msgspec import Meta

from crypto.hashing import Label, digest
from state.encoding import Record
from state.types import Address, ChainId

MAX_PUBLIC_KEY = 32 * 1024
MAX_SIGNATURE = 48 * 1024


class RotateKey(Record, frozen=True):
    """auth/rotate_key: sign for this account with another key from now on. The address stays.

    `public_key` begins with its scheme byte, so an account may also become a multi-signature account. `proof` is a
    signature by the new key over `rotation_digest`: nobody takes a key that is not theirs, or one that they mistyped.
    """

    public_key: Annotated[bytes, Meta(min_length=1, max_length=MAX_PUBLIC_KEY)]
    proof: Annotated[bytes, Meta(max_length=MAX_SIGNATURE)]


def rotation_digest(chain_id: ChainId, account: Address, public_key: bytes) -> bytes:
    """Return what the new key signs: H("rotate-key", chain id || account || new public key)."""
    return digest(Label.ROTATE_KEY, chain_id + account + public_key)
