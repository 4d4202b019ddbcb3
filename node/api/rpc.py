"""JSON-RPC 2.0 over the table of methods. A refusal's reason and detail stand in the error's `data`.

Source: https://www.jsonrpc.org/specification. Parameters are given by name; by position they are refused.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from crypto.errors import Reason, Refused
from node.api.methods import BY_NAME, Method
from node.api.openapi import MAX_BATCH, status_of
from node.api.text import convert

VERSION: Final = "2.0"
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
REFUSED: Final = -32000
"""A refusal by the chain or the node, in the range that the specification leaves to servers."""
_CODES: Final = {
    Reason.MALFORMED: INVALID_PARAMS, Reason.BAD_ARGUMENT: INVALID_PARAMS, Reason.UNKNOWN_METHOD: METHOD_NOT_FOUND,
    Reason.INTERNAL: INTERNAL_ERROR,
}

Asked = Callable[[Method, Any], Awaitable[Any]]


class Reply(NamedTuple):
    """What goes back: an HTTP status and the value for its body; no body for notifications."""

    status: int
    value: Any


class _Outcome(NamedTuple):
    status: int
    answer: dict[str, Any] | None


async def handle(body: bytes, asked: Asked) -> Reply:
    """Return the reply to one request or a batch.

    Args:
        body: JSON.
        asked: answers one checked question, or raises Refused.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return Reply(400, _failure(None, PARSE_ERROR, Refused(Reason.MALFORMED, f"no JSON: {error}")))
    if not isinstance(value, list):
        outcome = await _one(value, asked)
        return Reply(outcome.status if outcome.answer is not None else 204, outcome.answer)
    if not 0 < len(value) <= MAX_BATCH:
        refused = Refused(Reason.TOO_LARGE if value else Reason.MALFORMED, f"a batch has 1 to {MAX_BATCH} calls")
        return Reply(status_of(refused.reason), _failure(None, INVALID_REQUEST, refused))
    outcomes = [await _one(item, asked) for item in value]
    answers = [outcome.answer for outcome in outcomes if outcome.answer is not None]
    return Reply(200 if answers else 204, answers or None)


async def _one(value: Any, asked: Asked) -> _Outcome:
    notification = isinstance(value, dict) and "id" not in value
    identity = value.get("id") if isinstance(value, dict) else None
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        identity = None
    try:
        method, ask = _question(value)
    except Refused as refused:
        code = INVALID_REQUEST if refused.reason is Reason.PROTOCOL_VIOLATION else _code(refused)
        named = Refused(Reason.MALFORMED, refused.detail) if code == INVALID_REQUEST else refused
        return _Outcome(status_of(named.reason), _failure(identity, code, named))
    try:
        result = await asked(method, ask)
    except Refused as refused:
        answer = None if notification else _failure(identity, _code(refused), refused)
        return _Outcome(status_of(refused.reason), answer)
    return _Outcome(200, None if notification else {"jsonrpc": VERSION, "id": identity, "result": result})


def _question(value: Any) -> tuple[Method, Any]:
    """Return method and question. Raises Refused: PROTOCOL_VIOLATION for what is no request at all."""
    if not isinstance(value, dict) or value.get("jsonrpc") != VERSION or not isinstance(value.get("method"), str):
        raise Refused(Reason.PROTOCOL_VIOLATION, 'a request is an object with "jsonrpc": "2.0" and a "method"')
    unknown = sorted(set(value) - {"jsonrpc", "method", "params", "id"})
    if unknown:
        raise Refused(Reason.PROTOCOL_VIOLATION, f"unknown field {unknown[0]!r} in the request")
    if "id" in value and (not isinstance(value["id"], str | int | None) or isinstance(value["id"], bool)):
        raise Refused(Reason.PROTOCOL_VIOLATION, "an id is a string or an integer")
    method = BY_NAME.get(value["method"])
    if method is None:
        raise Refused(Reason.UNKNOWN_METHOD, f"there is no method {value['method']!r}")
    parameters = value.get("params", {})
    if not isinstance(parameters, dict):
        raise Refused(Reason.MALFORMED, "parameters are given by name, as an object")
    try:
        return method, convert(parameters, method.ask)
    except msgspec.ValidationError as error:
        raise Refused(Reason.MALFORMED, f"{method.name}: {error}") from None


def _code(refused: Refused) -> int:
    return _CODES.get(refused.reason, REFUSED)


def _failure(identity: str | int | None, code: int, refused: Refused) -> dict[str, Any]:
    data = {"reason": refused.reason.value, "detail": refused.detail}
    return {"jsonrpc": VERSION, "id": identity, "error": {"code": code, "message": str(refused), "data": data}}
