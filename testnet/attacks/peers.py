"""Attacks by authenticated peers: strangers with keys of their own, as an open network lets them in."""

import random
import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import count as numbers
from typing import Any, Final

import trio

from consensus.relay import RoundStatus
from consensus.round_machine import RoundStep
from consensus.types import Vote, VoteKind
from crypto.errors import Reason
from crypto.schemes import Scheme
from node.api.methods import GetStatus as AskStatus
from node.client import AsyncClient
from p2p.exchange import GetPeers
from p2p.network import Channel
from p2p.stoq.channel import framed
from p2p.wire import (
    GetBlocks,
    GetChunk,
    GetHeaders,
    GetLightBlock,
    GetSnapshots,
    GetStatus,
    GetTransactions,
    RoundStatusMessage,
    TransactionBatch,
    VoteMessage,
)
from state.encoding import MAX_FRAME, encode
from state.types import BlockId, Height, Round, WtxId
from testnet.attacks.raid import OURS, Count, Row, Target, ended, keep, new_key, pour
from testnet.attacks.stranger import Deaf, Ears, Stranger, band

Raid = Callable[[Stranger], Awaitable[None]]
ASK, PART, END, REFUSE, CANCEL, LAST, MEET = range(1, 8)
CROWD: Final = 48
"""Connections of those attacks that try to take memory; the node takes 64 of strangers."""
ALLOWED: Final = 30
"""Requests that an attacker has open; the node takes 32."""
_SYNC: Final = struct.Struct(">BI")
_LENGTH: Final = struct.Struct(">I")

BOMBS: Final = {
    "nested arrays": b"\x91" * (MAX_FRAME - 8),
    "an array of 2^32": b"\xdd\xff\xff\xff\xff",
    "bytes of 4 GiB": b"\x92\x01\xc6\xff\xff\xff\xff",
    "a map of 2^32": b"\xdf\xff\xff\xff\xff",
    "an extension of 4 GiB": b"\xc9\xff\xff\xff\xff\x01",
    "a million small integers": b"\xdd\x00\x0f\xff\x00" + bytes(0xFFF00),
    "a million empty arrays": b"\xdd\x00\x0f\xff\x00" + b"\x90" * 0xFFF00,
    "text that is none": b"\x92\x01\xdb\x00\x0f\xff\x00" + b"\xff" * 0xFFF00,
}
BAD_FRAMES: Final = {
    "over the cap": _LENGTH.pack(MAX_FRAME + 1),
    "of 4 GiB": _LENGTH.pack(0xFFFF_FFFF),
    "empty": _LENGTH.pack(0),
    "more than the credit": _LENGTH.pack(MAX_FRAME) + bytes(4 << 20),
}


async def storm(
    target: Target, count: Count, places: int, raid: Callable[[Stranger], Awaitable[None]],
    ears: Callable[[], Ears] = Deaf,
) -> None:
    """Join again and again, in so many places, and do the same on each connection.

    The keys that were made come first, then new ones: a node that was caught is not let in again for a while.
    """
    async with band(target, target.chain_id) as strangers:

        async def once() -> None:
            key = count.keys.pop() if count.keys else await trio.to_thread.run_sync(new_key)
            await raid(await strangers.join(key, ears()))

        await keep(places, once, count)


async def comers(target: Target, count: Count) -> None:
    """Prove who one is, and leave: at once, or when the node has begun to talk."""
    dice = random.Random(6)
    async with band(target, target.chain_id) as strangers:

        async def once() -> None:
            key = count.keys.pop()
            try:
                party = await strangers.join(key)
                count.add(0)
                if dice.random() < 0.5:
                    await trio.sleep(0.1)
                party.connection.fail(Reason.CLOSING, "that was all")
            finally:
                count.keys.append(key)

        await keep(8, once, count)


async def bad_frames(target: Target, count: Count) -> None:
    """Send what no frame may be, and requests that no request may be."""
    dice = random.Random(1)
    sync = [framed(b"\x09" + bytes(4)), framed(b"\x01\x00"), framed(_SYNC.pack(ASK, 1)), framed(_SYNC.pack(LAST, 7))]

    async def raid(party: Stranger) -> None:
        data = dice.choice([*BAD_FRAMES.values(), *sync])
        await pour(party, Channel.SYNC if data in sync else dice.choice((*OURS,)), data, count)
        with trio.move_on_after(2.0):
            await ended(party)

    await storm(target, count, 4, raid)


async def bombs(target: Target, count: Count) -> None:
    """Send frames of MessagePack that declare or nest more than they hold."""
    dice = random.Random(2)

    async def raid(party: Stranger) -> None:
        channel = dice.choice((Channel.CONSENSUS, Channel.TRANSACTIONS, Channel.SYNC))
        bomb = dice.choice([*BOMBS.values()])
        header = _SYNC.pack(dice.choice((ASK, MEET)), 1) if channel is Channel.SYNC else b""
        await pour(party, channel, framed(bomb[: MAX_FRAME - len(header)], header), count)
        with trio.move_on_after(2.0):
            await ended(party)

    await storm(target, count, 4, raid)


async def noise(target: Target, count: Count) -> None:
    """Send well-framed noise, and true messages with bits flipped."""
    dice = random.Random(3)
    true = [encode(RoundStatusMessage(RoundStatus(Height(1), Round(0), RoundStep.PROPOSE, (), ()))),
            encode(TransactionBatch((bytes(300),))), encode(GetPeers(8, ()))]

    async def raid(party: Stranger) -> None:
        data = bytearray(dice.choice((dice.randbytes(dice.choice((1, 50, 5000))), *true)))
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        await pour(party, dice.choice((Channel.CONSENSUS, Channel.TRANSACTIONS)), framed(bytes(data)), count)
        with trio.move_on_after(0.5):
            await ended(party)

    await storm(target, count, 6, raid)


async def drip_frames(target: Target, count: Count) -> None:
    """Announce large frames on every channel and send them a byte at a time."""

    async def raid(party: Stranger) -> None:
        for channel in OURS:
            await pour(party, channel, _LENGTH.pack(MAX_FRAME), count)
        while True:
            for channel in OURS:
                await pour(party, channel, b"\x00", count)
            await trio.sleep(0.05)

    await storm(target, count, 24, raid)


async def hoard(target: Target, count: Count) -> None:
    """Fill every buffer that the node holds for a peer: frames that lack their last byte, on every channel."""
    part = _LENGTH.pack(MAX_FRAME) + bytes(MAX_FRAME - 1)

    async def raid(party: Stranger) -> None:
        for channel in OURS:
            for start in range(0, len(part), 1 << 15):
                await pour(party, channel, part[start : start + (1 << 15)], count)
        await ended(party)

    await storm(target, count, CROWD, raid)


def _questions(dice: random.Random) -> Iterator[Any]:
    """Yield requests that cost the node more than the asker."""
    while True:
        yield GetBlocks(Height(1), Height(256))
        yield GetHeaders(Height(1), Height(4096))
        yield GetLightBlock(Height(0))
        yield GetTransactions(tuple(WtxId(dice.randbytes(32)) for _ in range(2000)))
        yield GetSnapshots()
        yield GetChunk(Height(5000), 1)
        yield GetBlocks(Height(2**40), Height(2**41))
        yield GetStatus()


async def unread(target: Target, count: Count) -> None:
    """Ask for as much as one may, and never take an answer: no credit is ever given."""
    dice = random.Random(4)

    async def raid(party: Stranger) -> None:
        for number, question in zip(range(ALLOWED), _questions(dice), strict=False):
            await pour(party, Channel.SYNC, framed(encode(question), _SYNC.pack(ASK, number)), count)
        await ended(party)

    await storm(target, count, CROWD, raid)


class Reader(Ears):
    """Takes answers, gives credit for them, and knows how many requests are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0
        self.news = trio.Event()
        self.party: tuple[Stranger, ...] = ()

    def on_frame(self, channel: Channel, payload: bytes) -> bool:
        """See `p2p.stoq.connection.Receiver`."""
        if channel is Channel.SYNC:
            for party in self.party:
                party.connection.taken(channel, len(payload))
            if payload[0] in (END, REFUSE, LAST):
                self.open -= 1
                self.news.set()
        return True


async def questions(target: Target, count: Count) -> None:
    """Keep as many requests open as one may, of the costly kinds, and read all answers."""
    dice = random.Random(5)

    async def raid(party: Stranger) -> None:
        reader = party.ears
        assert isinstance(reader, Reader)
        reader.party = (party,)
        asked = _questions(dice)
        for number in numbers():
            while reader.open >= ALLOWED and not party.connection.gone.is_set():
                reader.news = trio.Event()
                with trio.move_on_after(0.5):
                    await reader.news.wait()
            reader.open += 1
            await pour(party, Channel.SYNC, framed(encode(next(asked)), _SYNC.pack(ASK, number & 0xFFFF_FFFF)), count)

    await storm(target, count, 6, raid, Reader)


async def cancels(target: Target, count: Count) -> None:
    """Ask and take it back at once, so that no limit on open requests is ever reached."""
    question = encode(GetBlocks(Height(1), Height(256)))
    together = b"".join(
        framed(question, _SYNC.pack(ASK, number)) + framed(b"", _SYNC.pack(CANCEL, number)) for number in range(200)
    )

    async def raid(party: Stranger) -> None:
        while True:
            await pour(party, Channel.SYNC, together, count, many=200)

    await storm(target, count, 6, raid)


async def meets(target: Target, count: Count) -> None:
    """Ask who else is there, again and again."""
    together = b"".join(framed(encode(GetPeers(64, ())), _SYNC.pack(MEET, number)) for number in range(8))

    async def raid(party: Stranger) -> None:
        reader = party.ears
        assert isinstance(reader, Reader)
        reader.party = (party,)
        while True:
            reader.open += 8
            await pour(party, Channel.SYNC, together, count, many=8)
            while reader.open > 0 and not party.connection.gone.is_set():
                reader.news = trio.Event()
                with trio.move_on_after(0.5):
                    await reader.news.wait()

    await storm(target, count, 6, raid, Reader)


async def transactions(target: Target, count: Count) -> None:
    """Send transactions that are none: each has to be decoded."""
    dice = random.Random(6)

    async def raid(party: Stranger) -> None:
        while True:
            batch = tuple(b"\x93" + dice.randbytes(dice.choice((40, 1500, 3000))) for _ in range(200))
            await pour(party, Channel.TRANSACTIONS, framed(encode(TransactionBatch(batch))), count, many=200)

    await storm(target, count, 4, raid)


async def votes(target: Target, count: Count) -> None:
    """Send votes of this height with signatures that nobody made."""
    dice = random.Random(7)
    api = AsyncClient(f"http://[::1]:{target.api_port}")

    async def raid(party: Stranger) -> None:
        with trio.move_on_after(1.0):
            status = await api.ask(AskStatus())
            for number in range(64):
                signature = bytes([Scheme.FALCON]) + b"\xda" + dice.randbytes(1279)
                kind = dice.choice((VoteKind.PREVOTE, VoteKind.PRECOMMIT))
                height, block = Height(int(status.height) + 1), BlockId(dice.randbytes(32))
                vote = Vote(kind, height, Round(0), block, number % 4, signature)
                await pour(party, Channel.CONSENSUS, framed(encode(VoteMessage(vote))), count)
            await ended(party)

    await storm(target, count, 4, raid)


async def statuses(target: Target, count: Count) -> None:
    """Say again and again that one stands behind and lacks everything."""
    api = AsyncClient(f"http://[::1]:{target.api_port}")

    async def raid(party: Stranger) -> None:
        while True:
            status = await api.ask(AskStatus())
            for _ in range(200):
                said = RoundStatus(Height(int(status.height) + 1), Round(0), RoundStep.PRECOMMIT, (), ())
                await pour(party, Channel.CONSENSUS, framed(encode(RoundStatusMessage(said))), count)

    await storm(target, count, 4, raid)


ROWS: Final = {
    "comers": Row("peers that authenticate and leave", "peers", comers, 16),
    "bad-frames": Row("oversize, empty and malformed frames", "frames", bad_frames, 40),
    "bombs": Row("MessagePack that declares or nests too much", "frames", bombs, 40),
    "noise": Row("random and changed messages", "frames", noise, 40),
    "drip-frames": Row("slow-loris: large frames byte by byte", "bytes", drip_frames, 24),
    "hoard": Row("unfinished frames on all channels", "pieces", hoard, 48),
    "unread": Row("answers that are never taken", "requests", unread, 48),
    "questions": Row("blocks, headers, snapshots, proofs asked without pause", "requests", questions, 6),
    "cancels": Row("requests taken back at once", "requests", cancels, 24),
    "meets": Row("requests for peers", "requests", meets, 6),
    "transactions": Row("transactions that are none", "transactions", transactions, 24),
    "votes": Row("votes that nobody signed", "votes", votes, 24),
    "statuses": Row("calls for what one pretends to lack", "messages", statuses, 4),
}
