"""The OpenAPI 3.1 document, made from the table of methods and the structs themselves, so that it cannot differ."""

from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from crypto.errors import Reason
from node.api.methods import MAX_SUBMITTED, METHODS, Method
from node.api.shapes import ErrorAnswer, Health
from node.api.text import schema_hook

ERROR_STATUSES: Final = (400, 404, 405, 409, 413, 415, 429, 500, 503, 504)
"""What a refusal may come as; `status_of` gives no other."""
MAX_BATCH: Final = 100
"""Calls in one JSON-RPC batch."""
_REF: Final = "#/components/schemas/{name}"
_STATUS: Final = {
    Reason.NOT_AVAILABLE: 404, Reason.OUTPUT_NOT_FOUND: 404, Reason.UNKNOWN_ASSET: 404, Reason.KEY_NOT_FOUND: 404,
    Reason.UNKNOWN_METHOD: 404, Reason.TOO_LARGE: 413, Reason.CONFLICT: 409, Reason.ALREADY_KNOWN: 409,
    Reason.ALREADY_COMMITTED: 409, Reason.SENDER_LIMIT: 429, Reason.RATE_LIMITED: 429,
    Reason.TOO_MANY_CONNECTIONS: 503, Reason.MEMPOOL_FULL: 503, Reason.CORRUPT_DATABASE: 500, Reason.INTERNAL: 500,
    Reason.TIMED_OUT: 504, Reason.UNREACHABLE: 503, Reason.CONNECTION_LOST: 503, Reason.FORKED: 503,
    Reason.NO_WITNESS: 503, Reason.TRUST_EXPIRED: 503, Reason.JOINING: 503,
}


def status_of(reason: Reason) -> int:
    """Return the HTTP status of a refusal."""
    return _STATUS.get(reason, 400)


@cache
def document(version: str) -> dict[str, Any]:
    """Return the document."""
    types = [method.ask for method in METHODS] + [method.answer for method in METHODS] + [ErrorAnswer, Health]
    _, components = msgspec.json.schema_components(types, schema_hook=schema_hook, ref_template=_REF)
    paths: dict[str, Any] = {}
    for method in METHODS:
        paths.setdefault(method.path, {})[method.verb.lower()] = _operation(method, components)
    paths["/rpc"] = {"post": _rpc_operation(components)}
    for path, summary in (("/health", "The process lives."), ("/ready", "The node has caught up; 503 until then.")):
        paths[path] = {"get": _plain_operation(path.strip("/"), summary)}
    asks = {method.ask.__name__ for method in METHODS if method.verb == "GET"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cipher Nexus node", "version": version, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": {name: schema for name, schema in components.items() if name not in asks}},
    }


_DESCRIPTION: Final = (
    "Read a chain and submit signed transactions. The node holds no keys. 64-bit integers are decimal strings, hashes "
    "64 hexadecimal digits, byte strings base64. Every error has the body {\"error\": {\"reason\", \"detail\"}}. "
    "JSON-RPC 2.0 at /rpc has the same methods under their operation ids, with the same parameters. "
    "Events come over a websocket at /ws."
)


def _ref(kind: type[Any]) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _errors() -> dict[str, Any]:
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": _json(_ref(ErrorAnswer))}
        for status in ERROR_STATUSES
    }


def _operation(method: Method, components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": method.name,
        "summary": method.summary,
        "responses": {"200": {"description": "The answer.", "content": _json(_ref(method.answer))}, **_errors()},
    }
    if method.verb == "POST":
        content = _json(_ref(method.ask))
        operation["requestBody"] = {"required": True, "content": content}
    else:
        operation["parameters"] = _parameters(method, components[method.ask.__name__])
    return operation


def _parameters(method: Method, schema: dict[str, Any]) -> list[dict[str, Any]]:
    parameters = []
    for name, kind in schema.get("properties", {}).items():
        in_path = f"{{{name}}}" in method.path
        parameters.append({
            "name": name, "in": "path" if in_path else "query", "schema": kind,
            "required": in_path or name in schema.get("required", []),
        })
    return parameters


def _plain_operation(name: str, summary: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "Yes.", "content": _json(_ref(Health))},
            "503": {"description": "Not yet.", "content": _json(_ref(Health))},
            **{status: answer for status, answer in _errors().items() if status != "503"},
        },
    }


def _rpc_operation(components: dict[str, Any]) -> dict[str, Any]:
    call = [_rpc_call(method, components[method.ask.__name__]) for method in METHODS]
    batch = {
        "type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": {},
        "description": "Calls, each answered by itself; wrong ones by an error in their place.",
    }
    error = {
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {
            "code": {"type": "integer"}, "message": {"type": "string"},
            "data": {
                "type": "object", "required": ["reason", "detail"],
                "properties": {"reason": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    }
    one = {
        "type": "object",
        "required": ["jsonrpc", "id"],
        "properties": {"jsonrpc": {"const": "2.0"}, "id": {}, "result": {}, "error": error},
    }
    failures = {
        status: {**answer, "content": _json({"anyOf": [one, _ref(ErrorAnswer)]})}
        for status, answer in _errors().items()
    }
    return {
        "operationId": "rpc",
        "summary": f"JSON-RPC 2.0, one call or a batch. `submit` takes at most {MAX_SUBMITTED} transactions.",
        "requestBody": {"required": True, "content": _json({"anyOf": [*call, batch]})},
        "responses": {
            "200": {"description": "The answer or answers.", "content": _json({"anyOf": [
                one, {"type": "array", "items": one},
            ]})},
            "204": {"description": "There were only notifications, which are not answered."},
            **failures,
        },
    }


def _rpc_call(method: Method, parameters: dict[str, Any]) -> dict[str, Any]:
    needed = bool(parameters.get("required"))
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["jsonrpc", "method", *(["params"] if needed else [])],
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "method": {"const": method.name},
            "id": {"type": ["string", "integer", "null"]},
            "params": {key: value for key, value in parameters.items() if key != "title"},
        },
    }
