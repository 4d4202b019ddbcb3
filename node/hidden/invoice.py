"""How somebody asks for a payment in hidden coins: `nxinvoice1...`, text to hand over, about 1,800 characters.

It names account and receiving key, so its receiver need not have published a key. It is not signed: who can put another
invoice in its place can put his own address there.
"""

from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import Reason, Refused
from crypto.hpke import PUBLIC_SIZE, check_sealing_key
from crypto.notes import TEXT_SIZE
from node.hidden.viewing import from_text, to_text
from state.encoding import Codec, Record, encode
from state.types import AddressField, AmountField, AssetField, ChainIdField

_PREFIX: Final = "nxinvoice1"


class Invoice(Record, frozen=True):
    """What is asked for. An amount of 0 leaves it to the payer; the text goes into the note."""

    chain_id: ChainIdField
    owner: AddressField
    receiving: Annotated[bytes, Meta(min_length=PUBLIC_SIZE, max_length=PUBLIC_SIZE)]
    asset: AssetField
    amount: AmountField
    text: Annotated[str, Meta(max_length=TEXT_SIZE)]


_codec: Final = Codec(Invoice, 4096)


def encode_invoice(invoice: Invoice) -> str:
    """Return an invoice as text."""
    return to_text(_PREFIX, encode(invoice))


def is_invoice(text: str) -> bool:
    """Tell whether a text is meant as an invoice."""
    return text.startswith(_PREFIX)


def decode_invoice(text: str) -> Invoice:
    """Return the invoice of a text. Raises Refused(BAD_ARGUMENT | BAD_KEY)."""
    try:
        invoice = _codec.decode(from_text(_PREFIX, text))
    except Refused as refused:
        raise Refused(Reason.BAD_ARGUMENT, f"the text is no invoice: {refused.detail}") from None
    check_sealing_key(invoice.receiving)
    return invoice
