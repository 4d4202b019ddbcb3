"""What comes of a laboratory's run: verdicts, figures, and what happened when."""

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """One thing that had to hold. `detail` says what was seen."""

    what: str
    holds: bool
    detail: str


class Happening(msgspec.Struct, frozen=True):
    """Something that happened, `seconds` after the run began, when the network was at `height`."""

    seconds: float
    height: int
    text: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How much there was of what."""

    seconds: float
    """From the first start of a node to the last look."""
    height: int
    committed: int
    """Payments that a node called committed."""
    late: int
    """How often a payment that was accepted was in no block for some time."""
    refused: dict[str, int]
    """Payments that were not taken, or not answered, by reason."""
    datagrams: int
    """That the router handed over; 0 if nothing stood between the nodes."""
    lost: int
    """Datagrams that it lost."""


class LabReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a whole."""

    name: str
    about: str
    passed: bool
    verdicts: list[Verdict]
    figures: Figures
    happenings: list[Happening]
