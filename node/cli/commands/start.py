"""Run the node of a home until it is told to stop."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from node.api.text import hash_from
from node.cli.passwords import PasswordFile, read_password
from node.cli.session import Session, command
from node.cli.sign_state import take_over
from node.home import open_home
from node.interop.child import Beside, listener, nothing
from node.interop.ready import check_installed
from node.keystore import CONSENSUS_KEY, NODE_KEY, is_sealed
from node.light.roots import HeaderRoot
from node.node import run_node
from node.rejoining import Joining
from p2p.address import parse_place
from state.types import BlockId, Height

app = typer.Typer()


class Sync(StrEnum):
    """How to join."""

    AUTO = "auto"
    BLOCKS = "blocks"


@command(app)
def start(
    session: Session,
    standby: Annotated[
        bool, typer.Option("--standby", help="Take over for the machine whose last-sign state was exported.")
    ] = False,
    sign_state: Annotated[
        Path | None, typer.Option(help="What `nexus validator sign-state export` wrote, for --standby.")
    ] = None,
    trust_height: Annotated[int, typer.Option(min=0, help="Height of a recent block that is trusted.")] = 0,
    trust_hash: Annotated[str, typer.Option(help="Id of that block: joins by a snapshot.")] = "",
    sync: Annotated[Sync, typer.Option(help="How to join when the chain is far ahead.")] = Sync.AUTO,
    open_listen: Annotated[str, typer.Option(
        metavar="[ADDR]:PORT", help="Also let peers of stock libp2p listen and ask for proofs (nexus interop).",
    )] = "",
    password_file: PasswordFile = None,
) -> None:
    """Run the node: SIGTERM or Ctrl-C stops it cleanly. A password is needed only if its own keys are sealed.

    A node far behind joins by a snapshot: with --trust-height and --trust-hash, or by itself while genesis or its own
    chain is younger than the trust period. Else, and with --sync blocks, it fetches every block.
    """
    home = open_home(session.home)
    if bool(trust_height) != bool(trust_hash):
        raise Refused(Reason.USAGE, "--trust-height and --trust-hash belong together")
    if trust_hash and sync is Sync.BLOCKS:
        raise Refused(Reason.USAGE, "--sync blocks verifies every block and needs no --trust-hash: leave one out")
    root = HeaderRoot(Height(trust_height), BlockId(hash_from(trust_hash))) if trust_hash else None
    joining = None if sync is Sync.BLOCKS else Joining(root)
    if standby != (sign_state is not None):
        raise Refused(
            Reason.USAGE, "a standby takes over with --standby and --sign-state FILE, and only so: stop the other "
            "machine, export there with nexus validator sign-state export FILE, and bring the file here",
        )
    if sign_state is not None:
        take_over(home, sign_state, password_file)
    files = [home.keys / f"{name}.json" for name in (CONSENSUS_KEY, NODE_KEY)]
    sealed = any(is_sealed(path) for path in files if path.exists())
    password = read_password(password_file, "the node's keys") if sealed else None
    beside: Beside = nothing
    if open_listen:
        parse_place(open_listen, 0)
        check_installed()
        beside = listener(session.home.resolve(), open_listen)
    run_node(session.home, os.environ, password, joining=joining, beside=beside)
