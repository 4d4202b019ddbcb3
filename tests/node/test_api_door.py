"""What the HTTP server of the API takes of clients that do not behave: never the node's end, and bounded memory."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from crypto.errors import Reason, Refused
from node.api import app, server
from node.api.server import bind_socket, serve_application

JSON_HEAD = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """An application that reads bodies as the API does."""

    async def take(request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await app._body(request, "application/json"))))
        except Refused as refused:
            return PlainTextResponse(refused.reason.value, 429 if refused.reason is Reason.RATE_LIMITED else 400)

    async def hello(_request: Request) -> Response:
        return PlainTextResponse("hello")

    routes = [Route("/take", take, methods=["POST"]), Route("/", hello)]
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_application, Starlette(routes=routes), bind_socket("::1", 0))
        nursery.cancel_scope.cancel()


async def ask(port: int, data: bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") -> bytes:
    answer = b""
    async with await trio.open_tcp_stream("::1", port) as stream:
        with trio.move_on_after(15), suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            while part := await stream.receive_some(4096):
                answer += part
    return answer


async def test_a_request_that_the_server_cannot_make_sense_of_ends_its_connection_alone() -> None:
    """Hypercorn's own loop would end the program: a websocket's second thoughts, and bytes of no protocol."""
    upgrade = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    async with serving() as port:
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        for data in (
            upgrade + key + b"\x81\x80" * 40,
            upgrade + b"\r\n" + bytes(100), b"\x16\x03\x01" * 50, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
        ):
            await ask(port, data)
        assert (await ask(port)).endswith(b"hello")


async def test_a_fault_in_one_connection_does_not_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [True]
    original = TCPServer.run

    async def run(self: TCPServer) -> None:
        if failing:
            failing.clear()
            raise RuntimeError("h11 is in a state that it does not know")
        await original(self)

    monkeypatch.setattr(TCPServer, "run", run)
    async with serving() as port:
        assert await ask(port) == b""
        assert (await ask(port)).endswith(b"hello")


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    async with serving() as port:
        held = [await trio.open_tcp_stream("::1", port) for _ in range(3)]
        await trio.sleep(0.2)
        with socket.create_connection(("::1", port)) as one_more:
            assert await trio.to_thread.run_sync(one_more.recv, 10) == b""
        await held.pop().aclose()
        with trio.fail_after(10):
            while not (await ask(port)).endswith(b"hello"):
                await trio.sleep(0.1)
        for stream in held:
            await stream.aclose()


async def test_unfinished_bodies_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_ROOM", 1 << 18)
    async with serving() as port:
        async with await trio.open_tcp_stream("::1", port) as greedy:
            await greedy.send_all(JSON_HEAD % (1 << 20) + bytes(app.SMALL_BODY + (1 << 18) - 1))
            with trio.fail_after(10):
                while app._bodies.held < (1 << 18) - 1:
                    await trio.sleep(0.02)
            head = (JSON_HEAD % (1 << 19)).replace(b"Host: x", b"Host: x\r\nConnection: close")
            answer = await ask(port, head + bytes(app.SMALL_BODY + 2))  # no more: what is unread would reset it
            assert Reason.RATE_LIMITED.value.encode() in answer
            small = (JSON_HEAD % 1000).replace(b"Host: x", b"Host: x\r\nConnection: close")
            assert (await ask(port, small + bytes(1000))).endswith(b"1000")
        with trio.fail_after(10):
            while app._bodies.held:
                await trio.sleep(0.05)


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_TIME", 0.2)
    async with serving() as port:
        head = (JSON_HEAD % 100).replace(b"Host: x", b"Host: x\r\nConnection: close")
        assert Reason.TIMED_OUT.value.encode() in await ask(port, head + b"[")
