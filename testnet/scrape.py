"""Reads a node's metrics as Prometheus does."""

from collections.abc import Iterator

import httpx

from crypto.errors import Reason, Refused
from testnet.manifest import Member

TIMEOUT = 5.0
"""Seconds that a node gets to answer."""


class Scraper:
    """Asks nodes for their metrics over kept connections. Use as a context manager."""

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=TIMEOUT)

    def __enter__(self) -> "Scraper":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def values(self, member: Member, name: str) -> Iterator[tuple[str, float]]:
        """Yield labels (as Prometheus writes them, or empty) and value of each sample of this name.

        Raises:
            Refused: UNREACHABLE.
        """
        try:
            text = self._client.get(f"http://[::1]:{member.metrics_port}/metrics").text
        except httpx.HTTPError as error:
            raise Refused(Reason.UNREACHABLE, f"{member.name} shows no metrics: {error}") from None
        for line in text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name:
                yield sample.partition("{")[2].rstrip("}"), float(value)

    def total(self, member: Member, name: str) -> float:
        """Return the sum over all labels; 0 if there is no such sample."""
        return sum(value for _, value in self.values(member, name))
