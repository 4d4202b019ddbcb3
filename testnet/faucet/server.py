"""The faucet's HTTP side.

    GET  /      what it gives, from which account, what is left, and how often one may ask
    POST /give  {"address": "nx1...", "wait": true}  ->  {"txid": ..., "amount": ..., "height": ...}

A refusal is the API's own error object. It asks a node like any wallet, so a node has nothing to wait for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto.address import decode_address
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api.openapi import status_of
from node.api.server import bind_socket, serve_application
from node.api.shapes import ErrorAnswer, ErrorDetail
from node.api.text import to_json
from node.client import AsyncClient
from state.types import Address
from testnet.faucet.limits import Allowance, Limits
from testnet.faucet.till import Till

MAX_BODY: Final = 4096
JSON: Final = "application/json"


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants something; with `wait` the answer comes once it is in a block."""

    address: str
    wait: bool = False


class Gift(msgspec.Struct, frozen=True):
    """What was given: unxs as decimal text. `height` is that of the block, or empty if nobody waited for it."""

    address: str
    txid: str
    amount: str
    height: str = ""


class Offer(msgspec.Struct, frozen=True):
    """What the faucet is."""

    chain_id: str
    account: str
    balance: str
    amount: str
    window_seconds: int
    each_account: int
    each_prefix: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What a faucet is made of.

    Attributes:
        key: of the account that pays.
        node: URL of the node that is asked.
        chain_id: of the testnet, in hexadecimal.
        amount: unxs in one gift.
        limits: how often one may ask.
        host: IPv6 address to listen on.
        port: TCP port; 0 for any.
    """

    key: SecretKey
    node: str
    chain_id: str
    amount: int
    limits: Limits
    host: str
    port: int


async def serve_faucet(
    settings: Settings, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; the port in use is reported as started. Raises Refused(PORT_IN_USE | BAD_CONFIG)."""
    listener = bind_socket(settings.host, settings.port)
    async with AsyncClient(settings.node) as client, trio.open_nursery() as nursery:
        till = Till(settings.key, client, settings.chain_id, settings.amount)
        nursery.start_soon(till.run)
        app = faucet_app(till, settings.limits, time.monotonic)
        await serve_application(app, listener, task_status=task_status)


def faucet_app(till: Till, limits: Limits, clock: Callable[[], float]) -> Starlette:
    """Return the application. `clock` gives seconds and only rises."""
    allowance = Allowance(limits)
    routes = [
        Route("/", partial(_offer, till, limits), methods=["GET"]),
        Route("/give", partial(_give, till, allowance, clock), methods=["POST"]),
    ]
    handlers: Any = {HTTPException: _http_error, Refused: _refusal}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _offer(till: Till, limits: Limits, _request: Request) -> Response:
    offer = Offer(
        till.chain_id, till.account, str(await till.balance()), str(till.amount), round(limits.window),
        limits.each_account, limits.each_prefix,
    )
    return _reply(offer)


async def _give(till: Till, allowance: Allowance, clock: Callable[[], float], request: Request) -> Response:
    ask = await _asked(request)
    owner = Address(decode_address(ask.address))
    host = request.client.host if request.client else ""
    allowance.take(ask.address, host, clock())
    try:
        txid = await till.pay(owner)
    except BaseException:
        allowance.give_back(ask.address, host)
        raise
    height = str((await till.receipt(txid)).height) if ask.wait else ""
    return _reply(Gift(ask.address, txid, str(till.amount), height))


async def _asked(request: Request) -> Ask:
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise Refused(Reason.TOO_LARGE, f"a body has at most {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(bytes(raw), type=Ask)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, f'{error}; send {{"address": "nx1...", "wait": true}}') from None


def _reply(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type=JSON)


async def _refusal(_request: Request, refused: Any) -> Response:
    status = 503 if refused.reason is Reason.INSUFFICIENT_FUNDS else status_of(refused.reason)
    return _reply(ErrorAnswer(error=ErrorDetail(reason=refused.reason.value, detail=refused.detail)), status)


async def _http_error(request: Request, error: Any) -> Response:
    refused = Refused(Reason.UNKNOWN_METHOD, f"{request.method} {request.url.path}: there are GET / and POST /give")
    detail = ErrorDetail(reason=refused.reason.value, detail=refused.detail)
    return _reply(ErrorAnswer(error=detail), error.status_code)
