"""Forget the chain: delete what the node stored while it ran."""

import shutil
import sys
from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from node.cli.session import Session, command
from node.home import open_home
from state.leveldb import LevelDB

app = typer.Typer()


@command(app)
def reset(
    session: Session,
    keep_keys: Annotated[bool, typer.Option("--keep-keys", help="Delete the chain data only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the chain's data; without --keep-keys also keys, settings and genesis: the whole home.

    A validator that forgets its votes may vote twice for one height. Reset one only if the network resets too.
    """
    home = open_home(session.home)
    what = f"the chain data in {home.data}" if keep_keys else f"the whole home {home.root} with all its keys"
    if not yes:
        if not sys.stdin.isatty():
            raise Refused(Reason.USAGE, f"to delete {what} without being asked, add --yes")
        typer.confirm(f"Delete {what}?", abort=True, err=True)
    if home.chain.exists():
        LevelDB.open(home.chain).close()  # refuses while a node runs on it
    shutil.rmtree(home.data if keep_keys else home.root)
    session.show({"deleted": str(home.data if keep_keys else home.root)})
