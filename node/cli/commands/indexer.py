"""Keep the chain's outputs in an SQL database: a process beside a node."""

import importlib
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from node.cli.running import serve_until_told
from node.cli.session import Form, Session, command
from node.indexer.settings import MODULE, SNAPSHOT_EVERY, Settings, check_installed, database_url, node_url
from node.logs import configure_logging

app = typer.Typer()


@command(app)
def indexer(
    session: Session,
    database: Annotated[str, typer.Option(
        envvar="DATABASE_URL", metavar="URL", help="postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///PATH",
    )] = "",
    subscribe: Annotated[str, typer.Option(
        envvar="NYKS_BLOCK_SUBSCRIBER_URL", metavar="URL", help="The node to follow; else as --node says.",
    )] = "",
    height_file: Annotated[Path | None, typer.Option(
        envvar="BLOCK_HEIGHT_FILE", help="Where the last height is written after each block.",
    )] = None,
    snapshot_every: Annotated[int, typer.Option(min=1, help="Blocks between two rows of `snapshot`.")] = SNAPSHOT_EVERY,
    until: Annotated[int | None, typer.Option(min=0, help="End after this height.")] = None,
) -> None:
    """Follow a node over HTTP and websocket, and keep the tables utxo, address and snapshot up to date.

    The database must be this chain's or empty. Ctrl-C or SIGTERM ends it; started again, it goes on.
    """
    check_installed()
    if not database:
        raise Refused(Reason.USAGE, "name the database: DATABASE_URL or --database")
    if height_file is not None and not height_file.absolute().parent.is_dir():
        raise Refused(Reason.USAGE, f"the folder of {height_file} does not exist")
    settings = Settings(
        database_url(database), node_url(subscribe or session.url), height_file, snapshot_every, until
    )
    configure_logging("info", "json" if session.output is Form.JSON else "console")
    follower = importlib.import_module(MODULE)
    serve_until_told(partial(follower.follow, settings))
