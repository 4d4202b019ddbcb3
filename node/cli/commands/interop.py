"""Let peers of stock libp2p (JavaScript, Go, Rust) follow blocks and ask for proofs: a process beside a node."""

import importlib
import os
import threading
from functools import partial
from typing import Annotated

import typer

from node.cli.running import serve_until_told
from node.cli.session import Session, command
from node.config import load_config
from node.home import Home
from node.interop.ready import KEY_FILE, MODULE, check_installed
from node.logs import configure_logging, logger
from p2p.address import parse_place

app = typer.Typer()


@command(app)
def interop(
    session: Session,
    listen: Annotated[str, typer.Option(metavar="[ADDR]:PORT", help="IPv6 address and UDP port, 0 for any.")],
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Listen for stock libp2p over QUIC, with X25519 where a peer has nothing better. Read-only; off unless started.

    The node is asked through its API (--node). `nexus start --open-listen [ADDR]:PORT` runs this beside the node.
    """
    place = parse_place(listen, 0)
    check_installed()
    home = Home(session.home)
    config = load_config(home.config, os.environ) if home.config.exists() else None
    configure_logging(config.log_level if config else "info", config.log_format if config else "console")
    gateway = importlib.import_module(MODULE)
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    seed = gateway.load_seed(home.keys / KEY_FILE)
    gateway.bound_memory()
    serve_until_told(partial(gateway.serve, place, session.url, seed, _ready))


def _ready(address: str) -> None:
    logger("p2p").info("open to stock libp2p", address=address)


def _end_with_parent() -> None:
    """End this process when its parent closes the pipe, however it died."""
    os.read(0, 1)
    os._exit(1)
