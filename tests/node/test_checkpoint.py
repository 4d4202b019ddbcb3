"""Checkpoint files: what holds together is taken, what was bent is refused by name."""

import base64
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.light.answer import RememberingVerifier
from node.light.checkpoint import load_checkpoint, make_checkpoint, read_checkpoint
from state.encoding import encode
from tests.node.test_light_attacks import CHAIN

VERIFIER = RememberingVerifier(SchemeVerifier())
BLOCK = CHAIN.light_block(7)
GOOD = make_checkpoint(BLOCK)


def reason_of(raw: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        read_checkpoint(raw, VERIFIER)
    return caught.value.reason


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(GOOD) | fields)


def packed(block: Any) -> str:
    return base64.b64encode(encode(block)).decode()


def test_a_block_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(GOOD)
    assert load_checkpoint(file, SchemeVerifier()) == BLOCK
    readable = msgspec.json.decode(GOOD)
    assert (readable["height"], readable["hash"]) == ("7", BLOCK.header.block_id.hex())
    with pytest.raises(Refused) as caught:
        load_checkpoint(tmp_path / "none", VERIFIER)
    assert caught.value.reason is Reason.BAD_ARGUMENT


def test_what_was_bent_is_refused_by_name() -> None:
    other = CHAIN.light_block(8)
    few = msgspec.structs.replace(
        BLOCK, commit=msgspec.structs.replace(BLOCK.commit, signatures=BLOCK.commit.signatures[:2])
    )
    assert reason_of(b"") is Reason.MALFORMED and reason_of(b"[]") is Reason.MALFORMED
    assert reason_of(changed(format="nexus-checkpoint/2")) is Reason.MALFORMED
    assert reason_of(changed(height="8")) is Reason.BAD_HEADER
    assert reason_of(changed(hash="ab" * 32)) is Reason.BAD_HEADER
    assert reason_of(changed(chain_id="ab" * 32)) is Reason.BAD_HEADER
    assert reason_of(changed(light_block=packed(other))) is Reason.BAD_HEADER
    assert reason_of(changed(light_block=packed(few))) is Reason.BAD_COMMIT
    mixed = msgspec.structs.replace(BLOCK, commit=other.commit)
    assert reason_of(changed(light_block=packed(mixed))) is Reason.BAD_COMMIT


def test_no_flipped_bit_changes_what_a_file_says() -> None:
    draw = random.Random(3)
    for place in draw.sample(range(len(GOOD)), 300):
        bent = bytearray(GOOD)
        bent[place] ^= 1 << draw.randrange(8)
        try:
            assert read_checkpoint(bytes(bent), VERIFIER) == BLOCK  # such as a space for a line's end
        except Refused as refused:
            assert refused.reason in Reason
