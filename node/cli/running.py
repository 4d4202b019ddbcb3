"""How a command runs trio: a refusal comes out as itself, and SIGTERM or Ctrl-C ends what serves."""

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from crypto.errors import Refused


def run(main: Callable[[], Any]) -> None:
    """Run an async function under trio. Raises the first refusal out of any group of errors."""
    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        refusals = group.subgroup(Refused)
        if refusals is None:
            raise
        found: BaseException = refusals
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        raise found from None


def serve_until_told(serve: Callable[[], Awaitable[None]]) -> None:
    """Run something until SIGTERM or SIGINT, or until it ends by itself. Raises Refused, as it does."""

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:

                async def serve_to_the_end() -> None:
                    await serve()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(serve_to_the_end)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()

    run(main)
