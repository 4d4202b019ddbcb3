"""Run a validator: what it signed last, and who may sign on."""

import typer

from node.cli import sign_state

app = typer.Typer(no_args_is_help=True)
app.add_typer(sign_state.app, name="sign-state")
