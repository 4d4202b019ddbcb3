"""Undo the last block of a stopped node."""

from typing import Annotated

import typer

from node.cli.session import Session, command
from node.home import open_home
from node.node import load_genesis
from node.rollback import roll_back

app = typer.Typer()


@command(app)
def rollback(
    session: Session,
    heights: Annotated[int, typer.Option(min=1, help="How many blocks.")] = 1,
    discard: Annotated[bool, typer.Option("--discard", help="Do not keep them: they come from peers.")] = False,
) -> None:
    """Undo the last block: state, indexes and block as after the one before. The node must be stopped.

    The next start executes the block again, unless it was discarded. What this validator signed is not forgotten.
    """
    home = open_home(session.home)
    after = roll_back(home, load_genesis(home), heights, discard=discard)
    session.show({"height": after.height, "block_id": after.block_id.hex(), "state_root": after.state_root.hex()})
    whence = "peers send it at the next start" if discard else "the next start executes it again"
    session.note(f"block {after.height + 1} is undone; {whence}")
