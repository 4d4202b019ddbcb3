"""What an attack on a real node is given and gives back, and the helpers that most of them share."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec
import trio

from crypto.errors import Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme
from p2p.network import Channel, PeerId
from state.types import ChainId
from testnet.attacks.stranger import Stranger
from testnet.refusals import leaves

OURS: Final = {channel: (channel - 1) * 4 + 2 for channel in Channel}
"""Streams of one who dialled."""
FLOW: Final = 1 << 20
"""Bytes that an attacker lets wait in its own QUIC before it goes on."""


class Target(msgspec.Struct, frozen=True):
    """The node under attack; it listens on ::1."""

    peer_id: PeerId
    port: int
    api_port: int
    chain_id: ChainId


class Tally(msgspec.Struct, frozen=True):
    """What one attack sent, and what came of it, by the reason that the attacker was given."""

    sent: int
    bytes: int
    unit: str
    heard: dict[str, int]


@dataclass(slots=True)
class Count:
    """The tally while it runs, and node keys to attack with: each takes a while to make."""

    unit: str
    keys: list[SecretKey] = field(default_factory=list)
    sent: int = 0
    bytes: int = 0
    heard: Counter[str] = field(default_factory=Counter)

    def add(self, size: int, many: int = 1) -> None:
        """Note that something was sent."""
        self.sent += many
        self.bytes += size

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Count how something ends that the node puts an end to, one by one or several in a nursery."""
        try:
            yield
        except* Refused as group:
            for refused in leaves(group):
                self.heard[refused.reason.value] += 1
        except* (trio.TooSlowError, OSError):
            self.heard["no answer"] += 1
        except* trio.BrokenResourceError:
            self.heard["hung up"] += 1

    def tally(self) -> Tally:
        """Return the result."""
        return Tally(self.sent, self.bytes, self.unit, dict(self.heard))


Attack = Callable[[Target, Count], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Row:
    """One attack: what it does in a few words, what it counts, how it does it (until cancelled), and with how many keys
    it begins."""

    about: str
    unit: str
    attack: Attack
    keys: int = 0


def new_key() -> SecretKey:
    """Return a node key that nobody knows."""
    return SecretKey.generate(Scheme.FALCON)


async def pour(party: Stranger, channel: Channel, data: bytes, count: Count, *, many: int = 1) -> None:
    """Send bytes on a channel as fast as QUIC takes them, past every credit.

    Raises:
        Refused: once the node has ended the connection.
    """
    stream = OURS[channel]
    while party.connection.core.backlog(stream) > FLOW and not party.connection.gone.is_set():
        await trio.sleep(0.005)
    if party.connection.gone.is_set():
        raise Refused(*party.connection.ended)
    party.write(stream, data)
    count.add(len(data), many)
    await trio.lowlevel.checkpoint()


async def ended(party: Stranger) -> None:
    """Wait until the node puts an end to a connection, and raise its Refused."""
    await party.connection.gone.wait()
    raise Refused(*party.connection.ended)


async def keep(places: int, once: Callable[[], Awaitable[None]], count: Count, pause: float = 0.0) -> None:
    """Do something again and again in so many places at one time, until cancelled."""

    async def again() -> None:
        while True:
            with count.hearing():
                await once()
            await trio.sleep(pause)

    async with trio.open_nursery() as nursery:
        for _ in range(places):
            nursery.start_soon(again)
