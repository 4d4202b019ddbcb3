"""Client of a node's API: synchronous for the command line, asynchronous for trio, both over one mapping.

    with Client("http://[::1]:8000") as client:
        client.ask(GetBalance(address="nx1..."))   # -> BalanceView

Questions and answers are those of `node.api.methods`. Every failure is `Refused`: the node's own reason, or
UNREACHABLE, TIMED_OUT, CONNECTION_LOST, PROTOCOL_VIOLATION (an answer that is no answer of this API).
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, open_websocket_url

from crypto.errors import Reason, Refused
from node.api.methods import BY_ASK, BY_NAME, Ask, Method, Submit
from node.api.shapes import ErrorAnswer, ErrorDetail, Submission, Submitted
from node.api.stream import BlockEvent, Failure, Message, Subscribe, Subscribed, TransactionEvent
from node.api.text import from_json, to_json

R = TypeVar("R")

DEFAULT_URL: Final = "http://[::1]:8000"
DEFAULT_TIMEOUT: Final = 10.0
"""Seconds without an answer."""
MAX_EVENT: Final = 16 << 20
"""Bytes of one event that are read at most."""
MAX_ANSWER: Final = 512 << 20
"""Bytes of one answer that are read at most: a genesis document is by far the largest."""
MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
Wait = Literal["accepted", "committed"]


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, ready to send."""

    method: Method
    path: str
    content: bytes
    content_type: str
    extra_time: float
    """Seconds that the node may take by request."""


def call_of(ask: Ask[Any]) -> Call:
    """Return the request that asks a question."""
    method = BY_ASK[type(ask)]
    extra = ask.timeout / 1000 if isinstance(ask, Submit) and ask.wait == "committed" else 0.0
    if method.verb == "POST":
        return Call(method, method.path, to_json(ask), JSON, extra)
    fields: dict[str, Any] = msgspec.structs.asdict(ask)
    path = method.path
    for name, value in tuple(fields.items()):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
            del fields[name]
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in fields.items())
    return Call(method, f"{path}?{query}" if query else path, b"", JSON, extra)


def call_of_submission(raws: Sequence[bytes], wait: Wait, timeout: float) -> Call:
    """Return the request that submits wire bytes in MessagePack: a third smaller than JSON and cheap to read."""
    path = f"{BY_NAME['submit'].path}?wait={wait}&timeout={max(1, int(timeout * 1000))}"
    extra = timeout if wait == "committed" else 0.0
    return Call(BY_NAME["submit"], path, msgspec.msgpack.encode(list(raws)), MSGPACK, extra)


def read_answer(method: Method, status: int, content: bytes | bytearray) -> Any:
    """Return the answer of a method. Raises Refused: the node's reason, or PROTOCOL_VIOLATION."""
    try:
        if status == 200:
            return from_json(content, method.answer)
        error = from_json(content, ErrorAnswer).error
    except msgspec.DecodeError as wrong:
        raise Refused(Reason.PROTOCOL_VIOLATION, f"HTTP {status} is no answer of a node: {wrong}") from None
    raise refused_by(error)


def accepted(results: Sequence[Submission]) -> Submission:
    """Return the one result of a single submission. Raises Refused with the node's reason."""
    if len(results) != 1:
        raise Refused(Reason.PROTOCOL_VIOLATION, f"{len(results)} results for one transaction")
    result = results[0]
    if not result.reason:
        return result
    raise refused_by(ErrorDetail(reason=result.reason, detail=result.detail))


class _Body:
    """An answer as it comes in: a node that is not trusted cannot fill our memory."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, part: bytes) -> None:
        if len(self.content) + len(part) > MAX_ANSWER:
            raise Refused(Reason.TOO_LARGE, f"the node's answer is over {MAX_ANSWER} bytes")
        self.content += part


class Client:
    """Asks one node and waits. Use as a context manager."""

    def __init__(self, url: str = DEFAULT_URL, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.url = checked_url(url)
        self._timeout = timeout
        self._http = httpx.Client(base_url=self.url, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, ask: Ask[R]) -> R:
        """Return the answer to a question. Raises Refused."""
        answer: R = self._send(call_of(ask))
        return answer

    def submit(
        self, raws: Sequence[bytes], *, wait: Wait = "accepted", timeout: float = 15.0
    ) -> tuple[Submission, ...]:
        """Submit signed transactions; the results are in their order.

        Args:
            raws: wire bytes.
            wait: until they are in the mempool, or each in a block.
            timeout: seconds to wait for the block.

        Raises:
            Refused: if the request as a whole fails; what is wrong with one transaction is in its result.
        """
        answer: Submitted = self._send(call_of_submission(raws, wait, timeout))
        return tuple(answer.results)

    def submit_one(self, raw: bytes, *, wait: Wait = "accepted", timeout: float = 15.0) -> Submission:
        """Submit one transaction. Raises Refused with the reason why it was not accepted."""
        return accepted(self.submit([raw], wait=wait, timeout=timeout))

    def _send(self, call: Call) -> Any:
        with _named_failures(self.url), self._http.stream(
            call.method.verb, call.path, content=call.content, headers={"content-type": call.content_type},
            timeout=self._timeout + call.extra_time,
        ) as answer:
            body = _Body()
            for part in answer.iter_bytes():
                body.add(part)
        return read_answer(call.method, answer.status_code, body.content)


class AsyncClient:
    """Asks one node under trio. Use as an async context manager; many tasks may ask at a time."""

    def __init__(self, url: str = DEFAULT_URL, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.url = checked_url(url)
        self._timeout = timeout
        self._http = httpx.AsyncClient(base_url=self.url, trust_env=False)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, ask: Ask[R]) -> R:
        """Return the answer to a question. Raises Refused."""
        answer: R = await self._send(call_of(ask))
        return answer

    async def submit(
        self, raws: Sequence[bytes], *, wait: Wait = "accepted", timeout: float = 15.0
    ) -> tuple[Submission, ...]:
        """As `Client.submit`."""
        answer: Submitted = await self._send(call_of_submission(raws, wait, timeout))
        return tuple(answer.results)

    async def submit_one(self, raw: bytes, *, wait: Wait = "accepted", timeout: float = 15.0) -> Submission:
        """As `Client.submit_one`."""
        return accepted(await self.submit([raw], wait=wait, timeout=timeout))

    @asynccontextmanager
    async def events(self, *subscriptions: Subscribe) -> AsyncGenerator["EventStream", None]:
        """Open subscriptions for the length of an `async with` block, and give what comes.

        The block begins once the node has confirmed every subscription, so nothing that is sent in it is missed.

        Raises:
            Refused: UNREACHABLE, TIMED_OUT, or why the node refuses a subscription.
        """
        url = "ws" + self.url.removeprefix("http") + "/ws"
        try:
            async with open_websocket_url(url, max_message_size=MAX_EVENT) as socket:
                stream = EventStream(socket)
                with trio.fail_after(self._timeout):
                    for subscription in subscriptions:
                        await stream.subscribe(subscription)
                yield stream
        except (HandshakeError, OSError) as error:
            raise Refused(Reason.UNREACHABLE, f"no events from {url}: {error or type(error).__name__}") from None
        except trio.TooSlowError:
            raise Refused(Reason.TIMED_OUT, f"{url} does not confirm the subscription") from None

    async def _send(self, call: Call) -> Any:
        with _named_failures(self.url):
            async with self._http.stream(
                call.method.verb, call.path, content=call.content, headers={"content-type": call.content_type},
                timeout=self._timeout + call.extra_time,
            ) as answer:
                body = _Body()
                async for part in answer.aiter_bytes():
                    body.add(part)
        return read_answer(call.method, answer.status_code, body.content)


class EventStream:
    """The events of some subscriptions, in order: iterate over it. Ends with Refused(CONNECTION_LOST)."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._early: deque[BlockEvent | TransactionEvent] = deque()

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> BlockEvent | TransactionEvent:
        while not self._early:
            message = await self._receive()
            if isinstance(message, BlockEvent | TransactionEvent):
                return message
        return self._early.popleft()

    async def subscribe(self, subscription: Subscribe) -> Subscribed:
        """Add a subscription and wait until the node confirms it. Raises Refused."""
        await self._socket.send_message(to_json(subscription).decode())
        while True:
            message = await self._receive()
            if isinstance(message, Subscribed) and message.id == subscription.id:
                return message
            if isinstance(message, BlockEvent | TransactionEvent):
                self._early.append(message)

    async def _receive(self) -> Message:
        try:
            raw = await self._socket.get_message()
            message: Message = from_json(raw.encode() if isinstance(raw, str) else raw, Message)
        except ConnectionClosed as closed:
            raise Refused(Reason.CONNECTION_LOST, f"the node ended the stream: {closed.reason}") from None
        except msgspec.DecodeError as error:
            raise Refused(Reason.PROTOCOL_VIOLATION, f"the node sent no event: {error}") from None
        if isinstance(message, Failure):
            raise refused_by(message.error)
        return message


def refused_by(error: ErrorDetail) -> Refused:
    """Return the node's refusal as ours."""
    try:
        return Refused(Reason(error.reason), error.detail)
    except ValueError:
        return Refused(Reason.PROTOCOL_VIOLATION, f"the node gives an unknown reason, {error.reason}: {error.detail}")


def checked_url(url: str) -> str:
    """Return the URL without a slash at its end. Raises Refused(USAGE) unless it is http(s)://HOST[:PORT]."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise Refused(Reason.USAGE, f"{url!r} is no URL of a node, such as {DEFAULT_URL}")
    return url.rstrip("/")


@contextmanager
def _named_failures(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectTimeout:
        raise Refused(Reason.UNREACHABLE, f"no node answers at {url}") from None
    except httpx.TimeoutException:
        raise Refused(Reason.TIMED_OUT, f"{url} gave no answer in time") from None
    except httpx.ConnectError:
        raise Refused(Reason.UNREACHABLE, f"no node answers at {url}; is it running? (nexus start)") from None
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Refused(Reason.CONNECTION_LOST, f"{url}: {error or type(error).__name__}") from None
