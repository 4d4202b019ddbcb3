"""The ASGI application: REST under /v1, JSON-RPC at /rpc, events at /ws, and the document that describes them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from crypto.errors import Reason, Refused
from node.api import rpc
from node.api.answers import answer
from node.api.follow import Heights, follow
from node.api.methods import METHODS, Method, Submit
from node.api.openapi import document, status_of
from node.api.shapes import ErrorAnswer, ErrorDetail, Health
from node.api.text import Decimal, convert, from_json, to_json
from node.api.views import VERSION
from node.logs import logger
from node.service import NodeService

MAX_BODY: Final = 8 << 20
"""Bytes of a request's body."""
SMALL_BODY: Final = 64 << 10
"""Bytes of a body that are always taken."""
BODY_ROOM: Final = 64 << 20
"""Bytes of larger bodies that are taken at a time, of all clients together."""
BODY_TIME: Final = 30.0
"""Seconds that a body may take."""
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
_LATE: Final = 10
"""A node this many blocks behind the best that it knows of is not ready."""

_log = logger("api")
_raws: Final = msgspec.msgpack.Decoder(list[bytes])
Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(service: NodeService, heights: Heights) -> Starlette:
    """Return the application over a node's service.

    Args:
        service: the node.
        heights: wakes subscriptions; somebody else runs it.
    """

    async def socket(websocket: WebSocket) -> None:
        await follow(websocket, heights)

    async def asked(method: Method, ask: Any) -> Any:
        return await answer(service, method, ask)

    def health() -> Health:
        status = service.status()
        ready = not status.catching_up and status.best_height - status.height < _LATE
        return Health(ready=ready, height=Decimal(status.height))

    return application(asked, health, [WebSocketRoute("/ws", socket)])


def application(asked: rpc.Asked, health: Callable[[], Health], more: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application over whatever answers the questions of the table: REST, JSON-RPC, health, OpenAPI.

    Args:
        asked: answers one checked question, or raises Refused.
        health: how whatever answers is doing.
        more: further routes.
    """
    routes: list[BaseRoute] = [
        Route(method.path, _endpoint(asked, method), methods=[method.verb]) for method in METHODS
    ]
    routes += [
        Route("/rpc", _rpc_endpoint(asked), methods=["POST"]),
        Route("/health", _health_endpoint(health, must_be_ready=False), methods=["GET"]),
        Route("/ready", _health_endpoint(health, must_be_ready=True), methods=["GET"]),
        Route("/openapi.json", _document, methods=["GET"]),
        *more,
    ]
    handlers: Any = {HTTPException: _http_error, Refused: _refusal, ClientDisconnect: _gone, Exception: _fault}
    return Starlette(routes=routes, exception_handlers=handlers)


def _endpoint(asked: rpc.Asked, method: Method) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _reply(await asked(method, await _question(method, request)))

    return endpoint


def _rpc_endpoint(asked: rpc.Asked) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        _no_query(request)
        reply = await rpc.handle(await _body(request, JSON), asked)
        return Response(status_code=204) if reply.value is None else _reply(reply.value, reply.status)

    return endpoint


def _health_endpoint(health: Callable[[], Health], *, must_be_ready: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        _no_query(request)
        value = health()
        return _reply(value, 503 if must_be_ready and not value.ready else 200)

    return endpoint


async def _document(request: Request) -> Response:
    return _reply(document(VERSION))


# ---- requests


async def _question(method: Method, request: Request) -> Any:
    """Return the question that a REST request asks. Raises Refused(MALFORMED | TOO_LARGE)."""
    query = _single_values(request)
    try:
        if method.verb == "GET":
            return convert({**query, **request.path_params}, method.ask, text=True)
        if method.ask is Submit and _content_type(request) == MSGPACK:
            raws = _raws.decode(await _body(request, MSGPACK))
            options = convert({**query, "transactions": [b"-"]}, Submit, text=True)
            return convert({**msgspec.structs.asdict(options), "transactions": raws}, Submit)
        _no_query(request)
        return from_json(await _body(request, JSON), method.ask)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, f"{method.name}: {error}") from None


def _single_values(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Refused(Reason.MALFORMED, "a parameter is given twice")
    return values


def _no_query(request: Request) -> None:
    names = sorted(_single_values(request))
    if names:
        raise Refused(Reason.MALFORMED, f"unknown parameter {names[0]!r}")


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Bodies:
    """How many bytes of large bodies are under way."""

    def __init__(self) -> None:
        self.held = 0

    async def read(self, request: Request) -> bytes:
        """Return a body. Raises Refused(TOO_LARGE | RATE_LIMITED | TIMED_OUT)."""
        parts, counted = bytearray(), 0
        try:
            with trio.fail_after(BODY_TIME):
                async for part in request.stream():
                    parts += part
                    if len(parts) > MAX_BODY:
                        raise Refused(Reason.TOO_LARGE, f"a body has at most {MAX_BODY} bytes")
                    more = max(len(parts) - SMALL_BODY, 0) - counted
                    if self.held + more > BODY_ROOM:
                        raise Refused(Reason.RATE_LIMITED, "too many large bodies at a time; try again")
                    counted += more
                    self.held += more
        except trio.TooSlowError:
            raise Refused(Reason.TIMED_OUT, f"a body has to be here within {BODY_TIME:.0f} s") from None
        finally:
            self.held -= counted
        return bytes(parts)


_bodies: Final = _Bodies()
"""Memory is the process's, so this is."""


async def _body(request: Request, content_type: str) -> bytes:
    if _content_type(request) != content_type:
        raise HTTPException(415, f"the body must be {content_type}")
    return await _bodies.read(request)


# ---- answers


def _reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, JSON)


def _error(status: int, reason: Reason, detail: str, headers: dict[str, str] | None = None) -> Response:
    return _reply(ErrorAnswer(error=ErrorDetail(reason=reason.value, detail=detail)), status, headers)


async def _refusal(request: Request, refused: Refused) -> Response:
    return _error(status_of(refused.reason), refused.reason, refused.detail)


async def _http_error(request: Request, error: HTTPException) -> Response:
    path = request.url.path
    details = {
        404: (Reason.UNKNOWN_METHOD, f"there is no {path}; /openapi.json lists what there is"),
        405: (Reason.UNKNOWN_METHOD, f"{path} does not take {request.method}"),
    }
    reason, detail = details.get(error.status_code, (Reason.MALFORMED, error.detail))
    return _error(error.status_code, reason, detail, dict(error.headers or {}))


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    """Whoever asked left before the question was complete: no fault of the node, and nobody reads the answer."""
    return Response(status_code=400)


async def _fault(request: Request, error: Exception) -> Response:
    _log.error("request failed", path=request.url.path, error=repr(error))
    return _error(500, Reason.INTERNAL, "a fault of the node; its log has more")
