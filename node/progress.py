"""How far a node is that joins by a snapshot: told by whoever does it, shown in the log, by the API and by metrics."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.logs import logger
from state.types import Height

_log = logger("p2p")
TELL_EVERY: Final = 2.0
"""Seconds between two lines of the log about one stage."""
_NONE: Final = Height(0)


class Stage(StrEnum):
    """What a joining node is doing."""

    PEERS = "peers"
    """It waits for peers to say where they stand and what they offer."""
    HEADERS = "headers"
    """It verifies headers up to a snapshot."""
    CHUNKS = "chunks"
    """It fetches and checks the chunks of the snapshot."""
    CHECKING = "checking"
    """Everything is here; it is put together, and its root looked at."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a joining node is.

    Attributes:
        stage: what it is doing.
        peers: connections.
        best: the greatest height that a peer claims; 0 for none.
        height: of the snapshot; 0 before one is chosen.
        done: chunks that are here.
        total: chunks of the snapshot; 0 before one is chosen.
        bytes: of all chunks.
        seconds_left: of the chunks, at the pace so far; None if it is not known.
    """

    stage: Stage
    peers: int = 0
    best: Height = _NONE
    height: Height = _NONE
    done: int = 0
    total: int = 0
    bytes: int = 0
    seconds_left: int | None = None

    @property
    def share(self) -> float:
        """How much of the chunks is here, from 0 to 1."""
        return self.done / self.total if self.total else 0.0

    def sentence(self) -> str:
        """Return it for a person."""
        match self.stage:
            case Stage.PEERS:
                return f"joining: {self.peers} peers, waiting for what they offer"
            case Stage.HEADERS:
                return f"joining: verifying headers up to {self.height}, the network is at {self.best}"
            case Stage.CHECKING:
                return f"joining: the snapshot of height {self.height} is here and is checked"
        left = "" if self.seconds_left is None else f", {self.seconds_left} s left"
        size = f"{self.bytes / 1e6:.1f} MB"
        return f"joining: {self.done} of {self.total} chunks ({size}) of height {self.height}{left}"


Tell = Callable[[Progress], None]


class Board:
    """Where whoever joins writes how far it is, for whoever asks.

    Attributes:
        progress: the last word; None if nothing is being joined.
    """

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._logged = -math.inf

    def tell(self, progress: Progress) -> None:
        """Take the last word, and say it in the log if the stage has changed or a while has passed."""
        last, self.progress = self.progress, progress
        now = time.monotonic()
        if last is None or last.stage is not progress.stage or now - self._logged >= TELL_EVERY:
            self._logged = now
            _log.info(progress.sentence(), stage=progress.stage.value, height=progress.height, done=progress.done,
                      chunks=progress.total, seconds_left=progress.seconds_left)

    def clear(self) -> None:
        """Nothing is being joined any more."""
        self.progress = None


FIRST_WORD: Final = Progress(Stage.PEERS)
"""What is told before anything is known."""
