"""Narrow names for plain values, and their sizes. Units: amounts in the asset's smallest unit, times in ms."""

from typing import Annotated, Final, NewType

from msgspec import Meta

Height = NewType("Height", int)
"""Number of a block; genesis is height 0 and the first block is height 1."""
Round = NewType("Round", int)
"""Consensus round within a height, from 0; -1 stands for none."""
Address = NewType("Address", bytes)
"""32 bytes: H("address", scheme byte || public key)."""
TxId = NewType("TxId", bytes)
"""32 bytes: H("tx", body)."""
WtxId = NewType("WtxId", bytes)
"""32 bytes: H("wtx", whole transaction)."""
BlockId = NewType("BlockId", bytes)
"""32 bytes: H("block", header); empty bytes stand for nil in a vote."""
ChainId = NewType("ChainId", bytes)
"""32 bytes: the genesis hash."""
AssetId = NewType("AssetId", bytes)
"""Empty for the native token, else 32 bytes: H("asset", issuer || symbol)."""
Amount = NewType("Amount", int)
"""0 .. MAX_AMOUNT, in the asset's smallest unit (1 NXS = 10**6 unxs)."""

MAX_INT: Final = 2**63 - 1
MAX_AMOUNT: Final = 2**62
"""Two amounts always add up without leaving 63 bits."""
NATIVE: Final = AssetId(b"")
UNXS_PER_NXS: Final = 10**6
HASH_SIZE: Final = 32

Len32 = Meta(min_length=32, max_length=32)
Hash32 = Annotated[bytes, Len32]
AddressField = Annotated[Address, Len32]
TxIdField = Annotated[TxId, Len32]
WtxIdField = Annotated[WtxId, Len32]
BlockIdField = Annotated[BlockId, Len32]
VotedBlockId = Annotated[BlockId, Meta(max_length=32)]
"""A block id, or empty for nil. The engine refuses any other length."""
ChainIdField = Annotated[ChainId, Len32]
AssetField = Annotated[AssetId, Meta(max_length=32)]
"""Empty or 32 bytes; the stateless check refuses any other length."""
Unsigned = Annotated[int, Meta(ge=0, le=MAX_INT)]
HeightField = Annotated[Height, Meta(ge=0, le=MAX_INT)]
RoundField = Annotated[Round, Meta(ge=0, le=2**31 - 1)]
AmountField = Annotated[Amount, Meta(ge=0, le=MAX_AMOUNT)]
Index = Annotated[int, Meta(ge=0, le=2**32 - 1)]
