"""Messages of the confidential module."""

from typing import Annotated

from msgspec import Meta

from crypto.hpke import PUBLIC_SIZE
from state.encoding import Record


class Publish(Record, frozen=True):
    """confidential/publish: let everybody know to which key notes for the sender's hidden coins are sealed.

    It replaces the key that the sender published before.
    """

    public_key: Annotated[bytes, Meta(min_length=PUBLIC_SIZE, max_length=PUBLIC_SIZE)]
