"""Run a validator: its plots and proofs, what it signed last, and who may sign on."""

import typer

from node.cli import proving, sign_state
from node.cli.session import command

app = typer.Typer(no_args_is_help=True)
app.add_typer(sign_state.app, name="sign-state")
command(app)(proving.plot)
command(app)(proving.status)
