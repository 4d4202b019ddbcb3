"""What the commands of the light client have in common: what is trusted, which nodes are asked, what is told."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.api.text import hash_from
from node.cli.session import Session, option
from node.client import AsyncClient
from node.home import Home
from node.light.answer import RememberingVerifier
from node.light.answering import ProvenAnswers
from node.light.checkpoint import load_checkpoint
from node.light.client import Surroundings
from node.light.opening import Place, open_light
from node.light.roots import GenesisRoot, HeaderRoot, Root
from state.types import BlockId, ChainId, Height

HOURS: Final = 3_600_000
FOLDER: Final = "light"
"""Of a home: where a light client keeps what it verified."""

TRUST_OPTIONS: Final = {
    "trust_height": option("trust_height", Annotated[int, typer.Option(
        min=0, help="Height of a block that is trusted.", rich_help_panel="Trust")], 0),
    "trust_hash": option("trust_hash", Annotated[str, typer.Option(
        help="Id of that block.", rich_help_panel="Trust")], ""),
    "checkpoint": option("checkpoint", Annotated[Path | None, typer.Option(
        help="File that holds such a block, from somebody you trust.", rich_help_panel="Trust")], None),
    "trust_period": option("trust_period", Annotated[float, typer.Option(
        min=0, help="Hours for which a block is trusted; 0 for the chain's own period.",
        rich_help_panel="Trust")], 0.0),
    "chain_id": option("chain_id", Annotated[str, typer.Option(
        help="Genesis hash; enough while the chain is young.", rich_help_panel="Trust")], ""),
    "every_header": option("every_header", Annotated[bool, typer.Option(
        "--every-header", help="Go from an old genesis through every header.", rich_help_panel="Trust")], False),
    "witness": option("witness", Annotated[list[str] | None, typer.Option(
        envvar="NEXUS_WITNESSES", help="URL of another node that may contradict; give several.",
        rich_help_panel="Trust")], None),
}  # fmt: skip


def clock() -> int:
    """Return ms since 1970."""
    return time.time_ns() // 1_000_000


def root_of(session: Session, shared: Mapping[str, Any]) -> Root | None:
    """Return what the user trusts, or None for what the light client's folder holds.

    Raises:
        Refused: USAGE; those of a checkpoint that does not hold.
    """
    height, text, file = shared["trust_height"], shared["trust_hash"], shared["checkpoint"]
    if bool(height) != bool(text):
        raise Refused(Reason.USAGE, "--trust-height and --trust-hash belong together")
    if bool(text) + bool(file) + bool(shared["chain_id"]) > 1:
        raise Refused(Reason.USAGE, "give one root: --trust-height with --trust-hash, --checkpoint, or --chain-id")
    period = int(shared["trust_period"] * HOURS)
    if text:
        return HeaderRoot(Height(height), BlockId(hash_from(text)), period)
    if file is not None:
        block = load_checkpoint(file, SchemeVerifier())
        return HeaderRoot(block.height, block.header.block_id, period)
    if shared["chain_id"]:
        return GenesisRoot(ChainId(hash_from(shared["chain_id"])), shared["every_header"])
    if (session.home / FOLDER / "trust").exists():
        return None
    try:
        known = Home(session.home).genesis_hash.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise Refused(
            Reason.USAGE,
            "what is trusted? Give --trust-height and --trust-hash, --checkpoint, or, on a young chain, --chain-id",
        ) from None
    return GenesisRoot(ChainId(hash_from(known)), shared["every_header"])


@asynccontextmanager
async def opened(session: Session, shared: Mapping[str, Any], *, keep: bool) -> AsyncIterator[ProvenAnswers]:
    """Open a light client over the nodes that the user names.

    Args:
        session: names home and primary.
        shared: values of `TRUST_OPTIONS`.
        keep: keep what is verified in the home.
    """
    place = Place(session.home / FOLDER, root_of(session, shared), keep)
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(AsyncClient(session.url))
        witnesses = [await stack.enter_async_context(AsyncClient(url)) for url in _urls(shared["witness"])]
        if any(witness.url == primary.url for witness in witnesses):
            raise Refused(Reason.USAGE, f"{primary.url} cannot be its own witness: name another node")
        verifier = RememberingVerifier(SchemeVerifier())
        around = Surroundings(primary, witnesses, clock, verifier, lambda told: session.note(f"  {told}"))
        yield await open_light(place, around)


def _urls(given: list[str] | None) -> list[str]:
    """Return the witnesses' URLs: each option, or each word of the environment variable, is one."""
    return [url for text in given or () for url in text.replace(",", " ").split()]
