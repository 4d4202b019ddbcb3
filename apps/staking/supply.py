"""What of the native token the staking module holds."""

from collections.abc import Mapping

from apps.staking.leaving import LEAVING, MOVING, Moving
from apps.staking.pool import Pool
from apps.staking.records import COMMISSION, POOL
from state.encoding import Codec
from state.records import decode_amount
from state.types import NATIVE, AssetId

_pool_codec: Codec[Pool] = Codec(Pool)
_moving_codec: Codec[Moving] = Codec(Moving)


def supply_of(records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
    """Add stake that is bonded or leaves, and rewards and commission that wait. What moves is bonded already."""
    held = 0
    for key, value in records.items():
        if key.startswith((POOL, LEAVING)):
            pool = _pool_codec.decode(value)
            held += pool.amount + pool.unpaid
        elif key.startswith(MOVING):
            held += _moving_codec.decode(value).pool.unpaid
        elif key.startswith(COMMISSION):
            held += decode_amount(value)
    if held:
        totals[NATIVE] = totals.get(NATIVE, 0) + held
