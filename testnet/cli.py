"""`nexus testnet`: a network of real node processes on this machine."""

import typer

app = typer.Typer(help="Run a network of real nodes on this machine.", no_args_is_help=True)
