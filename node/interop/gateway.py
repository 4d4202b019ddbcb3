"""Between a node's API and peers of stock libp2p: blocks go out, questions that carry proofs are answered.

It runs in a process of its own. The node takes nothing from it but questions to its read-only API, as from anybody: so
whatever peers do to this listener, the node's time, memory and votes are its own.
"""

import os
import resource
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from crypto.errors import Reason, Refused
from node.api.methods import BY_NAME
from node.api.stream import BlockEvent, Subscribe
from node.api.text import convert, to_json
from node.client import AsyncClient
from node.home import write_file
from node.interop.ready import Ready
from node.logs import logger
from p2p.interop.announcement import OpenBlock
from p2p.interop.host import SEED, OpenHost, open_host
from p2p.interop.limits import Limits
from state.types import BlockId, ChainId, Height

OPEN: Final = frozenset({
    "genesis", "params", "block", "body", "header", "headers", "commit", "light_block", "validators", "transaction",
    "receipt", "account", "balance", "allowance", "locks", "asset", "output", "proof", "query",
})
"""Methods of the API that may be asked: they read the chain, and a proof of what they say can be had."""
MEMORY: Final = 1 << 30
"""Bytes of data that this process may ever have: the last of its limits."""
PAUSES: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds before the node is asked for blocks again."""
FIGURES_EVERY: Final = 60.0
_log = logger("p2p")


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a peer asks: a method of the API, and its parameters by name."""

    method: str
    params: dict[str, Any] = {}


class Gateway:
    """Answers from one node.

    Args:
        client: asks the node.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def answer(self, raw: bytes) -> bytes:
        """Return the API's answer as JSON.

        Raises:
            Refused: MALFORMED, UNKNOWN_METHOD, NOT_AVAILABLE while the node is away, or what the node refuses.
        """
        try:
            question = msgspec.json.decode(raw, type=Question)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refused(Reason.MALFORMED, f'a question is {{"method": ..., "params": ...}}: {error}') from None
        if question.method not in OPEN:
            raise Refused(Reason.UNKNOWN_METHOD, f"{question.method!r} cannot be asked here: {', '.join(sorted(OPEN))}")
        try:
            ask = convert(question.params, BY_NAME[question.method].ask)
        except (msgspec.ValidationError, RecursionError) as error:
            raise Refused(Reason.MALFORMED, f"{question.method}: {error}") from None
        try:
            return to_json({"result": await self._client.ask(ask)})
        except Refused as refused:
            if refused.reason in (Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.CONNECTION_LOST):
                raise Refused(Reason.NOT_AVAILABLE, "the node behind this listener does not answer now") from None
            raise

    async def tell(self, host: OpenHost) -> None:
        """Announce every block that the node commits, until cancelled. A node that is away is waited for."""
        pauses = iter(PAUSES)
        while True:
            try:
                async with self._client.events(Subscribe(id="open", topic="blocks")) as events:
                    pauses = iter(PAUSES)
                    async for event in events:
                        if isinstance(event, BlockEvent):
                            await host.announce(_block(event))
            except Refused as refused:
                _log.warning("no blocks from the node", reason=refused.reason.value, detail=refused.detail)
            await trio.sleep(next(pauses, PAUSES[-1]))


def _block(event: BlockEvent) -> OpenBlock:
    header = event.header
    return OpenBlock(
        ChainId(bytes.fromhex(header.chain_id)), Height(int(header.height)), BlockId(bytes.fromhex(header.block_id)),
        int(header.time),
    )


def load_seed(path: Path) -> bytes:
    """Return the seed of the listener's key; make one where there is none. Raises Refused(BAD_KEY_FILE)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, os.urandom(SEED).hex().encode() + b"\n")
    try:
        seed = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError):
        seed = b""
    if len(seed) != SEED:
        raise Refused(Reason.BAD_KEY_FILE, f"{path} does not hold {2 * SEED} hex digits: delete it for a new key")
    return seed


async def serve(place: tuple[str, int], url: str, seed: bytes, ready: Ready, limits: Limits | None = None) -> None:
    """Run until cancelled.

    Args:
        place: IPv6 address and UDP port; 0 for any free one.
        url: the node's API.
        seed: of the listener's own key.
        ready: is told what to dial once that is possible.
        limits: how much strangers may take.

    Raises:
        Refused: PORT_IN_USE, BAD_CONFIG.
    """
    async with AsyncClient(url) as client:
        gateway = Gateway(client)
        async with open_host(seed, place, gateway.answer, limits) as host, trio.open_nursery() as nursery:
            ready(host.address(place[0]))
            nursery.start_soon(gateway.tell, host)
            while True:
                await trio.sleep(FIGURES_EVERY)
                _log.info("open listener", **{name.replace(" ", "_"): n for name, n in host.figures().items()})


def bound_memory() -> None:
    """Let this process die rather than take more than MEMORY."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    most = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
