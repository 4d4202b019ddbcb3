"""`nexus peers`: whom the running node talks with, and whom it shall or shall not."""

from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from node.admin import AddPeer, AllowPeer, BanPeer, FindPeer, ListPeers, ask_peers
from node.cli.session import Session, command
from node.home import open_home
from p2p.address import parse_peer_address, parse_peer_id

app = typer.Typer(no_args_is_help=True)
NodeId = Annotated[str, typer.Argument(help="Node id: 64 hexadecimal digits.")]


@command(app, "list")
def list_peers(session: Session) -> None:
    """Show who is connected, who does not answer, which addresses are known, and who is shut out."""
    session.show(ask_peers(open_home(session.home).admin, ListPeers()))


@command(app)
def add(
    session: Session, peer: Annotated[str, typer.Argument(help="ID@[ADDR]:PORT")]
) -> None:
    """Stay connected with a peer until the node stops."""
    try:
        parse_peer_address(peer)
    except Refused as refused:
        raise Refused(Reason.USAGE, refused.detail) from None
    ask_peers(open_home(session.home).admin, AddPeer(peer))
    session.show({"added": peer})
    session.note("To keep it over a restart, name it in persistent_peers of config.toml, too.")


@command(app)
def find(session: Session, node_id: NodeId) -> None:
    """Ask the DHT where a node is, and keep its record in the address book."""
    report = ask_peers(open_home(session.home).admin, FindPeer(_checked(node_id)))
    session.show([peer for peer in report.known if peer.peer.startswith(node_id)])


@command(app)
def ban(
    session: Session, node_id: NodeId,
    hours: Annotated[float, typer.Option(min=0, max=87600, help="For how long; 0 is for ever.")] = 0,
) -> None:
    """Shut a peer out: its connection ends and none is made. The address book keeps it over a restart."""
    ask_peers(open_home(session.home).admin, BanPeer(_checked(node_id), round(hours * 3600)))
    session.show({"banned": node_id})


@command(app)
def allow(session: Session, node_id: NodeId) -> None:
    """Let a peer in again that was shut out."""
    ask_peers(open_home(session.home).admin, AllowPeer(_checked(node_id)))
    session.show({"allowed": node_id})


def _checked(node_id: str) -> str:
    try:
        parse_peer_id(node_id)
    except Refused as refused:
        raise Refused(Reason.USAGE, refused.detail) from None
    return node_id
