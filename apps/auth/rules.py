"""Rules of the auth module."""

from apps.auth.messages import RotateKey, rotation_digest
from apps.gas import RECORD, SIGNATURE
from apps.module import Context
from crypto.errors import Reason, Refused
from crypto.schemes import address_of, check_public_key, signature_count, verify
from state.ledger import key_owner, register_key
from state.types import Address


def rotate_gas(message: RotateKey) -> int:
    """Return the gas of one rotation. Raises Refused(BAD_KEY)."""
    return 2 * RECORD + SIGNATURE * signature_count(message.public_key)


def rotate_key(context: Context, message: RotateKey) -> None:
    """Replace the sender's key.

    A key that was ever registered, here or elsewhere, is refused: a key that leaked and was replaced must not come
    back, and no key should speak for two accounts.

    Raises:
        Refused: BAD_KEY, KEY_IN_USE, BAD_SIGNATURE.
    """
    check_public_key(message.public_key)
    if key_owner(context.state, Address(address_of(message.public_key))) is not None:
        raise Refused(Reason.KEY_IN_USE, "the key is or was the key of an account")
    signed = rotation_digest(context.block.chain_id, context.sender, message.public_key)
    if not verify(message.public_key, signed, message.proof):
        raise Refused(Reason.BAD_SIGNATURE, "the proof is no signature by the new key")
    register_key(context.state, context.sender, message.public_key)
    context.emit("auth/rotate_key", account=context.sender.hex(), key=address_of(message.public_key).hex())
