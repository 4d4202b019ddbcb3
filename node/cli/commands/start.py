"""Run the node of a home until it is told to stop."""

import os
from pathlib import Path
from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from node.cli.passwords import PasswordFile, read_password
from node.cli.session import Session, command
from node.cli.sign_state import take_over
from node.home import open_home
from node.keystore import CONSENSUS_KEY, NODE_KEY, is_sealed
from node.node import run_node

app = typer.Typer()


@command(app)
def start(
    session: Session,
    standby: Annotated[
        bool, typer.Option("--standby", help="Take over for the machine whose last-sign state was exported.")
    ] = False,
    sign_state: Annotated[
        Path | None, typer.Option(help="What `nexus validator sign-state export` wrote, for --standby.")
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Run the node: SIGTERM or Ctrl-C stops it cleanly. A password is needed only if its own keys are sealed."""
    home = open_home(session.home)
    if standby != (sign_state is not None):
        raise Refused(
            Reason.USAGE, "a standby takes over with --standby and --sign-state FILE, and only so: stop the other "
            "machine, export there with nexus validator sign-state export FILE, and bring the file here",
        )
    if sign_state is not None:
        take_over(home, sign_state, password_file)
    files = [home.keys / f"{name}.json" for name in (CONSENSUS_KEY, NODE_KEY)]
    sealed = any(is_sealed(path) for path in files if path.exists())
    run_node(session.home, os.environ, read_password(password_file, "the node's keys") if sealed else None)
