"""One value, one byte string: against the MessagePack test suite and against `msgpack` as a second encoder."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import state.transaction as tx
from crypto.errors import Reason, Refused
from state.encoding import MAX_FRAME, Codec, Record, encode
from state.receipt import Event, Receipt, receipt_codec
from state.types import MAX_AMOUNT, MAX_INT
from state.zkvm.scripts import CallProof

CODECS: list[Codec[Any]] = [
    tx.transaction_codec, tx.body_codec, receipt_codec, Codec(tx.OutPoint), Codec(tx.Coin), Codec(tx.Memo),
    Codec(tx.State), Codec(tx.Transfer), Codec(tx.Call), Codec(tx.Script), Codec(tx.Message), Codec(tx.Witness),
]


def plain(value: Any) -> Any:
    """Return a record as nested lists, tags first, as docs/protocol.md writes it down."""
    if isinstance(value, Record):
        tag = value.__struct_config__.tag
        fields = [plain(getattr(value, name)) for name in value.__struct_fields__]
        return fields if tag is None else [tag, *fields]
    return [plain(item) for item in value] if isinstance(value, tuple) else value


INTS = st.integers(0, MAX_INT)
HASHES = st.binary(min_size=32, max_size=32)
AMOUNTS = st.integers(0, MAX_AMOUNT)
OUTPOINTS = st.builds(tx.OutPoint, HASHES, st.integers(0, 2**32 - 1))
COINS = st.builds(tx.Coin, st.sampled_from([b"", b"a" * 32]), HASHES, AMOUNTS)
ASSETS = st.sampled_from([b"", b"a" * 32])
MEMOS = st.builds(tx.Memo, HASHES, HASHES, ASSETS, HASHES, st.binary(max_size=300), INTS, INTS)
STATES = st.builds(
    tx.State, INTS, HASHES, HASHES, ASSETS, HASHES, st.lists(st.binary(max_size=40), max_size=20).map(tuple), INTS, INTS
)
TRANSFERS = st.builds(
    tx.Transfer, st.lists(OUTPOINTS, min_size=1, max_size=20).map(tuple),
    st.lists(COINS | MEMOS | STATES, max_size=20).map(tuple),
)
MESSAGES = st.builds(tx.Message, st.text(min_size=3, max_size=48), st.binary(max_size=300))
CALLS = st.builds(tx.Call, HASHES, INTS, INTS, st.lists(MESSAGES, min_size=1, max_size=16).map(tuple))
PATHS = st.lists(HASHES, max_size=16).map(tuple)
CALL_PROOFS = st.builds(CallProof, st.integers(0, 65535), st.integers(1, 65536), PATHS)
SCRIPTS = st.builds(
    tx.Script, st.lists(OUTPOINTS, min_size=1, max_size=9).map(tuple),
    st.lists(COINS | MEMOS | STATES, max_size=9).map(tuple), st.binary(max_size=300), CALL_PROOFS,
    st.lists(st.binary(max_size=30), max_size=9).map(tuple), st.lists(HASHES, max_size=4).map(tuple), INTS, INTS,
)
BODIES = st.builds(
    tx.Body, st.integers(0, 255), HASHES, HASHES, INTS, INTS, AMOUNTS, TRANSFERS | CALLS | SCRIPTS
)
WITNESSES = st.builds(tx.Witness, HASHES, st.binary(max_size=2000), st.binary(max_size=1300))
TRANSACTIONS = st.builds(
    tx.Transaction, BODIES.map(encode), st.lists(WITNESSES, min_size=1, max_size=20).map(tuple)
)
EVENTS = st.builds(Event, st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=4).map(tuple))
RECEIPTS = st.builds(
    Receipt, HASHES, HASHES, INTS, INTS, st.just("out_of_gas"), st.text(max_size=100), AMOUNTS, INTS, INTS,
    st.lists(EVENTS, max_size=3).map(tuple),
)


@given(st.one_of(BODIES, TRANSACTIONS, RECEIPTS, WITNESSES, CALLS, TRANSFERS, SCRIPTS, STATES, MEMOS, COINS, OUTPOINTS))
def test_a_second_encoder_gives_the_same_bytes(value: Record) -> None:
    raw = encode(value)
    assert msgpack.packb(plain(value), use_bin_type=True) == raw
    assert Codec(type(value), max_size=1 << 24).decode(raw) == value


@given(TRANSACTIONS)
def test_decoding_a_transaction_keeps_its_bytes(transaction: tx.Transaction) -> None:
    raw = encode(transaction)
    decoded = tx.decode_transaction(raw)
    assert (decoded.raw, encode(decoded.transaction), encode(decoded.body)) == (raw, raw, transaction.body)


@given(st.sampled_from(CODECS), st.binary(max_size=200))
def test_random_bytes(codec: Codec[Any], raw: bytes) -> None:
    try:
        assert encode(codec.decode(raw)) == raw
    except Refused as refused:
        assert refused.reason in {Reason.MALFORMED, Reason.NOT_CANONICAL}


@given(TRANSACTIONS, st.randoms(use_true_random=False))
def test_truncated_and_changed_bytes(transaction: tx.Transaction, rng: random.Random) -> None:
    raw = encode(transaction)
    place = rng.randrange(len(raw))
    with pytest.raises(Refused):
        tx.transaction_codec.decode(raw[:place])
    with pytest.raises(Refused):
        tx.transaction_codec.decode(raw + b"\0")
    changed = raw[:place] + bytes([raw[place] ^ rng.randrange(1, 256)]) + raw[place + 1 :]
    try:
        assert tx.transaction_codec.decode(changed) != transaction
    except Refused as refused:
        assert refused.reason in {Reason.MALFORMED, Reason.NOT_CANONICAL}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x92\xc5\x00\x20" + bytes(32) + b"\x01", Reason.NOT_CANONICAL),  # long header of a short string
        (b"\x92\xc4\x20" + bytes(32) + b"\xcc\x01", Reason.NOT_CANONICAL),  # small number in two bytes
        (b"\xdc\x00\x02\xc4\x20" + bytes(32) + b"\x01", Reason.NOT_CANONICAL),  # long header of a short array
        (b"\x92\xc4\x20" + bytes(32) + b"\xff", Reason.MALFORMED),  # negative
        (b"\x92\xc4\x20" + bytes(32) + b"\xce\xff\xff\xff\xff", None),  # the largest index
        (b"\x92\xc4\x20" + bytes(32) + b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", Reason.MALFORMED),  # one more
        (b"\x92\xc4\x20" + bytes(32) + b"\xca\x3f\x80\x00\x00", None),  # 1.0: see below
        (b"\x93\xc4\x20" + bytes(32) + b"\x01\x01", Reason.MALFORMED),  # a field too many
        (b"\x91\xc4\x20" + bytes(32), Reason.MALFORMED),  # a field too few
        (b"\x92\xc4\x1f" + bytes(31) + b"\x01", Reason.MALFORMED),  # a short hash
        (b"\x92\xd9\x20" + bytes(32) + b"\x01", Reason.MALFORMED),  # text for bytes
        (b"\x82\xa4txid\xc4\x20" + bytes(32) + b"\xa5index\x01", Reason.MALFORMED),  # a map
        (b"\x92\xc4\x20" + bytes(32) + b"\xc0", Reason.MALFORMED),  # nil
        (b"\x92\xc4\x20" + bytes(32) + b"\x01\x01", Reason.MALFORMED),  # trailing byte
        (b"\xdd\xff\xff\xff\xff", Reason.MALFORMED),  # an array of 4 billion
        (b"\x91" * 100_000, Reason.MALFORMED),  # nested without end
        (b"", Reason.MALFORMED),
        (bytes(MAX_FRAME + 1), Reason.TOO_LARGE),
    ],
)
def test_other_forms_of_a_value_are_refused(raw: bytes, reason: Reason | None) -> None:
    codec = Codec(tx.OutPoint)
    if reason is None and not raw.endswith(b"\x80\x00\x00"):
        assert encode(codec.decode(raw)) == raw
        return
    with pytest.raises(Refused) as refused:
        codec.decode(raw)
    if reason is not None:
        assert refused.value.reason is reason


KINDS: dict[str, Any] = {"bool": bool, "binary": bytes, "number": int, "bignum": int, "string": str}


@pytest.mark.vectors
def test_msgpack_test_suite(vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]) -> None:
    """Every form of every case decodes to the case's value; through a codec only the shortest form passes."""
    decoded = strict = 0
    for path in vector_files("msgpack", "*.json"):
        for cases in json.loads(path.read_text()).values():
            for case in cases:
                forms = [bytes.fromhex(form.replace("-", "")) for form in case["msgpack"]]
                for form in forms:
                    assert any(_same(form, name, want) for name, want in case.items()), case
                    decoded += 1
                kind = next((KINDS[name] for name in case if name in KINDS), None)
                if kind is None:
                    for form in forms:
                        with pytest.raises(Refused):
                            Codec(int).decode(form)
                    continue
                codec: Codec[Any] = Codec(kind)
                value = bytes.fromhex(case["binary"].replace("-", "")) if "binary" in case else case[_name(case)]
                value = int(value) if kind is int and float(value).is_integer() else value
                for form in forms:
                    if type(value) is kind and form == encode(value):
                        assert codec.decode(form) == value
                    else:
                        with pytest.raises(Refused) as refused:
                            codec.decode(form)
                        assert refused.value.reason in {Reason.NOT_CANONICAL, Reason.MALFORMED}
                    strict += 1
    tell("MessagePack suite, decoded", decoded)
    tell("MessagePack suite, strict", strict)


def _name(case: dict[str, Any]) -> str:
    return next(name for name in ("bignum", *KINDS) if name in case)


def _same(form: bytes, name: str, want: Any) -> bool:
    if name == "timestamp":  # Python's own dates end in the year 9999
        stamp = msgpack.unpackb(form, timestamp=0)
        return bool([stamp.seconds, stamp.nanoseconds] == want)
    value = msgspec.msgpack.decode(form)
    match name:
        case "binary":
            return bool(value == bytes.fromhex(want.replace("-", "")))
        case "bignum":
            return bool(value == int(want))
        case "ext":
            return bool((value.code, bytes(value.data)) == (want[0], bytes.fromhex(want[1].replace("-", ""))))
        case "msgpack":
            return False
        case _:
            return bool(value == want)
