"""What the HTTP server of the API takes of clients that do not behave: never the node's end, and bounded memory."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from trio.testing import MockClock

from crypto.errors import Reason, Refused
from node.api import app, server
from node.api.server import bind_socket, serve_application
from p2p.prefix import prefix_group

JSON_HEAD = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Door(server._Door):
    """The one of the server that runs."""

    latest: "Door"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        Door.latest = self


@pytest.fixture(autouse=True)
def known_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_Door", Door)


async def holds(count: int) -> None:
    """Wait until the server has so many connections open."""
    with trio.fail_after(60):
        while Door.latest._open.total() != count:
            await trio.sleep(0.02)


@asynccontextmanager
async def serving(loopback_exempt: bool = True) -> AsyncIterator[int]:
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
        yield await nursery.start(
            serve_application, Starlette(routes=routes), bind_socket("::1", 0), loopback_exempt
        )
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
        await holds(3)
        with socket.create_connection(("::1", port)) as one_more:
            answer = await trio.to_thread.run_sync(one_more.recv, 1000)
            assert (answer[:12], reason_in(answer)) == (b"HTTP/1.1 503", Reason.TOO_MANY_CONNECTIONS)
        await held.pop().aclose()
        await holds(2)
        assert (await ask(port)).endswith(b"hello")
        for stream in held:
            await stream.aclose()


def reason_in(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["reason"])


async def test_one_client_cannot_have_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has as many as one may is told so, whatever it asks, and a client from elsewhere is served."""
    places = iter(["2001:db8::1"] * 4 + ["2001:db8::2", "2001:db8:0:1::1", "2001:db8::3"])
    monkeypatch.setattr(server, "MAX_PER_CLIENT", 4)
    monkeypatch.setattr(server, "prefix_group", lambda _host, exempt, port: prefix_group(next(places), exempt, port))
    async with serving() as port, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(await trio.open_tcp_stream("::1", port)) for _ in range(4)]
        await holds(4)
        with pytest.raises(httpx.HTTPStatusError) as caught:
            async with httpx.AsyncClient() as client:
                (await client.get(f"http://[::1]:{port}/")).raise_for_status()
        told = caught.value.response
        assert (told.status_code, told.json()["error"]["reason"]) == (503, Reason.TOO_MANY_CONNECTIONS)
        assert "2001:db8::/64" in told.json()["error"]["detail"]
        assert " 4 connections" in told.json()["error"]["detail"]
        assert (await ask(port)).endswith(b"hello")  # another /64
        await held.pop().aclose()
        await holds(3)
        assert (await ask(port)).endswith(b"hello")  # a place is free again


@pytest.mark.parametrize("exempt", [True, False])
async def test_the_loopback_is_exempt_since_a_reverse_proxy_is_there(
    monkeypatch: pytest.MonkeyPatch, exempt: bool
) -> None:
    monkeypatch.setattr(server, "MAX_PER_CLIENT", 2)
    async with serving(exempt) as port, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(await trio.open_tcp_stream("::1", port))
        await holds(2)
        assert (await ask(port)).endswith(b"hello") == exempt


async def test_few_are_told_why_at_one_time(monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock) -> None:
    mock_clock.rate = 1.0
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 0)
    monkeypatch.setattr(server, "MAX_TOLD", 1)
    monkeypatch.setattr(server, "LINGER", 3600.0)
    async with serving() as port, await trio.open_tcp_stream("::1", port) as first:
        assert reason_in(await first.receive_some(4096)) == Reason.TOO_MANY_CONNECTIONS
        async with await trio.open_tcp_stream("::1", port) as second:
            assert await second.receive_some(4096) == b""
        mock_clock.jump(server.LINGER)  # the first does not go by itself, and is let go
        with trio.fail_after(60):
            while Door.latest._told:
                await trio.sleep(0.02)
        assert reason_in(await ask(port)) == Reason.TOO_MANY_CONNECTIONS


async def test_unfinished_bodies_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_ROOM", 1 << 18)
    async with serving() as port:
        async with await trio.open_tcp_stream("::1", port) as greedy:
            await greedy.send_all(JSON_HEAD % (1 << 20) + bytes(app.SMALL_BODY + (1 << 18) - 1))
            with trio.fail_after(60):
                while app._bodies.held < (1 << 18) - 1:
                    await trio.sleep(0.02)
            head = (JSON_HEAD % (1 << 19)).replace(b"Host: x", b"Host: x\r\nConnection: close")
            answer = await ask(port, head + bytes(app.SMALL_BODY + 2))  # no more: what is unread would reset it
            assert Reason.RATE_LIMITED.value.encode() in answer
            small = (JSON_HEAD % 1000).replace(b"Host: x", b"Host: x\r\nConnection: close")
            assert (await ask(port, small + bytes(1000))).endswith(b"1000")
        with trio.fail_after(60):
            while app._bodies.held:
                await trio.sleep(0.05)


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_TIME", 0.2)
    async with serving() as port:
        head = (JSON_HEAD % 100).replace(b"Host: x", b"Host: x\r\nConnection: close")
        assert Reason.TIMED_OUT.value.encode() in await ask(port, head + b"[")
