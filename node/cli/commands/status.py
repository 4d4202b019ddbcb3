"""Show how a node is doing."""

import typer

from node.cli.session import Session, command

app = typer.Typer()


@command(app)
def status(session: Session) -> None:
    """Show how a node is doing: height, round, peers, mempool, and whether it is catching up."""
    session.show({"home": str(session.home)})
