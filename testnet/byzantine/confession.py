"""What a lying node's log says of its lies: when it told them, and about which height."""

from datetime import datetime
from typing import NamedTuple


class Lie(NamedTuple):
    """One lie: seconds since 1970 when it was told, which behaviour it was, and the height it is about."""

    at: float
    what: str
    height: int


def first_lie(log: str) -> Lie | None:
    """Return the first lie in a node's log of the form for people, or None."""
    for line in log.splitlines():
        words = line.split()
        fields = dict(word.split("=", 1) for word in words if "=" in word)
        if "lie" in words and "what" in fields:
            return Lie(datetime.fromisoformat(words[0]).timestamp(), fields["what"], int(fields["height"]))
    return None
