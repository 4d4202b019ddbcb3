"""Serves the API over HTTP on trio: Hypercorn on a socket that we bind ourselves, so that its errors have names."""

import errno
import socket
from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.applications import Starlette

from crypto.errors import Reason, Refused
from node.api.app import make_app
from node.api.follow import Heights
from node.api.openapi import status_of
from node.api.shapes import ErrorAnswer, ErrorDetail
from node.logs import logger
from node.service import NodeService
from p2p.prefix import prefix_group

MAX_COMMAND: Final = 64 << 10
"""Bytes of one message from a websocket client."""
PING_INTERVAL: Final = 20.0
"""Seconds between pings on a websocket, so that a dead client is noticed."""
BACKLOG: Final = 128
MAX_CONNECTIONS: Final = 512
"""Connections at a time. Each is an open file, and the database needs some, too."""
MAX_PER_CLIENT: Final = 32
"""Connections at a time from one /64, which is one customer's: 16 of them and not one alone can fill the house. A
browser opens six, a wallet one or two. The loopback is exempt: behind a reverse proxy everybody comes from there, and
then the proxy knows who is who."""
MAX_TOLD: Final = 64
"""Clients that are told at one time why there is no room; what comes on top is closed without a word."""
LINGER: Final = 1.0
"""Seconds that such a client gets to hear it."""

_log = logger("api")


async def serve_api(
    service: NodeService, host: str, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled. Use with `port = await nursery.start(serve_api, service, host, port)`.

    Args:
        service: the node.
        host: an IPv6 address.
        port: TCP port, 0 for any free one; the one in use is reported as started.
        task_status: trio's.

    Raises:
        Refused: PORT_IN_USE, BAD_CONFIG (an address that this machine does not have).
    """
    listener = bind_socket(host, port)
    heights = Heights(service)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heights.run)
        await serve_application(make_app(service, heights), listener, task_status=task_status)


async def serve_application(
    app: Starlette, listener: socket.socket, loopback_exempt: bool = True, *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve any application until cancelled, as `serve_api` does the node's.

    Args:
        app: what answers.
        listener: from `bind_socket`; it is taken over and closed.
        loopback_exempt: let clients on the loopback have as many connections as there are.
        task_status: trio's; the port is reported as started.
    """
    config = Config()
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.websocket_max_message_size = MAX_COMMAND
    config.websocket_ping_interval = PING_INTERVAL
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 100_000
    door = _Door(wrap_app(cast("Any", app), config.wsgi_max_body_size, "asgi"), config, loopback_exempt)
    listener.listen(BACKLOG)
    port = int(listener.getsockname()[1])
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, door.serve, listeners)
        task_status.started(port)


class _Server(TCPServer):
    """One connection, which is over when its client has gone; Hypercorn's stays for `keep_alive_timeout` after that."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


class _Door:
    """Serves connections, so many at a time, each by itself.

    Hypercorn's own loop lets whatever it cannot make of one connection's bytes end all of them, and the program with
    them: a request that looks like a websocket's and is none is enough (0.18, `ws_stream._send_error_response`). And
    it takes connections without end, until no file can be opened any more.
    """

    def __init__(self, app: Any, config: Config, loopback_exempt: bool) -> None:
        self._app = app
        self._config = config
        self._exempt = loopback_exempt
        self._context = WorkerContext(None)
        self._open: Counter[str] = Counter()
        self._told = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection; whatever goes wrong with it is its own end alone."""
        try:
            host, port, *_ = stream.socket.getpeername()
        except OSError:
            return  # it has gone already
        client = prefix_group(host, self._exempt, port)
        try:
            self._check_room(client)
        except Refused as refused:
            await self._turn_away(stream, refused)
            return
        self._open[client] += 1
        try:
            await _Server(self._app, self._config, self._context, ConnectionState({}), cast("Any", stream))
        except Exception as error:
            _log.debug("connection failed", error=repr(error))
            await trio.aclose_forcefully(stream)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    def _check_room(self, client: str) -> None:
        if self._open[client] >= MAX_PER_CLIENT:
            why = f"{client}/64 holds {MAX_PER_CLIENT} connections, as many as one client may; close some"
            raise Refused(Reason.TOO_MANY_CONNECTIONS, why)
        if self._open.total() >= MAX_CONNECTIONS:
            why = f"all {MAX_CONNECTIONS} connections of this node are taken; try again in a moment"
            raise Refused(Reason.TOO_MANY_CONNECTIONS, why)

    async def _turn_away(self, stream: trio.SocketStream, refused: Refused) -> None:
        """Say why, and close; a close with bytes unread would take the answer back, so some are read."""
        if self._told >= MAX_TOLD:
            return
        self._told += 1
        try:
            with trio.move_on_after(LINGER), suppress(trio.BrokenResourceError):
                await stream.send_all(_refusal(refused))
                await stream.send_eof()
                for _ in range(16):
                    if not await stream.receive_some(4096):
                        break
        finally:
            self._told -= 1


def _refusal(refused: Refused) -> bytes:
    """Return a whole HTTP answer, as it goes out before anybody has asked."""
    body = msgspec.json.encode(ErrorAnswer(error=ErrorDetail(reason=refused.reason.value, detail=refused.detail)))
    status = HTTPStatus(status_of(refused.reason))
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return head.encode() + b"retry-after: 1\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket bound to an IPv6 address, not yet listening. Raises Refused(PORT_IN_USE | BAD_CONFIG)."""
    bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused(Reason.PORT_IN_USE, f"port {port} is in use on {host}; choose another api_port") from None
        raise Refused(Reason.BAD_CONFIG, f"cannot listen on [{host}]:{port}: {error.strerror}") from None
    return bound
