"""The control stream (stream 0): authentication first, then credits for the other streams."""

from typing import Annotated, Final

from msgspec import Meta

from crypto.falcon import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from state.encoding import Codec, Record
from state.types import ChainIdField, Unsigned

STOQ_VERSION: Final = 1
MAX_CONTROL_FRAME: Final = 4096
INSTANCE_SIZE: Final = 16


class Hello(Record, frozen=True, tag=1):
    """Who speaks. Sent by the dialer, then by the listener; believed only after the Proof.

    `public_key` is scheme byte 1 and a Falcon-1024 key. `instance` is new for every start of a node: it tells a
    restarted peer from a second connection of the same process. `port` is where the sender listens.
    """

    version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    chain_id: ChainIdField
    public_key: Annotated[bytes, Meta(min_length=PUBLIC_KEY_SIZE + 1, max_length=PUBLIC_KEY_SIZE + 1)]
    instance: Annotated[bytes, Meta(min_length=INSTANCE_SIZE, max_length=INSTANCE_SIZE)]
    port: Annotated[int, Meta(ge=0, le=65535)]


class Proof(Record, frozen=True, tag=2):
    """The signature over the transcript of this connection: scheme byte and Falcon signature."""

    signature: Annotated[bytes, Meta(min_length=SIGNATURE_SIZE + 1, max_length=SIGNATURE_SIZE + 1)]


class Credit(Record, frozen=True, tag=3):
    """The receiver of this message may have sent `limit` bytes in total on its stream of `channel`."""

    channel: Annotated[int, Meta(ge=1, le=4)]
    limit: Unsigned


ControlMessage = Hello | Proof | Credit
control_codec: Final[Codec[ControlMessage]] = Codec(ControlMessage, MAX_CONTROL_FRAME)  # type: ignore[arg-type]
