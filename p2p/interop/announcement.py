"""What peers of stock libp2p hear of a block. Unlike a node's announcement it has no Falcon signature: gossipsub's own
Ed25519 says who published it, and what it says is checked by asking for the header and its proof.
"""

from typing import Final

from state.encoding import Codec, Record
from state.types import BlockIdField, ChainIdField, HeightField, Unsigned

TOPIC: Final = "/nexus/open/blocks/1"
"""The one topic. The chain is in the messages."""


class OpenBlock(Record, frozen=True):
    """The block of a height is final. `time` is the header's, ms since 1970."""

    chain_id: ChainIdField
    height: HeightField
    block_id: BlockIdField
    time: Unsigned


open_block_codec: Final = Codec(OpenBlock, 256)
