"""The stream protocol /nexus/proof/1: a question, an answer, each a JSON document behind its length.

A stream carries one of each. Both lengths are unsigned varints, as libp2p's own protocols write them. What may be asked
and what comes back is the business of whoever answers; here are the limits.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio
from libp2p.io.exceptions import MessageTooLarge
from libp2p.utils import encode_varint_prefixed
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from crypto.errors import Reason, Refused
from p2p.interop.limits import Doors, Limits

PROTOCOL: Final = "/nexus/proof/1"
MAX_QUESTION: Final = 4 << 10
"""Bytes."""
MAX_ANSWER: Final = 1 << 20
"""Bytes."""
PATIENCE: Final = 10.0
"""Seconds for the question to come, and for the answer to be taken."""

Answer = Callable[[bytes], Awaitable[bytes]]
"""Returns a JSON document, or raises Refused."""


class Questions:
    """Answers streams of /nexus/proof/1.

    Args:
        answer: from a question's bytes to an answer's.
        limits: rates, and how many at once.

    Attributes:
        answered: how many got an answer; refusals are answers, too.
    """

    def __init__(self, answer: Answer, limits: Limits) -> None:
        self.answered = 0
        self._answer = answer
        self._doors = Doors(limits.questions_each, limits.questions)
        self._room = trio.CapacityLimiter(limits.questions_at_once)

    async def serve(self, stream: Any) -> None:
        """Answer one stream. A peer that is too slow loses it."""
        with trio.move_on_after(2 * PATIENCE) as scope:
            try:
                question = await read_varint_prefixed_bytes_limited(stream, MAX_QUESTION)
                scope.deadline = trio.current_time() + 2 * PATIENCE
                self._doors.check(stream.muxed_conn.peer_id, trio.current_time(), "questions")
                async with self._room:
                    await self._send(stream, await self._answer(question))
            except MessageTooLarge:
                await self._send(stream, failure(Refused(Reason.TOO_LARGE, f"a question has {MAX_QUESTION} bytes")))
            except Refused as refused:
                await self._send(stream, failure(refused))
            await stream.close()
            return
        await stream.reset()

    async def _send(self, stream: Any, answer: bytes) -> None:
        if len(answer) > MAX_ANSWER:
            answer = failure(Refused(Reason.TOO_LARGE, f"the answer has more than {MAX_ANSWER} bytes; ask for less"))
        self.answered += 1
        await stream.write(encode_varint_prefixed(answer))


def failure(refused: Refused) -> bytes:
    """Return a refusal as JSON, in the form of the API."""
    return msgspec.json.encode({"error": {"reason": refused.reason.value, "detail": refused.detail}})
