"""Somebody who asks and leaves in the middle of the question is no fault of the node."""

from collections.abc import MutableMapping
from typing import Any

import pytest

from node.api import app as api
from node.api.app import application
from node.api.methods import Method
from node.api.shapes import Health
from node.api.text import Decimal


class Logged:
    """Takes the place of the log."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def error(self, event: str, **_: Any) -> None:
        self.errors.append(event)


async def never(method: Method, ask: Any) -> Any:
    raise AssertionError("the question is not complete")


@pytest.mark.parametrize("path", ["/v1/transactions", "/rpc"])
async def test_who_leaves_in_the_middle_of_a_question_is_forgotten(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    log = Logged()
    monkeypatch.setattr(api, "_log", log)
    incoming: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"},
    ]  # fmt: skip
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return incoming.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "client": ("::1", 1), "server": ("::1", 2),
    }  # fmt: skip
    app = application(never, lambda: Health(ready=True, height=Decimal(1)))
    await app(scope, receive, send)
    assert log.errors == []
    assert sent[0]["status"] == 400
