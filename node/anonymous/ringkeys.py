"""The secrets behind the ring coins of a wallet, and the address to which they are paid. EXPERIMENTAL, classical.

All follow from the viewing seed of an account, and that from the seed of its key: 24 words give everything back. They
are others than the view keys of hidden coins, so who was given one of those sees no ring coin, and an address tells
nobody of which account it is.

    s     the spend secret; S = s * H stands in the address
    keys  to which notes are sealed, and under which copies are kept for the sender

An address, `nxring1...`, is text of about 1,750 characters. A wallet has one for each chain: payers who compare theirs
find out that they paid the same wallet; the chain tells nobody.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from crypto.errors import Reason, Refused
from crypto.group import default
from crypto.hashing import Label, digest
from crypto.hpke import PUBLIC_SIZE, Opener, check_sealing_key, sealing_key_from_seed
from crypto.notes import open_copy
from crypto.ringnotes import RingNote, open_ring_note, ring_note_info
from crypto.ringpay import RingPayments, default_ring_payments
from crypto.ristretto import ORDER, decode_nonzero
from node.anonymous.keys import random_scalar
from node.hidden.viewing import SEED_SIZE, from_text, to_text
from state.encoding import Codec, Record, encode
from state.types import AssetId, ChainId, ChainIdField, Hash32

ADDRESS_PREFIX: Final = "nxring1"


class RingAddress(Record, frozen=True):
    """To whom ring coins are paid: S of the wallet, and the key to which its notes are sealed."""

    chain_id: ChainIdField
    spend_key: Hash32
    receiving: Annotated[bytes, Meta(min_length=PUBLIC_SIZE, max_length=PUBLIC_SIZE)]


_codec: Final = Codec(RingAddress, 2048)


class PublicCoin(NamedTuple):
    """What everybody knows of a ring coin, without its note."""

    number: int
    asset: AssetId
    key: bytes
    commitment: bytes
    height: int


@dataclass(frozen=True, slots=True)
class RingKeys:
    """What only the owner of a wallet has. Secrets appear in no repr.

    Attributes:
        secret: s; whoever has it and the incoming key spends all ring coins of the wallet.
        spend_key: S.
        receiving: the key to which notes are sealed.
        incoming: opens them; with this alone one sees what comes in.
        outgoing: opens the copies in notes of coins that the wallet made.
        box_key: seals what the wallet remembers.
    """

    secret: int = field(repr=False)
    spend_key: bytes
    receiving: bytes = field(repr=False)
    incoming: bytes = field(repr=False)
    outgoing: bytes = field(repr=False)
    box_key: bytes = field(repr=False)

    def address(self, chain_id: ChainId) -> RingAddress:
        """Return where the wallet is paid on a chain."""
        return RingAddress(chain_id, self.spend_key, self.receiving)


def ring_keys(seed: bytes) -> RingKeys:
    """Return the keys of a viewing seed (`node.hidden.viewing`). Raises Refused(BAD_KEY) for another size."""
    if len(seed) != SEED_SIZE:
        raise Refused(Reason.BAD_KEY, f"a viewing seed has {SEED_SIZE} bytes, not {len(seed)}")
    secret = random_scalar(_derived(seed, b"spend 0") + _derived(seed, b"spend 1"))
    receiving, incoming = sealing_key_from_seed(_derived(seed, b"incoming"))
    spend_key = default_ring_payments().spend_key(secret)
    return RingKeys(secret, spend_key, receiving, incoming, _derived(seed, b"outgoing"), _derived(seed, b"box"))


def _derived(seed: bytes, purpose: bytes) -> bytes:
    return digest(Label.RING_KEY, seed + purpose)


def encode_ring_address(address: RingAddress) -> str:
    """Return an address as text to hand to payers."""
    return to_text(ADDRESS_PREFIX, encode(address))


def is_ring_address(text: str) -> bool:
    """Tell whether a text is meant as an address for ring coins."""
    return text.startswith(ADDRESS_PREFIX)


def decode_ring_address(text: str) -> RingAddress:
    """Return the address of a text. Raises Refused(BAD_ADDRESS) if it is none or mistyped, or holds no keys."""
    try:
        address = _codec.decode(from_text(ADDRESS_PREFIX, text))
        check_sealing_key(address.receiving)
        decode_nonzero(default(), address.spend_key)
    except Refused as refused:
        raise Refused(Reason.BAD_ADDRESS, f"the text is no address for ring coins: {refused.detail}") from None
    return address


class RingViewer:
    """Finds ring coins of one wallet on one chain.

    Args:
        chain_id: the chain.
        keys: the wallet's.
        payments: recompute keys, commitments and images; by default over the backend to use.
    """

    def __init__(self, chain_id: ChainId, keys: RingKeys, payments: RingPayments | None = None) -> None:
        self.chain_id = chain_id
        self.keys = keys
        self.payments = payments or default_ring_payments()
        self._opener = Opener(keys.incoming)

    def received(self, coin: PublicCoin, note: bytes) -> RingNote | None:
        """Return what is in a coin of the wallet; None if it is somebody else's, or its note is untrue."""
        try:
            found = open_ring_note(self._opener, self._info(coin), note)
            if self.payments.one_time_key(self.keys.spend_key, found.tweak) != coin.key:
                return None
        except Refused:
            return None
        return found if self.payments.commit(found.opening) == coin.commitment else None

    def sent(self, coin: PublicCoin, note: bytes) -> int | None:
        """Return the amount of a coin that the wallet made, for whomever; None if it did not, or the copy is untrue."""
        try:
            opening = open_copy(self.keys.outgoing, self._info(coin), note)
        except Refused:
            return None
        return opening.amount if self.payments.commit(opening) == coin.commitment else None

    def secret(self, tweak: int) -> int:
        """Return the secret of a coin's key: s + t."""
        return (self.keys.secret + tweak) % ORDER

    def image(self, tweak: int) -> bytes:
        """Return the key image of a coin of the wallet."""
        return self.payments.image(self.secret(tweak))

    def _info(self, coin: PublicCoin) -> bytes:
        return ring_note_info(self.chain_id, coin.asset, coin.key, coin.commitment)
