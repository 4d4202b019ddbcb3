"""Export a block that others may trust, and check one: height, hash, and what verifies them, in one file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from consensus.light import LightBlock, light_block_codec, verify_light
from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.api.methods import GetHeader, GetLightBlock
from node.api.text import LATEST
from node.cli.session import Session, command
from node.cli.trust import FOLDER, clock
from node.client import Client
from node.home import write_file
from node.light.answer import share_signed
from node.light.checkpoint import load_checkpoint, make_checkpoint, read_checkpoint
from node.light.store import open_store

app = typer.Typer(no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="The checkpoint file.")]


@command(app)
def export(
    session: Session, file: File, height: Annotated[str, typer.Option(help="Height, or latest.")] = LATEST,
) -> None:
    """Write a block of a node, with its commit and validators, to a file. Vouch only for a node that you run."""
    with Client(session.url) as client:
        block = light_block_codec.decode(client.ask(GetLightBlock(height=height)).light_block)
    if height not in (LATEST, str(block.height)):
        raise Refused(Reason.WRONG_HEIGHT, f"{session.url} was asked for block {height} and gave {block.height}")
    content = make_checkpoint(block)
    read_checkpoint(content, SchemeVerifier())
    write_file(file, content, 0o644)
    session.show(_view(block))
    session.note(f"give {file} to people who trust you, and let them compare height and hash with what others say")


@command(app)
def verify(
    session: Session, file: File,
    witness: Annotated[list[str] | None, typer.Option(help="URL of a node to compare with; give several.")] = None,
) -> None:
    """Check that a file holds together: more than 2/3 of the validators it names signed the block. Asks nobody.

    If the home's light client trusts an older block, also tell whether this one follows from it. With --witness, also
    check that those nodes have the same block.
    """
    block = load_checkpoint(file, SchemeVerifier())
    follows_from = _trusted_below(session, block)
    for url in witness or ():
        with Client(url) as client:
            found = client.ask(GetHeader(height=str(block.height))).block_id
        if found != block.header.block_id.hex():
            raise Refused(
                Reason.BAD_WITNESS, f"{url} has another block {block.height}, {found}: do not use this file until you "
                "know which is right",
            )
    session.show({**_view(block), "follows_from": follows_from or None, "confirmed_by": len(witness or ())})
    session.note(
        f"the block follows from {follows_from}, which this home trusts" if follows_from else
        "the file holds together; whether these are the chain's validators, only somebody whom you trust can tell: "
        "compare height and hash with another source"
    )


def _trusted_below(session: Session, block: LightBlock) -> str:
    """Return the block of the home's light client that a checkpoint follows from in one step, or nothing.

    Raises:
        Refused: BAD_HEADER if the light client knows another block of that height, WRONG_CHAIN if it follows another
            chain; those of `consensus.light.verify_light`, but for what only says that it is too far.
    """
    store = open_store(session.home / FOLDER)
    known = {} if store is None else dict(store.blocks())
    if store is None or not known:
        return ""
    same = known.get(block.height)
    if same is not None and same.header.block_id != block.header.block_id:
        raise Refused(Reason.BAD_HEADER, f"this home knows another block {block.height}: do not use the file")
    below = [one for height, one in known.items() if height < block.height]
    if same is not None or not below:
        return "" if same is None else f"block {block.height}"
    try:
        verify_light(below[-1], block, clock(), store.trust.params, SchemeVerifier())
    except Refused as refused:
        if refused.reason in (Reason.UNTRUSTED, Reason.TRUST_EXPIRED):
            return ""
        raise
    return f"block {below[-1].height}"


def _view(block: LightBlock) -> dict[str, Any]:
    power, total = share_signed(block)
    return {
        "chain_id": block.header.chain_id.hex(), "height": str(block.height), "hash": block.header.block_id.hex(),
        "time": str(block.header.time), "age_ms": str(clock() - block.header.time),
        "signatures": len(block.commit.signatures), "validators": len(block.validators), "power": str(power),
        "total_power": str(total),
    }  # fmt: skip
