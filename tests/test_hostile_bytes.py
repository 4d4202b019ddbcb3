"""Every strict decoder of the code base against random, truncated and mutated bytes.

The codecs are found by looking through the modules, and their samples are made from their types, so that a new
message is tested as soon as its codec exists.
"""

import importlib
import importlib.util
import pkgutil
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import msgspec.inspect as kinds
import pytest

import apps
import consensus
import crypto
import node.light
import p2p
import state
from crypto.errors import Refused
from state.encoding import Codec, encode

ROUNDS = 60


def all_codecs() -> dict[str, Codec[Any]]:
    found: dict[str, Codec[Any]] = {}
    for package in (crypto, state, consensus, apps, p2p, node.light):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if info.name.startswith("p2p.gossip.") and importlib.util.find_spec("libp2p") is None:
                continue  # an extra
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if isinstance(value, Codec):
                    found.setdefault(f"{value.name}@{info.name}.{name}", value)
    for module in importlib.import_module("apps.registry").MODULES:
        for name, message in module.messages.items():
            found.setdefault(f"{message.codec.name}@{name}", message.codec)
    return found


CODECS = all_codecs()


def sample(kind: kinds.Type, rng: random.Random) -> Any:
    """Make a value of a type, its limits kept."""
    match kind:
        case kinds.BytesType(min_length=low, max_length=high):
            return rng.randbytes(rng.randint(low or 0, min(high if high is not None else 40, (low or 0) + 40)))
        case kinds.StrType(min_length=low, max_length=high):
            return "a" * rng.randint(low or 0, min(high if high is not None else 12, (low or 0) + 12))
        case kinds.IntType(ge=low, le=high):
            top = high if high is not None else 2**63 - 1
            return rng.choice([low or 0, min(top, (low or 0) + rng.getrandbits(40))])
        case kinds.BoolType():
            return rng.random() < 0.5
        case kinds.EnumType(cls=cls):
            return rng.choice(list(cls))
        case kinds.TupleType(item_types=items):
            return tuple(sample(item, rng) for item in items)
        case kinds.VarTupleType(item_type=item, min_length=low, max_length=high):
            length = (low or 0) + rng.randint(0, 2)
            return tuple(sample(item, rng) for _ in range(length if high is None else min(high, length)))
        case kinds.UnionType(types=choices):
            return sample(rng.choice(choices), rng)
        case kinds.StructType(cls=cls, fields=fields):
            return cls(*(sample(field.type, rng) for field in fields))
        case kinds.Metadata(type=inner):
            return sample(inner, rng)
    raise AssertionError(f"no sample for {kind}")


def valid_bytes(codec: Codec[Any], rng: random.Random) -> bytes:
    return encode(sample(kinds.type_info(codec.kind), rng))


def mutations(raw: bytes, rng: random.Random) -> Iterator[bytes]:
    yield raw[: rng.randrange(len(raw))]
    yield raw + rng.randbytes(rng.randint(1, 4))
    flipped = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        flipped[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    yield bytes(flipped)
    start = rng.randrange(len(raw))
    yield raw[:start] + raw[start + rng.randint(1, 8) :]
    yield raw[:start] + rng.randbytes(rng.randint(1, 9)) + raw[start:]
    # a length header that promises more than there is
    yield raw[:start] + rng.choice([b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff"])
    yield b"\x91" * 2000 + raw


def check(codec: Codec[Any], raw: bytes) -> bool:
    try:
        value = codec.decode(raw)
    except Refused:
        return False
    assert encode(value) == raw, "accepted bytes that are not the value's own"
    return True


@pytest.mark.parametrize("name", sorted(CODECS))
def test_decoder_takes_its_own_bytes_and_refuses_the_rest_by_name(name: str) -> None:
    codec, rng = CODECS[name], random.Random(name)
    for _ in range(ROUNDS):
        raw = valid_bytes(codec, rng)
        assert check(codec, raw)
        for mutated in mutations(raw, rng):
            check(codec, mutated)
        check(codec, rng.randbytes(rng.randint(0, 300)))


@pytest.mark.parametrize("name", sorted(CODECS))
def test_decoder_caps_size_before_reading(name: str) -> None:
    codec = CODECS[name]
    with pytest.raises(Refused) as refused:
        Codec(codec.kind, max_size=8).decode(bytes(9))
    assert refused.value.reason.value == "too_large"


def test_a_wrong_type_is_not_coerced() -> None:
    class Pair(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
        number: int
        data: bytes

    codec: Codec[Pair] = Codec(Pair)
    for raw in (
        b"\x92\xcc\x05\xc4\x01a",  # 5 in two bytes
        b"\x92\x05\xc5\x00\x01a",  # one byte with a long header
        b"\x92\xcb\x40\x14\x00\x00\x00\x00\x00\x00\xc4\x01a",  # 5.0
        b"\x92\x05\xa1a",  # text for bytes
        b"\xdc\x00\x02\x05\xc4\x01a",  # long array header
        b"\x93\x05\xc4\x01a\x01",  # one field too many
        b"\x91\x05",  # one too few
    ):
        with pytest.raises(Refused):
            codec.decode(raw)
    assert codec.decode(b"\x92\x05\xc4\x01a") == Pair(5, b"a")
