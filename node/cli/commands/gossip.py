"""`nexus gossip`: what the running node passes on, and announcements of federated learning."""

from enum import StrEnum
from typing import Annotated

import typer

from crypto.errors import Reason, Refused
from node.admin import AnnounceLearning, ShowGossip, ask_gossip
from node.cli.session import Session, command
from node.home import open_home

app = typer.Typer(no_args_is_help=True)
DIGEST = 64
"""Hexadecimal digits of 32 bytes."""


class Stage(StrEnum):
    """What is announced."""

    ROUND = "round"
    UPDATE = "update"
    MODEL = "model"


@command(app)
def show(session: Session) -> None:
    """Show who gossips with this node, with their scores, and what went through each topic."""
    session.show(ask_gossip(open_home(session.home).admin, ShowGossip()))


@command(app)
def announce(
    session: Session,
    task: Annotated[str, typer.Argument(help="The task's id: 64 hexadecimal digits.")],
    round: Annotated[int, typer.Argument(min=0, max=2**31 - 1, help="Of the task.")],
    stage: Annotated[Stage, typer.Argument(help="round: it is open; update: of a participant; model: what it gave.")],
    content: Annotated[str, typer.Argument(help="Digest of what this node holds: 64 hexadecimal digits.")],
    size: Annotated[int, typer.Argument(min=0, help="Its bytes.")],
) -> None:
    """Tell the network that this node holds something of a round of federated learning: a digest, not the data."""
    number = list(Stage).index(stage) + 1
    order = AnnounceLearning(_digest("TASK", task), round, number, _digest("CONTENT", content), size)
    session.show(ask_gossip(open_home(session.home).admin, order))


def _digest(name: str, text: str) -> str:
    if len(text) != DIGEST or set(text.lower()) - set("0123456789abcdef"):
        raise Refused(Reason.USAGE, f"{name} is {DIGEST} hexadecimal digits")
    return text.lower()
