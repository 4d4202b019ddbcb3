"""The state root by definition: built anew from content alone, without a thought of speed."""

from collections.abc import Iterator, Mapping

from crypto.hashing import Label, digest
from state.columns import STATE, state_row


def root_of(records: Mapping[bytes, bytes]) -> bytes:
    """Return the root over raw key -> value."""
    leaves = sorted(
        (digest(Label.STATE_KEY, key), digest(Label.STATE_LEAF, value)) for key, value in records.items()
    )
    return _node(leaves, 0)


def _node(leaves: list[tuple[bytes, bytes]], depth: int) -> bytes:
    hashes, counts = [], []
    for digit in "0123456789abcdef":
        part = [leaf for leaf in leaves if leaf[0].hex()[depth] == digit]
        counts.append(len(part))
        if not part:
            hashes.append(bytes(32))
        elif len(part) <= 32:
            hashes.append(digest(Label.STATE_PAGE, b"".join(key + value for key, value in part)))
        else:
            hashes.append(_node(part, depth + 1))
    return digest(Label.STATE_NODE, b"".join(hashes) + b"".join(count.to_bytes(4, "big") for count in counts))


class Records:
    """A view of the state column over a dictionary of raw key -> value."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        self.records = dict(records)

    def get(self, key: bytes) -> bytes | None:
        raise AssertionError("the tree only scans")

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        rows = ((STATE + digest(Label.STATE_KEY, key), state_row(key, value)) for key, value in self.records.items())
        return iter(sorted(row for row in rows if start <= row[0] < stop))
