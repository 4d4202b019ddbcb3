"""Serves the API over HTTP on trio: Hypercorn on a socket that we bind ourselves, so that its errors have names."""

import errno
import socket
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette

from crypto.errors import Reason, Refused
from node.api.app import make_app
from node.api.follow import Heights
from node.service import NodeService

MAX_COMMAND: Final = 64 << 10
"""Bytes of one message from a websocket client."""
PING_INTERVAL: Final = 20.0
"""Seconds between pings on a websocket, so that a dead client is noticed."""
BACKLOG: Final = 128


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
    app: Starlette, listener: socket.socket, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve any application until cancelled, as `serve_api` does the node's.

    Args:
        app: what answers.
        listener: from `bind_socket`; it is taken over and closed.
        task_status: trio's; the port is reported as started.
    """
    config = Config()
    # Hypercorn takes the descriptor over and closes it.
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.websocket_max_message_size = MAX_COMMAND
    config.websocket_ping_interval = PING_INTERVAL
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 100_000
    config.graceful_timeout = 1.0
    config.backlog = BACKLOG
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve, app, config)
        task_status.started(int(binds[0].rpartition(":")[2]))


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
