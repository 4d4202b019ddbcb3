"""Export a block that others may trust, and check one: height, hash, and what verifies them, in one file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from consensus.light import LightBlock, light_block_codec
from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.api.methods import GetHeader, GetLightBlock
from node.api.text import LATEST
from node.cli.session import Session, command
from node.cli.trust import clock
from node.client import Client
from node.home import write_file
from node.light.answer import share_signed
from node.light.checkpoint import load_checkpoint, make_checkpoint, read_checkpoint

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

    With --witness, also check that those nodes have the same block.
    """
    block = load_checkpoint(file, SchemeVerifier())
    for url in witness or ():
        with Client(url) as client:
            found = client.ask(GetHeader(height=str(block.height))).block_id
        if found != block.header.block_id.hex():
            raise Refused(
                Reason.BAD_WITNESS, f"{url} has another block {block.height}, {found}: do not use this file until you "
                "know which is right",
            )
    session.show({**_view(block), "confirmed_by": len(witness or ())})
    session.note(
        "the file holds together; whether these are the chain's validators, only somebody whom you trust can tell: "
        "compare height and hash with another source"
    )


def _view(block: LightBlock) -> dict[str, Any]:
    power, total = share_signed(block)
    return {
        "chain_id": block.header.chain_id.hex(), "height": str(block.height), "hash": block.header.block_id.hex(),
        "time": str(block.header.time), "age_ms": str(clock() - block.header.time),
        "signatures": len(block.commit.signatures), "validators": len(block.validators), "power": str(power),
        "total_power": str(total),
    }  # fmt: skip
