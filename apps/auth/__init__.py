"""Accounts: their keys and nonces."""

from apps.auth.carrying import EXPORT
from apps.auth.messages import RotateKey
from apps.auth.queries import account, key_owner_of
from apps.auth.rules import rotate_gas, rotate_key
from apps.module import MessageKind, Module
from state.encoding import Codec

MODULE = Module(
    name="auth",
    messages={"rotate_key": MessageKind(Codec(RotateKey), rotate_key, rotate_gas)},
    queries={"account": account, "key_owner": key_owner_of},
    export=EXPORT,
)

__all__ = ["MODULE", "RotateKey"]
