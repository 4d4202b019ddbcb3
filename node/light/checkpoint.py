"""A checkpoint: one block that somebody vouches for, with its commit and the validators that verify it, in one file.

The file is JSON, so that a person can read height and hash and compare them with what others say. Whoever has it can
check without a network that the validators it names signed the block; that those are the chain's validators is what
the giver vouches for, or what a light client that trusts an older block can check.
"""

import base64
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from consensus.commit import verify_commit
from consensus.effects import Verifier
from consensus.light import MAX_LIGHT_BLOCK, LightBlock, check_light_block, light_block_codec
from crypto.errors import Reason, Refused
from node.api.text import Decimal, Hex32, from_json, to_json
from state.encoding import encode

FORMAT: Final = "nexus-checkpoint/1"
_MAX_FILE: Final = 2 * MAX_LIGHT_BLOCK


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. `time` in ms since 1970; `light_block` is base64 of the canonical bytes: header, commit, validators."""

    format: Annotated[str, Meta(max_length=64)]
    chain_id: Hex32
    height: Decimal
    hash: Hex32
    time: Decimal
    light_block: Annotated[str, Meta(max_length=_MAX_FILE)]


def make_checkpoint(block: LightBlock) -> bytes:
    """Return the file of a block."""
    header = block.header
    checkpoint = Checkpoint(
        format=FORMAT, chain_id=header.chain_id.hex(), height=Decimal(header.height), hash=header.block_id.hex(),
        time=Decimal(header.time), light_block=base64.b64encode(encode(block)).decode(),
    )
    return msgspec.json.format(to_json(checkpoint), indent=1) + b"\n"


def read_checkpoint(raw: bytes, verifier: Verifier) -> LightBlock:
    """Return the block of a checkpoint, every part of it checked against the others, every signature included.

    Raises:
        Refused: MALFORMED, NOT_CANONICAL, BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE.
    """
    try:
        checkpoint = from_json(raw, Checkpoint)
        block = light_block_codec.decode(base64.b64decode(checkpoint.light_block, validate=True))
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused(Reason.MALFORMED, f"the file is no checkpoint: {error}") from None
    if checkpoint.format != FORMAT:
        raise Refused(Reason.MALFORMED, f"the file is of the form {checkpoint.format}, expected {FORMAT}")
    header = block.header
    said = checkpoint.chain_id, checkpoint.height, checkpoint.hash, checkpoint.time
    if said != (header.chain_id.hex(), header.height, header.block_id.hex(), header.time):
        raise Refused(Reason.BAD_HEADER, "chain id, height, hash or time are not those of the block in the file")
    check_light_block(block, header.chain_id, verifier)
    verify_commit(header.chain_id, block.validators, block.height, header.block_id, block.commit, verifier)
    return block


def load_checkpoint(path: Path, verifier: Verifier) -> LightBlock:
    """Return the block of a checkpoint file. Raises Refused: BAD_ARGUMENT, and as `read_checkpoint`."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be read: {error.strerror}") from None
    return read_checkpoint(raw, verifier)
