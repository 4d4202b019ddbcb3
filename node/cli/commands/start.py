"""Run the node of a home until it is told to stop."""

import os

import typer

from node.cli.passwords import PasswordFile, read_password
from node.cli.session import Session, command
from node.home import open_home
from node.keystore import CONSENSUS_KEY, NODE_KEY, is_sealed
from node.node import run_node

app = typer.Typer()


@command(app)
def start(session: Session, password_file: PasswordFile = None) -> None:
    """Run the node: SIGTERM or Ctrl-C stops it cleanly. A password is needed only if its own keys are sealed."""
    keys = open_home(session.home).keys
    files = [keys / f"{name}.json" for name in (CONSENSUS_KEY, NODE_KEY)]
    sealed = any(is_sealed(path) for path in files if path.exists())
    run_node(session.home, os.environ, read_password(password_file, "the node's keys") if sealed else None)
