"""Before there is a connection: a stranger's first packet, and stateless address validation (RFC 9000, section 8.1.2)
by a token that only the owner of an address gets to see.
"""

import hmac
import os
import struct
from dataclasses import dataclass
from typing import Final

from aioquic._buffer import Buffer
from aioquic.quic import packet as aioquic_packet

from p2p.stoq.cores import CID_SIZE, Address

TOKEN_LIFE: Final = 10.0
"""Seconds: a dialer answers a Retry at once."""
_HEAD: Final = struct.Struct(">dB")


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The readable part of an Initial packet (RFC 9000, section 17.2.2)."""

    version: int
    destination_id: bytes
    source_id: bytes
    token: bytes


def read_first_packet(datagram: bytes) -> FirstPacket | None:
    """Return the header of a QUIC version 1 Initial packet, or None if the datagram holds another thing."""
    try:
        header = aioquic_packet.pull_quic_header(Buffer(data=datagram), host_cid_length=CID_SIZE)
    except ValueError:
        return None
    if (
        header.packet_type is not aioquic_packet.QuicPacketType.INITIAL
        or header.version != aioquic_packet.QuicProtocolVersion.VERSION_1
        or len(header.destination_cid) < CID_SIZE
    ):
        return None
    return FirstPacket(header.version, header.destination_cid, header.source_cid, header.token)


def retry_packet(first: FirstPacket, retry_id: bytes, token: bytes) -> bytes:
    """Return the Retry packet (RFC 9000, section 17.2.5) that answers `first`."""
    return aioquic_packet.encode_quic_retry(
        version=first.version, source_cid=retry_id, destination_cid=first.source_id,
        original_destination_cid=first.destination_id, retry_token=token,
    )


class RetryTokens:
    """Makes and checks tokens with a key that lives as long as the endpoint."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def make(self, address: Address, original_id: bytes, retry_id: bytes, now: float) -> bytes:
        """Return the token for a client at `address` that first named `original_id` and shall now name `retry_id`."""
        body = _HEAD.pack(now + TOKEN_LIFE, len(original_id)) + original_id
        return body + self._tag(body, address, retry_id)

    def check(self, token: bytes, address: Address, retry_id: bytes, now: float) -> bytes | None:
        """Return the original connection id if the token is ours, for this address and id, and fresh."""
        if len(token) < _HEAD.size + 32:
            return None
        body, tag = token[:-32], token[-32:]
        if not hmac.compare_digest(tag, self._tag(body, address, retry_id)):
            return None
        expires, size = _HEAD.unpack_from(body)
        return body[_HEAD.size :] if now <= expires and len(body) == _HEAD.size + size else None

    def _tag(self, body: bytes, address: Address, retry_id: bytes) -> bytes:
        place = f"{address[0]}|{address[1]}|{address[3]}|".encode()
        return hmac.digest(self._key, len(retry_id).to_bytes(1, "big") + retry_id + place + body, "sha3_256")
