"""Signed peer records: what a node says of itself, and others pass on.

A record binds a node's Falcon key to the addresses where it listens and to its Ed25519 key, which is its name in
libp2p. Both keys sign it, so nobody claims another's name. Its epoch is the time when it was made: a newer record
replaces an older one, whoever brings it, and an old one is not taken at all.
"""

import ipaddress
from typing import Annotated, Final

from msgspec import Meta
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from crypto.errors import Reason, Refused
from crypto.falcon import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.schemes import Scheme, verify
from p2p.address import peer_id_of
from p2p.network import PeerAddress, PeerId
from state.encoding import Codec, Record, encode
from state.types import ChainId, ChainIdField, Unsigned

MAX_PLACES: Final = 4
"""Addresses in one record."""
MAX_RECORD: Final = 4096
"""Bytes of one signed record."""
MAX_AGE: Final = 14 * 24 * 3600 * 1000
"""ms: an older record is not taken; who runs makes a new one every day."""
MAX_AHEAD: Final = 10 * 60 * 1000
"""ms that the maker's clock may be ahead of ours."""
ED25519_SIZE: Final = 32



class Place(Record, frozen=True):
    """An IPv6 address and UDP port."""

    host: Annotated[bytes, Meta(min_length=16, max_length=16)]
    port: Annotated[int, Meta(ge=1, le=65535)]


class PeerRecord(Record, frozen=True):
    """What is signed. `epoch` is in ms since 1970, `ed25519` the key that is the node's name in libp2p.

    Without places it says who the node is, and not where.
    """

    chain_id: ChainIdField
    public_key: Annotated[bytes, Meta(min_length=PUBLIC_KEY_SIZE + 1, max_length=PUBLIC_KEY_SIZE + 1)]
    ed25519: Annotated[bytes, Meta(min_length=ED25519_SIZE, max_length=ED25519_SIZE)]
    places: Annotated[tuple[Place, ...], Meta(max_length=MAX_PLACES)]
    epoch: Unsigned

    @property
    def peer_id(self) -> PeerId:
        """The node id."""
        return peer_id_of(self.public_key)

    @property
    def addresses(self) -> tuple[PeerAddress, ...]:
        """Where to dial it."""
        return tuple(
            PeerAddress(self.peer_id, str(ipaddress.IPv6Address(place.host)), place.port) for place in self.places
        )


class SignedRecord(Record, frozen=True):
    """A record with the signatures of both its keys over H("peer-record", record)."""

    record: PeerRecord
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_SIZE + 1, max_length=SIGNATURE_SIZE + 1)]
    countersignature: Annotated[bytes, Meta(min_length=64, max_length=64)]


record_codec: Final = Codec(SignedRecord, MAX_RECORD)


def gossip_seed(key: SecretKey) -> bytes:
    """Return the seed of the Ed25519 key that goes with a node key: one key file holds both."""
    return digest(Label.PEER_NAME, key.seed)


def make_record(
    key: SecretKey, chain_id: ChainId, places: tuple[tuple[str, int], ...], epoch: int
) -> SignedRecord:
    """Return a node's record of itself. Takes up to 12 ms without the native kernel.

    Args:
        key: the node key.
        chain_id: the genesis hash.
        places: IPv6 addresses and ports.
        epoch: ms since 1970.
    """
    name = SigningKey(gossip_seed(key))
    shown = tuple(Place(ipaddress.IPv6Address(host.partition("%")[0]).packed, port) for host, port in places)
    record = PeerRecord(chain_id, key.public_key, bytes(name.verify_key), shown, epoch)
    signed = digest(Label.PEER_RECORD, encode(record))
    return SignedRecord(record, key.sign(signed), name.sign(signed).signature)


def check_record(signed: SignedRecord, chain_id: ChainId, now: int) -> None:
    """Check a record that somebody passed on.

    Args:
        signed: decoded.
        chain_id: ours.
        now: ms since 1970.

    Raises:
        Refused: WRONG_GENESIS; BAD_KEY; BAD_TIME if too old or from the future; BAD_ARGUMENT for an address that is
            none to dial; BAD_SIGNATURE.
    """
    record = signed.record
    if record.chain_id != chain_id:
        raise Refused(Reason.WRONG_GENESIS, f"the record is of the chain {record.chain_id.hex()[:16]}")
    if record.public_key[0] != Scheme.FALCON:
        raise Refused(Reason.BAD_KEY, "a node key is of scheme Falcon-1024")
    if not now - MAX_AGE <= record.epoch <= now + MAX_AHEAD:
        raise Refused(Reason.BAD_TIME, "the record is too old, or from the future")
    for place in record.places:
        address = ipaddress.IPv6Address(place.host)
        if address.is_unspecified or address.is_multicast or address.ipv4_mapped is not None:
            raise Refused(Reason.BAD_ARGUMENT, f"{address} is no address to dial")
    message = digest(Label.PEER_RECORD, encode(record))
    if not verify(record.public_key, message, signed.signature):
        raise Refused(Reason.BAD_SIGNATURE, "the node key did not sign this record")
    try:
        VerifyKey(record.ed25519).verify(message, signed.countersignature)
    except BadSignatureError:
        raise Refused(Reason.BAD_SIGNATURE, "the Ed25519 key did not sign this record") from None
