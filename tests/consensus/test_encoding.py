"""Every consensus decoder takes its own bytes back and refuses all others by name; real keys sign what it says."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.evidence import duplicate_vote
from consensus.light import LightBlock, light_block_codec
from consensus.log import BlockEntry, HeightEntry, VoteEntry, entry_codec
from consensus.relay import RoundStatus, VoteSet, status_codec
from consensus.round_machine import RoundStep
from consensus.signing import KeySigner, SchemeVerifier
from consensus.types import (
    NIL,
    Block,
    VoteKind,
    block_codec,
    commit_codec,
    header_codec,
    make_validator_set,
    proposal_codec,
    validator_set_codec,
    vote_codec,
    vote_sign_bytes,
)
from crypto.errors import Reason, Refused
from crypto.keys import KeyTree, new_phrase
from state.encoding import Codec, encode
from state.types import Height, Round
from tests.consensus.parts import CHAIN, commit_of, genesis_tip, hash32, make_validators, offered, signed_vote

TIP = genesis_tip(make_validators([10] * 4))
EVIDENCE = duplicate_vote(
    TIP.validators.validators[1].address,
    signed_vote(TIP, 1, VoteKind.PREVOTE, 0, NIL), signed_vote(TIP, 1, VoteKind.PREVOTE, 0, hash32("x")),
)
PROPOSAL = offered(TIP, 0, wtxids=["a", "b"], evidence=[EVIDENCE])
COMMIT = commit_of(TIP, PROPOSAL, range(3))
STATUS = RoundStatus(
    Height(1), Round(0), RoundStep.PREVOTE, ((Round(0), PROPOSAL.block_id),),
    (VoteSet(VoteKind.PREVOTE, Round(0), PROPOSAL.block_id, b"\x05"),),
)
VALUES: list[tuple[Codec[Any], Any]] = [
    (header_codec, PROPOSAL.header),
    (vote_codec, EVIDENCE.first),
    (commit_codec, COMMIT),
    (proposal_codec, PROPOSAL),
    (block_codec, Block(PROPOSAL.header, (b"body",), COMMIT, (EVIDENCE,))),
    (validator_set_codec, TIP.validators),
    (status_codec, STATUS),
    (light_block_codec, LightBlock(PROPOSAL.header, COMMIT, TIP.validators)),
    (entry_codec, VoteEntry(EVIDENCE.first)),
    (entry_codec, BlockEntry(PROPOSAL, (b"body",))),
    (entry_codec, HeightEntry(Height(3))),
]
EACH = pytest.mark.parametrize(("codec", "value"), VALUES, ids=[type(value).__name__ for _, value in VALUES])
DECODING = {Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.TOO_LARGE}


def outcome(codec: Codec[Any], raw: bytes) -> Any:
    try:
        return codec.decode(raw)
    except Refused as error:
        assert error.reason in DECODING
        return error.reason


@EACH
def test_round_trip_and_every_truncation(codec: Codec[Any], value: Any) -> None:
    raw = encode(value)
    assert codec.decode(raw) == value
    assert msgpack.packb(msgpack.unpackb(raw)) == raw
    for size in range(len(raw)):
        assert outcome(codec, raw[:size]) in DECODING
    assert outcome(codec, raw + b"\0") in DECODING


@EACH
@settings(max_examples=40)
@given(data=st.data())
def test_mutations_are_refused_or_decode_to_what_encodes_back(codec: Codec[Any], value: Any, data: Any) -> None:
    raw = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    got = outcome(codec, bytes(raw))
    assert got in DECODING if isinstance(got, Reason) else encode(got) == bytes(raw)


@EACH
@settings(max_examples=20)
@given(noise=st.binary(max_size=300))
def test_noise(codec: Codec[Any], value: Any, noise: bytes) -> None:
    got = outcome(codec, noise)
    assert isinstance(got, Reason) or encode(got) == noise


def test_a_double_address_is_no_validator_set() -> None:
    one = TIP.validators.validators[0]
    with pytest.raises(Refused) as refused:
        make_validator_set([one, one])
    assert refused.value.reason is Reason.BAD_ARGUMENT


def test_real_keys_sign_votes_and_nothing_else_passes() -> None:
    signer = KeySigner(KeyTree.from_phrase(new_phrase()).consensus())
    message = vote_sign_bytes(CHAIN, VoteKind.PREVOTE, Height(1), Round(0), NIL)
    signed, again = signer.sign(message), signer.sign(message)
    assert signed != again
    verify: Callable[[bytes, bytes, bytes], bool] = SchemeVerifier().verify
    assert verify(signer.public_key, message, signed) and verify(signer.public_key, message, again)
    others = [
        vote_sign_bytes(CHAIN, VoteKind.PRECOMMIT, Height(1), Round(0), NIL),
        vote_sign_bytes(CHAIN, VoteKind.PREVOTE, Height(2), Round(0), NIL),
        vote_sign_bytes(CHAIN, VoteKind.PREVOTE, Height(1), Round(1), NIL),
    ]
    assert not any(verify(signer.public_key, other, signed) for other in others)
    assert not verify(signer.public_key, message, b"") and not verify(b"", message, signed)
