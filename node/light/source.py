"""Nodes that a light client asks. None is trusted: what they say is decoded strictly, and checked by the caller."""

from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from consensus.light import LightBlock, light_block_codec
from consensus.types import Header, header_codec
from crypto.errors import Reason, Refused
from node.api.methods import MAX_LISTED, Ask, GetGenesis, GetHeaders, GetLightBlock
from node.api.text import LATEST
from state.types import Height

R = TypeVar("R")
T = TypeVar("T")


class Source(Protocol):
    """Something that answers the API's questions, such as `node.client.AsyncClient`.

    Attributes:
        url: how people know it.
    """

    url: str

    async def ask(self, ask: Ask[R]) -> R:
        """Return the answer to a question. Raises Refused: the node's reason, or why there is no answer."""
        ...


async def fetch_light_block(source: Source, height: Height | None = None) -> LightBlock:
    """Return a node's light block of a height, by default its newest, unchecked.

    Raises:
        Refused: WRONG_HEIGHT, MALFORMED, NOT_CANONICAL, TOO_LARGE, and whatever the node refuses.
    """
    text = LATEST if height is None else str(height)
    block = light_block_codec.decode((await source.ask(GetLightBlock(height=text))).light_block)
    if height is not None and block.height != height:
        raise Refused(Reason.WRONG_HEIGHT, f"{source.url} was asked for header {height} and gave {block.height}")
    return block


async def fetch_newest_header(source: Source) -> Header:
    """Return a node's newest header, unchecked."""
    answer = await source.ask(GetHeaders(first=LATEST, limit=1))
    if not answer.headers:
        raise Refused(Reason.NOT_AVAILABLE, f"{source.url} has no header yet")
    return header_codec.decode(answer.headers[0])


async def fetch_headers(source: Source, first: Height, last: Height) -> tuple[Header, ...]:
    """Return a node's headers from one height to another, both included, in order, unchecked but for the heights.

    Raises:
        Refused: as `fetch_light_block`; NOT_AVAILABLE if the node has fewer.
    """
    found: list[Header] = []
    while (begin := first + len(found)) <= last:
        limit = min(MAX_LISTED, last - begin + 1)
        answer = await source.ask(GetHeaders(first=str(begin), limit=limit))
        if not answer.headers:
            raise Refused(Reason.NOT_AVAILABLE, f"{source.url} has no header {begin}")
        for raw in answer.headers[:limit]:
            header = header_codec.decode(raw)
            if header.height != first + len(found):
                raise Refused(Reason.WRONG_HEIGHT, f"{source.url} sent header {header.height} out of order")
            found.append(header)
    return tuple(found)


async def fetch_genesis(source: Source) -> bytes:
    """Return a node's genesis document in canonical bytes, unchecked."""
    return (await source.ask(GetGenesis())).raw


@contextmanager
def blaming(source: Source) -> Iterator[None]:
    """Say in a refusal of what a node sent which node that was, and what to do."""
    try:
        yield
    except Refused as refused:
        if refused.reason is Reason.BAD_TIME:
            raise Refused(
                refused.reason, f"{source.url} sent a header that does not fit this machine's clock or the headers "
                f"before ({refused.detail}): check the clock, then ask another node",
            ) from None
        if refused.reason not in _FAULTS:
            raise
        raise Refused(
            refused.reason, f"{source.url} sent a header that does not hold ({refused.detail}); ask another node"
        ) from None


_FAULTS: Final = frozenset({
    Reason.BAD_HEADER, Reason.BAD_COMMIT, Reason.BAD_SIGNATURE, Reason.UNTRUSTED, Reason.MALFORMED,
    Reason.NOT_CANONICAL, Reason.TOO_LARGE,
})

Fetch = Callable[[Height], Awaitable[LightBlock]]
"""Gets the light block of a height from somewhere, unchecked."""


def fetching(source: Source) -> Fetch:
    """Return a `Fetch` from one node."""

    async def fetch(height: Height) -> LightBlock:
        return await fetch_light_block(source, height)

    return fetch


async def drive(steps: Generator[Height, LightBlock, T], fetch: Fetch) -> T:
    """Let a pure walk (`consensus.light.skip`) have the light blocks that it wants; return what it ends with."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(await fetch(wanted))
    except StopIteration as done:
        result: T = done.value
        return result
