"""Witnesses: other nodes that may contradict what the primary proved, and what follows if one does.

A header that verifies is signed by enough of the power that was trusted. If a witness has another one for the same
height that verifies too, from the same trusted block, then more than a third of that power signed two chains. Which of
the two the others follow cannot be told from here: the client stops, keeps both, and tells every node that it knows.
Source: CometBFT spec/light-client/detection.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import trio
from msgspec import Meta

from consensus.effects import Verifier
from consensus.light import LightBlock, TrustParams, skip
from crypto.errors import Reason, Refused
from node.light.source import Source, drive, fetch_light_block, fetching
from state.encoding import Codec, Record
from state.types import Height

PATIENCE: Final = 4
"""How often a witness that lags behind is asked again ..."""
PAUSE: Final = 0.5
"""... after this many seconds."""


class Fork(Record, frozen=True):
    """Two chains that both follow from `common`: what the primary proved, and what contradicts it.

    The two blocks have one height and different ids; or the second is lower, and yet not older.
    """

    common: LightBlock
    primary: LightBlock
    witness: LightBlock
    primary_url: Annotated[str, Meta(max_length=512)]
    witness_url: Annotated[str, Meta(max_length=512)]

    def __str__(self) -> str:
        return (
            f"the chain is forked: {self.primary_url} proves block {self.primary.height} "
            f"{self.primary.header.block_id.hex()[:16]}, {self.witness_url} proves block {self.witness.height} "
            f"{self.witness.header.block_id.hex()[:16]}, and both follow from block {self.common.height}; more than a "
            "third of the validators' power signed both. Nothing is believed any more: ask people you trust which "
            "chain goes on, then begin again with its height and hash"
        )


fork_codec: Final = Codec(Fork, max_size=16 << 20)


async def compare(
    witness: Source, trace: Sequence[LightBlock], now: int, params: TrustParams, verifier: Verifier, primary_url: str
) -> Fork | None:
    """Ask a witness for the last header that the primary proved.

    Args:
        witness: whom to ask.
        trace: a trusted block, and those that the primary led to from there, rising.
        now: our clock, ms since 1970.
        params: what is safe.
        verifier: checks signatures.
        primary_url: for the report.

    Returns:
        None if the witness has the same header, or the fork.

    Raises:
        Refused: the witness's own reason; NOT_AVAILABLE if it does not have the height yet; BAD_WITNESS if it has
            another header and cannot prove it.
    """
    target = trace[-1]
    found = await _patiently(witness, target.height)
    if found is not None and found.header.block_id == target.header.block_id:
        return None
    newest = found if found is not None else await fetch_light_block(witness)
    if found is None and (newest.height >= target.height or newest.header.time < target.header.time):
        raise Refused(Reason.NOT_AVAILABLE, f"{witness.url} does not have block {target.height} yet")
    return await _examine(witness, newest, trace, now, params, verifier, primary_url)


async def _patiently(witness: Source, height: Height) -> LightBlock | None:
    """Return a witness's block, or None if it does not come to have it within a few moments."""
    for attempt in range(PATIENCE):
        if attempt:
            await trio.sleep(PAUSE)
        try:
            return await fetch_light_block(witness, height)
        except Refused as refused:
            if refused.reason is not Reason.NOT_AVAILABLE:
                raise
    return None


async def _examine(
    witness: Source, newest: LightBlock, trace: Sequence[LightBlock], now: int, params: TrustParams,
    verifier: Verifier, primary_url: str,
) -> Fork:
    """Find the last block of the trace that the witness shares, and let it prove its own way from there.

    Raises:
        Refused: BAD_WITNESS if it cannot.
    """
    try:
        common = trace[0]
        for block in trace[1:-1]:
            if block.height >= newest.height:
                break
            theirs = await fetch_light_block(witness, block.height)
            if theirs.header.block_id != block.header.block_id:
                way = await drive(skip(common, block.height, now, params, verifier), fetching(witness))
                return Fork(common, block, way[-1], primary_url, witness.url)
            common = block
        way = await drive(skip(common, newest.height, now, params, verifier), fetching(witness))
    except Refused as refused:
        raise Refused(
            Reason.BAD_WITNESS,
            f"{witness.url} has another block {newest.height} and cannot prove it ({refused.detail}): it is broken or "
            "lies; replace it",
        ) from None
    return Fork(common, trace[-1], way[-1], primary_url, witness.url)
