"""Attacks on the HTTP API."""

import os
import random
from typing import Final

import trio

from crypto.errors import Reason, Refused
from testnet.attacks.raid import Count, Row, Target, keep

MANY: Final = 300
ALL: Final = 600
"""More connections than the API has."""
BODY: Final = 8 << 20
"""Bytes of the largest body that the API takes."""
PATHS: Final = (
    b"/v1/status", b"/v1/blocks/1", b"/v1/blocks/1/light", b"/v1/validators", b"/v1/params", b"/v1/genesis",
    b"/v1/headers/1", b"/v1/peers", b"/health", b"/openapi.json", b"/v1/none",
)
BOMBS: Final = (
    b"[" * 200_000, b'{"jsonrpc":"2.0","id":1,"method":"status","params":' + b'{"a":' * 50_000, b"9" * 1_000_000,
    b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 500_000 + b'"}', b"\xdd\xff\xff\xff\xff", b"\x91" * 500_000,
    b"[" + b'{"jsonrpc":"2.0","id":1,"method":"status"},' * 20_000 + b"1]",
)


async def dial(target: Target) -> trio.SocketStream:
    """Open a TCP connection with the API."""
    return await trio.open_tcp_stream("::1", target.api_port)


def _request(path: bytes, more: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


_UPGRADE: Final = _request(
    b"/ws", b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
)  # fmt: skip


async def requests(target: Target, count: Count) -> None:
    """Ask over many connections, the next question before the last answer."""
    dice = random.Random(1)

    async def once() -> None:
        async with await dial(target) as stream:
            while True:
                data = b"".join(_request(dice.choice(PATHS)) for _ in range(4))
                await stream.send_all(data)
                count.add(len(data), 4)
                if not await stream.receive_some(1 << 16):
                    raise Refused(Reason.CONNECTION_LOST, "the node hung up")

    await keep(32, once, count)


async def callers(target: Target, count: Count) -> None:
    """Open a connection for one question and leave: with the answer, without it, or with half the question asked."""
    dice = random.Random(4)

    async def once() -> None:
        async with await dial(target) as stream:
            data = _UPGRADE if dice.random() < 0.2 else _request(dice.choice(PATHS))
            await stream.send_all(data[: dice.choice((len(data), len(data), len(data) // 2))])
            count.add(len(data))
            if dice.random() < 0.7:
                with trio.move_on_after(0.05):
                    await stream.receive_some(1 << 12)

    await keep(16, once, count)


async def slow_headers(target: Target, count: Count) -> None:
    """Slow-loris: begin a request on many connections and never end it."""

    async def once() -> None:
        async with await dial(target) as stream:
            await stream.send_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n")
            while True:
                await stream.send_all(b"X-a: b\r\n")
                count.add(8)
                await trio.sleep(0.5)

    await keep(MANY, once, count, 0.05)


async def crowd(target: Target, count: Count) -> None:
    """Take every connection that the API has, and ask for more."""

    async def once() -> None:
        async with await dial(target) as stream:
            await stream.send_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n")
            count.add(33)
            answer = await stream.receive_some(1 << 12)
            count.heard["told why" if Reason.TOO_MANY_CONNECTIONS.value.encode() in answer else "hung up"] += 1

    await keep(ALL, once, count, 0.5)


async def slow_bodies(target: Target, count: Count) -> None:
    """Send large bodies but for their last byte, on many connections."""

    async def once() -> None:
        async with await dial(target) as stream:
            head = b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            await stream.send_all(head % BODY)
            for _ in range(BODY // (1 << 16) - 1):
                await stream.send_all(bytes(1 << 16))
                count.add(1 << 16)
            if await stream.receive_some(1 << 12):
                raise Refused(Reason.TOO_MANY_CONNECTIONS, "an answer before the end")
            raise Refused(Reason.CONNECTION_LOST, "the node hung up")

    await keep(MANY, once, count, 0.2)


async def bombs(target: Target, count: Count) -> None:
    """Post JSON and MessagePack that nest too deep, are too long or mean nothing."""
    dice = random.Random(2)

    async def once() -> None:
        async with await dial(target) as stream:
            body = dice.choice(BOMBS)
            path = dice.choice((b"/rpc", b"/v1/transactions"))
            kind = b"json" if path == b"/rpc" else dice.choice((b"json", b"msgpack"))
            head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/" + kind
            await stream.send_all(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            count.add(len(body))
            answer = await stream.receive_some(1 << 12)
            code = answer[9:12].decode("ascii", "replace")
            count.heard[f"HTTP {code}" if answer else "hung up"] += 1

    await keep(8, once, count, 0.01)


async def deaf_sockets(target: Target, count: Count) -> None:
    """Subscribe to everything from the first block on many websockets, and read nothing."""

    async def once() -> None:
        async with await dial(target) as stream:
            await stream.send_all(_UPGRADE)
            await stream.receive_some(1 << 12)
            for number in range(16):
                await stream.send_all(_text(b'{"type":"subscribe","id":"%d","topic":"all","from_height":"1"}' % number))
                count.add(80)
            await trio.sleep(3600)

    await keep(100, once, count, 0.2)


def _text(data: bytes) -> bytes:
    """Return a masked text frame (RFC 6455, section 5.2) of at most 125 bytes."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(data)]) + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


ROWS: Final = {
    "api-requests": Row("API questions without pause", "requests", requests),
    "api-callers": Row("a connection for each question", "connections", callers),
    "api-slow-headers": Row("slow-loris on the API, 300 connections", "header lines", slow_headers),
    "api-crowd": Row("600 connections with the API, which has 512", "connections", crowd),
    "api-slow-bodies": Row("unfinished bodies of 8 MiB, 300 connections", "pieces", slow_bodies),
    "api-bombs": Row("JSON and MessagePack bombs", "requests", bombs),
    "api-deaf-sockets": Row("websockets that subscribe and do not read", "subscriptions", deaf_sockets),
}
