"""What the indexer is told: which database, which node, where to keep the height. Needs no SQLAlchemy."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from crypto.errors import Reason, Refused
from node.client import checked_url

SNAPSHOT_EVERY: Final = 100
MODULE: Final = "node.indexer.follow"
"""Imports SQLAlchemy, an extra: it is imported by name once `check_installed` has passed."""
SQLITE: Final = "sqlite"
DRIVERS: Final = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", SQLITE: SQLITE}
"""The scheme of a DATABASE_URL, and the dialect and driver that it stands for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the indexer runs.

    Attributes:
        database: URL for SQLAlchemy, driver included.
        node: URL of the node's API.
        height_file: where the last height is written after each block, or None.
        snapshot_every: blocks from one row of the table `snapshot` to the next.
        until: the height after which it ends, or None for never.
    """

    database: str
    node: str
    height_file: Path | None = None
    snapshot_every: int = SNAPSHOT_EVERY
    until: int | None = None


def check_installed() -> None:
    """Refuse to begin without the packages of the extra. Raises Refused(BAD_CONFIG)."""
    missing = [name for name in ("sqlalchemy", "psycopg") if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(
            Reason.BAD_CONFIG, f"the indexer needs the extra indexer, of which {' and '.join(missing)} is not "
            "installed: pip install 'nexus-node[indexer]'",
        )


def database_url(text: str) -> str:
    """Return a DATABASE_URL with the driver that we use. Raises Refused(USAGE).

    Args:
        text: `postgresql://USER:PASSWORD@HOST:PORT/NAME` or `sqlite:///PATH`.
    """
    scheme, separator, rest = text.partition("://")
    driver = DRIVERS.get(scheme.partition("+")[0])
    if not separator or driver is None:
        # The text is not repeated: it may hold a password.
        raise Refused(Reason.USAGE, "DATABASE_URL is postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///PATH")
    if driver == SQLITE:
        path = rest.removeprefix("/")
        if not path or ":memory:" in path:
            raise Refused(Reason.USAGE, "the indexer keeps its database: sqlite:///PATH needs the path of a file")
        if not Path(path).absolute().parent.is_dir():
            raise Refused(Reason.USAGE, f"the folder of {path} does not exist")
    return f"{driver}://{rest}"


def node_url(text: str) -> str:
    """Return the API's URL that a NYKS_BLOCK_SUBSCRIBER_URL means: http(s), or the websocket's own address.

    Raises:
        Refused: USAGE.
    """
    parts = urlsplit(text)
    if parts.scheme in ("ws", "wss"):
        text = "http" + text.rstrip("/").removesuffix("/ws").removeprefix("ws")
    return checked_url(text)
