"""What a wallet knows of the ring coins of a chain: all of them, and which are its own. One sealed file.

All coins are kept, 76 bytes each without their notes, because the sets to hide in follow from all of them: the wallet
never asks a node for the members of one ring. What the file lacks, the chain gives again.

Images are taken in only up to a count that was asked before the coins were: so of every image that is taken in, the
coin is there already, wherever a scan was broken off.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.ristretto import decode_scalar, encode_scalar
from node.anonymous.ringkeys import PublicCoin, RingViewer
from node.anonymous.ringsets import RingSets, ring_sets
from node.sealed import open_record, seal_record
from state.encoding import Codec, Record
from state.transaction import RING_SIZE
from state.types import (
    HASH_SIZE,
    Amount,
    AmountField,
    AssetField,
    AssetId,
    ChainIdField,
    Hash32,
    Height,
    HeightField,
    TxIdField,
    Unsigned,
)

MAX_INDEX_FILE: Final = 256 << 20
"""Bytes: about three million ring coins."""
_HEIGHT_SIZE: Final = 8
_ASSET_SIZE: Final = 4
_ROW: Final = 2 * HASH_SIZE + _HEIGHT_SIZE + _ASSET_SIZE  # key, commitment, height, which asset


class OwnCoin(Record, frozen=True):
    """A ring coin of the wallet.

    `ring` are the members with which it was spent, or was to be; empty if it never was. `until` is the last height at
    which a payment that was sent with it can be in a block: until then it is not spent again.
    """

    number: Unsigned
    asset: AssetField
    amount: AmountField
    blinding: Hash32
    tweak: Hash32
    image: Hash32
    text: str
    height: HeightField
    made: bool
    """The wallet made it itself: change, or minted."""
    spent: bool = False
    until: HeightField = Height(0)
    ring: Annotated[tuple[Unsigned, ...], Meta(max_length=RING_SIZE)] = ()

    @property
    def opening(self) -> Opening:
        """What the commitment holds."""
        return Opening(self.amount, decode_scalar(self.blinding))


class PaidCoin(Record, frozen=True):
    """A ring coin that the wallet made for somebody else; for whom, the chain does not tell."""

    number: Unsigned
    asset: AssetField
    amount: AmountField
    height: HeightField


class SentPayment(Record, frozen=True):
    """A payment that this wallet sent: what no scan gives back."""

    txid: TxIdField
    height: HeightField
    until: HeightField
    coins: tuple[Unsigned, ...]
    fee: AmountField
    told: Annotated[str, Meta(max_length=4096)]
    """For whom and how much, as its owner likes to read it."""


class _File(Record, frozen=True):
    chain_id: ChainIdField
    spend_key: Hash32
    height: HeightField
    images: Unsigned
    assets: tuple[AssetField, ...]
    rows: bytes
    own: tuple[OwnCoin, ...]
    paid: tuple[PaidCoin, ...]
    sent: tuple[SentPayment, ...]


_codec: Final = Codec(_File, MAX_INDEX_FILE)


class NotedCoin(NamedTuple):
    """A ring coin of the chain, with its note."""

    coin: PublicCoin
    note: bytes


class RingEntry(NamedTuple):
    """What came in or went out, by the height of the coin.

    `received` are coins that others made for the wallet, `made` those that it made for itself, change among them.
    """

    height: int
    kind: Literal["received", "made", "paid"]
    number: int
    asset: AssetId
    amount: int
    text: str


class RingIndex:
    """Ring coins as one wallet sees them.

    Args:
        viewer: whose keys open the notes.

    Attributes:
        height: everything up to this block is in.
        images: so many key images of the chain are in.
    """

    def __init__(self, viewer: RingViewer) -> None:
        self.viewer = viewer
        self.height = Height(0)
        self.images = 0
        self._coins: list[PublicCoin] = []
        self._own: dict[int, OwnCoin] = {}
        self._by_image: dict[bytes, int] = {}
        self._paid: list[PaidCoin] = []
        self._sent: list[SentPayment] = []

    # ---- reading

    @property
    def coins(self) -> Sequence[PublicCoin]:
        """All ring coins of the chain, by number."""
        return self._coins

    def own(self) -> tuple[OwnCoin, ...]:
        """Return the wallet's coins, spent ones too, by number."""
        return tuple(self._own[number] for number in sorted(self._own))

    def unspent(self, asset: AssetId | None = None) -> tuple[OwnCoin, ...]:
        """Return the coins that are left, of one asset or of all, by number."""
        return tuple(coin for coin in self.own() if not coin.spent and asset in (None, coin.asset))

    def balances(self) -> dict[AssetId, Amount]:
        """Return what the coins that are left hold, by asset."""
        totals: dict[AssetId, int] = {}
        for coin in self.unspent():
            totals[coin.asset] = totals.get(coin.asset, 0) + coin.amount
        return {asset: Amount(totals[asset]) for asset in sorted(totals) if totals[asset]}

    def history(self) -> tuple[RingEntry, ...]:
        """Return what came in and went out, oldest first: all that the chain tells the wallet's keys."""
        entries = [
            RingEntry(
                coin.height, "made" if coin.made else "received", coin.number, coin.asset, coin.amount, coin.text
            )
            for coin in self._own.values()
        ]
        entries += [
            RingEntry(coin.height, "paid", coin.number, coin.asset, coin.amount, "") for coin in self._paid
        ]
        return tuple(sorted(entries, key=lambda entry: entry.number))

    def sent(self) -> tuple[SentPayment, ...]:
        """Return what this wallet sent since the file was made, oldest first."""
        return tuple(self._sent)

    def sets(self) -> RingSets:
        """Return the sets to hide in. Takes a second for some 300,000 coins."""
        return ring_sets(self._coins, self.height)

    # ---- taking in

    def take_coins(self, found: Iterable[NotedCoin]) -> int:
        """Take ring coins of the chain, from the first that is not in; return how many are the wallet's.

        Raises:
            Refused: PROTOCOL_VIOLATION if one is missing between, or older than the one before.
        """
        count = 0
        for coin, note in found:
            last = self._coins[-1].height if self._coins else 0
            if coin.number != len(self._coins) or coin.height < last:
                raise Refused(Reason.PROTOCOL_VIOLATION, f"ring coin {len(self._coins)} is missing, or out of order")
            self._coins.append(coin)
            count += self._look_at(coin, note)
        return count

    def _look_at(self, coin: PublicCoin, note: bytes) -> bool:
        amount = self.viewer.sent(coin, note)
        found = self.viewer.received(coin, note)
        if found is None:
            if amount is not None:
                self._paid.append(PaidCoin(coin.number, coin.asset, Amount(amount), Height(coin.height)))
            return False
        image = self.viewer.image(found.tweak)
        self._own[coin.number] = OwnCoin(
            coin.number, coin.asset, Amount(found.opening.amount), encode_scalar(found.opening.blinding),
            encode_scalar(found.tweak), image, found.text, Height(coin.height), amount is not None,
        )  # fmt: skip
        self._by_image[image] = coin.number
        return True

    def take_images(self, images: Iterable[bytes]) -> None:
        """Take key images of the chain, from the first that is not in. The coins before them are all in."""
        for image in images:
            self.images += 1
            number = self._by_image.get(image)
            if number is not None:
                self._own[number] = replace(self._own[number], spent=True, until=Height(0))

    def settle(self, height: Height) -> None:
        """Say that everything up to a block is in."""
        self.height = max(self.height, height)

    def reserve(self, payment: SentPayment, rings: dict[int, tuple[int, ...]]) -> None:
        """Write a payment down, before it is sent: its coins are not spent again while it can be in a block.

        Args:
            payment: with the numbers of its coins.
            rings: number of each of these -> the members it hides among.
        """
        self._sent.append(payment)
        for number in payment.coins:
            self._own[number] = replace(self._own[number], until=payment.until, ring=rings[number])

    def release(self, payment: SentPayment) -> None:
        """Say that a payment was refused: its coins may be spent again, in the same rings."""
        self._sent = [one for one in self._sent if one.txid != payment.txid]
        for number in payment.coins:
            self._own[number] = replace(self._own[number], until=Height(0))

    # ---- the file

    def to_bytes(self) -> bytes:
        """Return the content of the file: sealed, for the wallet's eyes."""
        assets = sorted({coin.asset for coin in self._coins})
        places = {asset: place for place, asset in enumerate(assets)}
        rows = b"".join(
            coin.key + coin.commitment + coin.height.to_bytes(_HEIGHT_SIZE, "big")
            + places[coin.asset].to_bytes(_ASSET_SIZE, "big")
            for coin in self._coins
        )  # fmt: skip
        file = _File(
            self.viewer.chain_id, self.viewer.keys.spend_key, self.height, self.images, tuple(assets), rows,
            self.own(), tuple(self._paid), tuple(self._sent),
        )  # fmt: skip
        return seal_record(self.viewer.keys.box_key, file)


def read_ring_index(viewer: RingViewer, content: bytes) -> RingIndex:
    """Return the index of a file, or a new one for no content.

    Raises:
        Refused: BAD_WALLET if the file is damaged, or another wallet's or chain's.
    """
    index = RingIndex(viewer)
    if not content:
        return index
    box_key, remedy = viewer.keys.box_key, "nexus anonymous ring scan --again"
    file = open_record(box_key, content, _codec, "the index of ring coins", remedy)
    if file.chain_id != viewer.chain_id or file.spend_key != viewer.keys.spend_key:
        raise Refused(Reason.BAD_WALLET, "the index of ring coins is of another chain or wallet")
    index.height, index.images = file.height, file.images
    index._coins = [
        _row(number, file.rows[at : at + _ROW], file.assets)
        for number, at in enumerate(range(0, len(file.rows), _ROW))
    ]
    index._own = {coin.number: coin for coin in file.own}
    index._by_image = {coin.image: coin.number for coin in file.own}
    index._paid, index._sent = list(file.paid), list(file.sent)
    return index


def _row(number: int, row: bytes, assets: Sequence[AssetId]) -> PublicCoin:
    commitment, height = row[HASH_SIZE : 2 * HASH_SIZE], row[2 * HASH_SIZE : -_ASSET_SIZE]
    asset = assets[int.from_bytes(row[-_ASSET_SIZE:], "big")]
    return PublicCoin(number, asset, row[:HASH_SIZE], commitment, int.from_bytes(height, "big"))
