"""Who can see what of hidden coins.

The *incoming* view key is the secret behind an account's receiving key: it opens the notes of the coins that the
account gets, change among them. The *outgoing* view key opens the copies in the notes of the coins that the account
sends. Each shows amounts to whoever holds it, an auditor for instance, and neither spends: that takes the account's
signing key. Both follow from a viewing seed, and that from the seed of the account key: 24 words give everything back.
"""

import base64
import binascii
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta

from apps.hidden import note_info
from crypto.confidential import ConfidentialProofs, Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.hpke import Opener, sealing_key_from_seed
from crypto.keys import SecretKey
from crypto.notes import VIEW_KEY_SIZE, Note, open_copy, open_note
from state.encoding import Codec, Record, encode
from state.transaction import HiddenCoin
from state.types import Address, AddressField, ChainId, ChainIdField

SEED_SIZE: Final = 32
_VIEW_PREFIX: Final = "nxview1"
_CHECKSUM_SIZE: Final = 4
_SEALING_SCHEME: Final = 0
_VIEWING_PART: Final = 3


class Direction(IntEnum):
    """Which coins a view key shows."""

    INCOMING = 1
    OUTGOING = 2


@dataclass(frozen=True, slots=True)
class ViewKeys:
    """Both view keys of an account, and the key that others seal its notes to. Secrets appear in no repr."""

    receiving: bytes = field(repr=False)
    incoming: bytes = field(repr=False)
    outgoing: bytes = field(repr=False)


class _ViewKey(Record, frozen=True):
    direction: Annotated[int, Meta(ge=1, le=2)]
    chain_id: ChainIdField
    owner: AddressField
    secret: Annotated[bytes, Meta(min_length=VIEW_KEY_SIZE, max_length=VIEW_KEY_SIZE)]


_view_codec: Final = Codec(_ViewKey, 256)


def viewing_seed(key: SecretKey) -> bytes:
    """Return the viewing seed of the account that this key is the first one of."""
    return digest(Label.KEY_DERIVE, key.seed + bytes([_SEALING_SCHEME, _VIEWING_PART]))


def view_keys(seed: bytes) -> ViewKeys:
    """Return the view keys of a viewing seed. Raises Refused(BAD_KEY) for another size."""
    if len(seed) != SEED_SIZE:
        raise Refused(Reason.BAD_KEY, f"a viewing seed has {SEED_SIZE} bytes, not {len(seed)}")
    receiving, incoming = sealing_key_from_seed(digest(Label.VIEW_KEY, seed + bytes([Direction.INCOMING])))
    return ViewKeys(receiving, incoming, digest(Label.VIEW_KEY, seed + bytes([Direction.OUTGOING])))


class Viewer:
    """Sees hidden coins of one account on one chain.

    Args:
        chain_id: the chain.
        owner: the account.
        incoming: its incoming view key, or nothing.
        outgoing: its outgoing view key, or nothing.
        proofs: recompute commitments; by default over the backend to use.

    Raises:
        Refused: BAD_KEY.
    """

    def __init__(
        self, chain_id: ChainId, owner: Address, incoming: bytes = b"", outgoing: bytes = b"",
        proofs: ConfidentialProofs | None = None,
    ) -> None:
        self.chain_id = chain_id
        self.owner = owner
        self._incoming = incoming
        self._opener = Opener(incoming) if incoming else None
        self._outgoing = outgoing
        self._proofs = proofs or default_proofs()

    @property
    def box_key(self) -> bytes:
        """The key that seals what this viewer remembers."""
        return digest(Label.WALLET_INDEX, self._incoming + self._outgoing)

    @property
    def sees_incoming(self) -> bool:
        """True if it opens the notes of coins that the account gets."""
        return self._opener is not None

    def received(self, coin: HiddenCoin, index: int) -> Note | None:
        """Return what is in a coin that the account owns; None if this viewer cannot see it, or its note is untrue."""
        if self._opener is None or coin.owner != self.owner:
            return None
        try:
            note = open_note(self._opener, note_info(self.chain_id, coin, index), coin.note)
        except Refused:
            return None
        return note if self._proofs.opens(coin.commitment, note.opening) else None

    def sent(self, coin: HiddenCoin, index: int) -> Opening | None:
        """Return what is in a coin that the account sent; None if this viewer cannot see it, or the copy is untrue."""
        if not self._outgoing:
            return None
        try:
            opening = open_copy(self._outgoing, note_info(self.chain_id, coin, index), coin.note)
        except Refused:
            return None
        return opening if self._proofs.opens(coin.commitment, opening) else None


def encode_view_key(keys: ViewKeys, direction: Direction, chain_id: ChainId, owner: Address) -> str:
    """Return a view key as text to hand to an auditor: `nxview1...`."""
    secret = keys.incoming if direction is Direction.INCOMING else keys.outgoing
    return to_text(_VIEW_PREFIX, encode(_ViewKey(direction, chain_id, owner, secret)))


def decode_view_key(text: str) -> Viewer:
    """Return the viewer of a view key. Raises Refused(BAD_KEY) if the text is none or mistyped."""
    try:
        found = _view_codec.decode(from_text(_VIEW_PREFIX, text))
    except Refused as refused:
        raise Refused(Reason.BAD_KEY, f"the text is no view key: {refused.detail}") from None
    if found.direction == Direction.INCOMING:
        return Viewer(found.chain_id, found.owner, incoming=found.secret)
    return Viewer(found.chain_id, found.owner, outgoing=found.secret)


def to_text(prefix: str, content: bytes) -> str:
    """Return bytes as text for people to copy, with a checksum."""
    checked = content + digest(Label.TEXT_CHECKSUM, prefix.encode() + content)[:_CHECKSUM_SIZE]
    return prefix + base64.urlsafe_b64encode(checked).decode().rstrip("=")


def from_text(prefix: str, text: str) -> bytes:
    """Return the bytes of `to_text`. Raises Refused(MALFORMED) for another prefix or a wrong checksum."""
    text = text.strip()
    if not text.startswith(prefix):
        raise Refused(Reason.MALFORMED, f"it does not begin with {prefix}")
    body = text.removeprefix(prefix)
    try:
        checked = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Reason.MALFORMED, "it holds characters that do not belong there") from None
    content, checksum = checked[:-_CHECKSUM_SIZE], checked[-_CHECKSUM_SIZE:]
    if digest(Label.TEXT_CHECKSUM, prefix.encode() + content)[:_CHECKSUM_SIZE] != checksum:
        raise Refused(Reason.MALFORMED, "the checksum is wrong: part of it is missing or mistyped")
    return content
