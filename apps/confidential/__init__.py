"""Hidden coins: the turnstile of each asset, and the keys to which notes are sealed. Transfers: `apps/hidden.py`."""

from typing import Final

from apps.confidential.carrying import EXPORT
from apps.confidential.messages import Publish
from apps.confidential.queries import pool_of, receiving_key_of, supply_of
from apps.confidential.rules import PUBLISH_GAS, publish
from apps.module import MessageKind, Module, flat_gas
from state.encoding import Codec
from state.records import POOL

MODULE: Final = Module(
    name="confidential",
    messages={"publish": MessageKind(Codec(Publish), publish, flat_gas(PUBLISH_GAS))},
    queries={"pool": pool_of, "key": receiving_key_of},
    supply=supply_of,
    export=EXPORT,
    turnstiles=(POOL,),
)

__all__ = ["MODULE"]
