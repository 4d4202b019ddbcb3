"""What a viewer found on the chain: coins of an account, and what moved. One small file, sealed, replaced as a whole.

It is complete up to a height, so a scan resumes where the last one ended; what it lacks, the chain gives again.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from crypto.ristretto import decode_scalar, encode_scalar
from node.hidden.viewing import Viewer
from node.sealed import open_record, seal_record
from state.encoding import Codec, Record
from state.transaction import Decoded, HiddenCoin, OutPoint, Output, Script, Transfer
from state.types import (
    AddressField,
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


class Coin(Record, frozen=True):
    """A hidden coin of the account, with what is in it. `height` is 0 if its transaction was not seen."""

    outpoint: OutPoint
    asset: AssetField
    amount: AmountField
    blinding: Hash32
    commitment: Hash32
    text: str
    height: HeightField
    spent: bool = False

    @property
    def opening(self) -> Opening:
        """What the commitment holds."""
        return Opening(self.amount, decode_scalar(self.blinding))


class Sum(Record, frozen=True):
    """An amount of one asset, and with whom it went: an address, or nothing."""

    asset: AssetField
    amount: AmountField
    to: Annotated[bytes, Meta(max_length=32)] = b""


class Entry(Record, frozen=True):
    """What one transaction did to the account's hidden coins.

    `received` and `spent` are coins of the account; `paid` are hidden coins that it made for others, as far as the
    outgoing view key shows them; `fee` is in unxs, if the account signed.
    """

    height: HeightField
    place: Unsigned
    txid: TxIdField
    received: tuple[Sum, ...]
    spent: tuple[Sum, ...]
    paid: tuple[Sum, ...]
    fee: AmountField
    texts: tuple[str, ...]


class _File(Record, frozen=True):
    chain_id: ChainIdField
    owner: AddressField
    height: HeightField
    coins: tuple[Coin, ...]
    entries: tuple[Entry, ...]


_codec: Final = Codec(_File, MAX_INDEX_FILE)


class Placed(NamedTuple):
    """A transaction and where it stands."""

    height: Height
    place: int
    decoded: Decoded


class WalletIndex:
    """Coins and history of one account as one viewer sees them.

    Args:
        viewer: whose keys open the notes.

    Attributes:
        height: everything up to this block is in.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.height = Height(0)
        self._coins: dict[OutPoint, Coin] = {}
        self._entries: dict[tuple[int, int], Entry] = {}

    # ---- reading

    def unspent(self, asset: AssetId | None = None) -> tuple[Coin, ...]:
        """Return the coins that are left, of one asset or of all, in order of outpoint."""
        left = [coin for coin in self._coins.values() if not coin.spent and asset in (None, coin.asset)]
        return tuple(sorted(left, key=lambda coin: (coin.outpoint.txid, coin.outpoint.index)))

    def balances(self) -> dict[AssetId, Amount]:
        """Return what the coins that are left hold, by asset."""
        totals: dict[AssetId, int] = {}
        for coin in self.unspent():
            totals[coin.asset] = totals.get(coin.asset, 0) + coin.amount
        return {asset: Amount(totals[asset]) for asset in sorted(totals)}

    def history(self) -> tuple[Entry, ...]:
        """Return what moved, oldest first."""
        return tuple(self._entries[place] for place in sorted(self._entries))

    # ---- taking in

    def take(self, found: Placed) -> None:
        """Take a transaction in which the account took part; in order of height and place."""
        payload, decoded = found.decoded.body.payload, found.decoded
        if not isinstance(payload, Transfer | Script):
            return
        own = self._viewer.owner in decoded.signers
        spent = [self._coins[one] for one in payload.inputs if one in self._coins]
        for coin in spent:
            self._coins[coin.outpoint] = replace(coin, spent=True)
        received = self._receive(payload.outputs, found)
        paid = self._paid(payload.outputs) if own else []
        if not (spent or received or paid):
            return
        self._entries[found.height, found.place] = Entry(
            found.height, found.place, decoded.txid, tuple(Sum(coin.asset, coin.amount) for coin in received),
            tuple(Sum(coin.asset, coin.amount) for coin in spent), tuple(paid),
            Amount(decoded.body.fee if own else 0), tuple(coin.text for coin in received if coin.text),
        )

    def _receive(self, outputs: Sequence[Output], found: Placed) -> list[Coin]:
        received = []
        for index, output in enumerate(outputs):
            if not isinstance(output, HiddenCoin):
                continue
            coin = self._opened(output, OutPoint(found.decoded.txid, index), found.height)
            if coin is not None:
                # Known already if a scan without this transaction took it from the unspent outputs.
                spent = coin.outpoint in self._coins and self._coins[coin.outpoint].spent
                self._coins[coin.outpoint] = replace(coin, spent=spent)
                received.append(coin)
        return received

    def _opened(self, output: HiddenCoin, outpoint: OutPoint, height: Height) -> Coin | None:
        note = self._viewer.received(output, outpoint.index)
        if note is None:
            return None
        blinding = encode_scalar(note.opening.blinding)
        return Coin(
            outpoint, output.asset, Amount(note.opening.amount), blinding, output.commitment, note.text, height
        )

    def _paid(self, outputs: Sequence[Output]) -> list[Sum]:
        paid = []
        for index, output in enumerate(outputs):
            if isinstance(output, HiddenCoin) and output.owner != self._viewer.owner:
                opening = self._viewer.sent(output, index)
                if opening is not None:
                    paid.append(Sum(output.asset, Amount(opening.amount), output.owner))
        return paid

    def settle(self, unspent: Iterable[tuple[OutPoint, Output]], height: Height) -> None:
        """Compare with all unspent outputs of the account after a block, up to which all transactions were taken in.

        A node that deleted old blocks still has every unspent coin, note included: what is missing here is added, and
        what is no longer there is spent.
        """
        there = set()
        for outpoint, output in unspent:
            if not isinstance(output, HiddenCoin):
                continue
            there.add(outpoint)
            if outpoint not in self._coins:
                coin = self._opened(output, outpoint, Height(0))
                if coin is not None:
                    self._coins[outpoint] = coin
        for outpoint, coin in self._coins.items():
            self._coins[outpoint] = replace(coin, spent=outpoint not in there)
        self.height = height

    # ---- the file

    def to_bytes(self) -> bytes:
        """Return the content of the file: sealed, for this viewer's eyes."""
        coins = tuple(self._coins[outpoint] for outpoint in sorted(self._coins, key=lambda one: (one.txid, one.index)))
        file = _File(self._viewer.chain_id, self._viewer.owner, self.height, coins, self.history())
        return seal_record(self._viewer.box_key, file)


def read_index(viewer: Viewer, content: bytes) -> WalletIndex:
    """Return the index of a file, or a new one for no content.

    Raises:
        Refused: BAD_WALLET if the file is damaged, or another account's, chain's or view key's.
    """
    index = WalletIndex(viewer)
    if not content:
        return index
    file = open_record(viewer.box_key, content, _codec, "the wallet's index", "nexus wallet scan --again")
    if file.chain_id != viewer.chain_id or file.owner != viewer.owner:
        raise Refused(Reason.BAD_WALLET, "the wallet's index is of another chain or account")
    index.height = file.height
    index._coins = {coin.outpoint: coin for coin in file.coins}
    index._entries = {(entry.height, entry.place): entry for entry in file.entries}
    return index
