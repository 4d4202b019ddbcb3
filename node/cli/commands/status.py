"""Show how a node is doing."""

import typer

from node.api.methods import GetStatus
from node.cli.session import Session, command
from node.client import Client

app = typer.Typer()


@command(app)
def status(session: Session) -> None:
    """Show how a node is doing: height, round, peers, mempool, and whether it is catching up."""
    with Client(session.url) as client:
        session.show(client.ask(GetStatus()))
