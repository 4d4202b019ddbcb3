"""Addresses as text: bech32m (BIP 350) of the 32 bytes behind the prefix `nx`, 61 characters in all.

There is no version digit as in Bitcoin's segwit addresses: the public key's scheme byte is inside the hash.
"""

from typing import Final

from bech32m.codecs import DecodeError, Encoding, bech32_decode, bech32_encode, convertbits

from crypto.errors import Reason, Refused

PREFIX: Final = "nx"
ADDRESS_SIZE: Final = 32
ADDRESS_LENGTH: Final = 61
"""Characters: prefix, separator, 52 digits of 5 bits, checksum of 6."""


def encode_address(address: bytes) -> str:
    """Return `nx1...` for an address of 32 bytes.

    Raises:
        Refused: BAD_ADDRESS if it is not 32 bytes.
    """
    if len(address) != ADDRESS_SIZE:
        raise Refused(Reason.BAD_ADDRESS, f"an address has {ADDRESS_SIZE} bytes, not {len(address)}")
    return bech32_encode(PREFIX, bytes(convertbits(address, 8, 5)), Encoding.BECH32M)


def decode_address(text: str) -> bytes:
    """Return the 32 bytes of `nx1...`. One address has one text: capitals are refused.

    Raises:
        Refused: BAD_ADDRESS.
    """
    if len(text) != ADDRESS_LENGTH or not text.startswith(PREFIX + "1"):
        raise Refused(Reason.BAD_ADDRESS, f"an address begins with {PREFIX}1 and has {ADDRESS_LENGTH} characters")
    try:
        _, digits, encoding = bech32_decode(text)
        address = bytes(convertbits(digits, 5, 8, pad=False))
    except DecodeError:
        raise Refused(Reason.BAD_ADDRESS, "the address has a typing error: its checksum is wrong") from None
    # The library refuses mixed capitals and padding that is not zero, so no second text gives the same address.
    if encoding is not Encoding.BECH32M or len(address) != ADDRESS_SIZE:
        raise Refused(Reason.BAD_ADDRESS, "the text is no bech32m address of 32 bytes in small letters")
    return address
