"""Peer records in kad-dht: under a node id stands the newest record that this node made of itself.

A node that knows another by its id alone, or whose address of it is old, finds it here. Whoever stores a record checks
it as a peer exchange does: both keys of the node signed it, for this chain, not long ago. So the worst that a liar in
the DHT can do is to say that it knows nothing, or not the newest.
"""

from collections.abc import Callable
from typing import Final

from libp2p.records.utils import InvalidRecordType
from libp2p.records.validator import Validator

from crypto.errors import Refused
from p2p.network import PeerId
from p2p.records import SignedRecord, check_record, record_codec
from state.types import ChainId

NAMESPACE: Final = "nexus-node"


def place_of(peer_id: PeerId) -> str:
    """Return the DHT's key of a node's record."""
    return f"/{NAMESPACE}/{peer_id.hex()}"


class RecordValidator(Validator):
    """Lets only true records into the DHT, and prefers the one made last.

    Args:
        chain_id: records of another chain are refused.
        clock: ms since 1970.
    """

    def __init__(self, chain_id: ChainId, clock: Callable[[], int]) -> None:
        self._chain_id = chain_id
        self._clock = clock

    def validate(self, key: str, value: bytes) -> None:
        """Check a record that somebody stores or hands out. Raises InvalidRecordType."""
        try:
            signed = record_codec.decode(value)
            check_record(signed, self._chain_id, self._clock())
        except Refused as refused:
            raise InvalidRecordType(f"no peer record: {refused}") from None
        if key != place_of(signed.record.peer_id):
            raise InvalidRecordType("the record is of another node")

    def select(self, key: str, values: list[bytes]) -> int:
        """Return which of several valid records was made last."""
        return max(range(len(values)), key=lambda index: record_codec.decode(values[index]).record.epoch)


def stored_record(value: bytes | None) -> SignedRecord | None:
    """Return what `KadDHT.get_value` found, which the validator has checked."""
    return None if value is None else record_codec.decode(value)
