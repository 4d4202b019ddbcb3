"""Protocol versions: which rules a block, and the transactions in it, are made by.

A chain begins with the version of its genesis document and changes it at heights that its validators agree on
(`apps.chain.upgrade`). A program that knows the next version goes on; another one stops before that height.
"""

from typing import Final

from crypto.errors import Reason, Refused

SUPPORTED_VERSIONS: Final[tuple[int, ...]] = (1,)
"""Every version whose rules this program knows, in rising order."""
PROTOCOL_VERSION: Final = SUPPORTED_VERSIONS[-1]
"""What a new chain begins with."""
MAX_VERSION: Final = 255
"""Versions are numbers from 1."""


def check_known(version: int, versions: tuple[int, ...], what: str) -> None:
    """Refuse what was made by rules that this program does not know. Raises Refused(WRONG_VERSION).

    Args:
        version: of the thing.
        versions: that are known.
        what: names the thing.
    """
    if version not in versions:
        raise Refused(Reason.WRONG_VERSION, f"{what} is of protocol version {version}, this program knows "
                      f"{', '.join(map(str, versions))}")
