import hashlib
from itertools import permutations

from crypto.hashing import Label, digest, hasher


def test_digest_is_the_documented_formula() -> None:
    assert Label.TX.value == b"nexus/tx/1"
    assert digest(Label.TX, b"data") == hashlib.sha3_256(b"\x0anexus/tx/1data").digest()
    assert hasher(Label.TX)(b"data") == digest(Label.TX, b"data")


def test_no_label_is_the_beginning_of_another() -> None:
    prefixes = [label.prefix for label in Label.__members__.values()]
    assert len(set(prefixes)) == len(prefixes) == len(Label)
    assert not any(long.startswith(short) for short, long in permutations(prefixes, 2))
