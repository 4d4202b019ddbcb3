"""Peers as the nodes that a light client asks, and the questions about snapshots. Their answers are unchecked."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from consensus.evidence import height_of
from consensus.light import MAX_LIGHT_BLOCK, light_block_codec
from consensus.types import Evidence
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api import methods, shapes
from node.api.methods import Ask
from node.api.text import LATEST, Decimal
from p2p.network import Channel, Network, PeerId
from p2p.wire import (
    ChainStatus,
    EvidenceMessage,
    GetChunk,
    GetHeaders,
    GetLightBlock,
    GetManifest,
    GetSnapshots,
    GetStatus,
    Headers,
    PieceAssembly,
    Request,
    SnapshotOffer,
    Snapshots,
    answer_codec,
)
from state.encoding import Codec, encode
from state.snapshot import MAX_CHUNK, MAX_MANIFEST, Manifest, manifest_codec
from state.types import Height

R = TypeVar("R")
_evidence_codec: Final[Codec[Evidence]] = Codec(Evidence)  # type: ignore[arg-type]
"""A union, which Codec takes and its type does not say."""

TIMEOUT: Final = 10.0
"""Seconds without a frame after which a peer has failed."""


class PeerSource:
    """One peer. See `node.light.source.Source`."""

    def __init__(self, network: Network, peer_id: PeerId) -> None:
        self._network = network
        self._peer_id = peer_id
        self.url = f"peer {peer_id.hex()[:16]}"

    async def ask(self, ask: Ask[R]) -> R:
        """Answer a question about headers, or hand over evidence; others are refused with NOT_AVAILABLE."""
        answer: Any = await self._answer(ask)
        result: R = answer
        return result

    async def _answer(self, ask: Ask[Any]) -> shapes.LightBlockView | shapes.HeadersView | shapes.Reported:
        match ask:
            case methods.GetLightBlock(height=text):
                raw = await self._light_block(Height(0 if text == LATEST else int(text)))
                return shapes.LightBlockView(height=Decimal(light_block_codec.decode(raw).height), light_block=raw)
            case methods.GetHeaders(first=text) if text == LATEST:
                header = light_block_codec.decode(await self._light_block(Height(0))).header
                return shapes.HeadersView(first=Decimal(header.height), headers=[encode(header)])
            case methods.GetHeaders(first=text, limit=limit):
                first = int(text)
                request = GetHeaders(Height(first), Height(first + limit - 1))
                headers: list[bytes] = []
                async with _asked(self._network, self._peer_id, request) as frames:
                    async for frame in frames:
                        part = answer_codec.decode(frame)
                        if not isinstance(part, Headers) or len(headers) + len(part.headers) > limit:
                            raise Refused(Reason.PROTOCOL_VIOLATION, "that is no answer to a question for headers")
                        headers += map(encode, part.headers)
                return shapes.HeadersView(first=Decimal(first), headers=headers)
            case methods.ReportEvidence(evidence=raw):
                return await self._report(_evidence_codec.decode(raw))
        raise Refused(Reason.NOT_AVAILABLE, f"a peer answers no {type(ask).__name__}")

    async def _report(self, evidence: Evidence) -> shapes.Reported:
        """Send evidence as peers do, and wait until the peer has said something since: what was queued has left."""
        self._network.send(self._peer_id, Channel.CONSENSUS, encode(EvidenceMessage(evidence)))
        await ask_status(self._network, self._peer_id)
        return shapes.Reported(
            validator=encode_address(evidence.validator), height=Decimal(height_of(evidence)), known=False
        )

    async def _light_block(self, height: Height) -> bytes:
        return await _pieces(self._network, self._peer_id, GetLightBlock(height), MAX_LIGHT_BLOCK)


async def ask_status(network: Network, peer_id: PeerId) -> ChainStatus:
    """Return where a peer's chain stands. Raises Refused."""
    answer = await _one(network, peer_id, GetStatus())
    if not isinstance(answer, ChainStatus):
        raise Refused(Reason.PROTOCOL_VIOLATION, "that is no status")
    return answer


async def ask_offers(network: Network, peer_id: PeerId) -> tuple[SnapshotOffer, ...]:
    """Return which snapshots a peer offers. Raises Refused."""
    answer = await _one(network, peer_id, GetSnapshots())
    if not isinstance(answer, Snapshots):
        raise Refused(Reason.PROTOCOL_VIOLATION, "that is no list of snapshots")
    return answer.offers


async def ask_manifest(network: Network, peer_id: PeerId, height: Height) -> Manifest:
    """Return a manifest. Raises Refused."""
    return manifest_codec.decode(await _pieces(network, peer_id, GetManifest(height), MAX_MANIFEST))


async def ask_chunk(network: Network, peer_id: PeerId, height: Height, index: int) -> bytes:
    """Return a chunk. Raises Refused."""
    return await _pieces(network, peer_id, GetChunk(height, index), MAX_CHUNK)


@asynccontextmanager
async def _asked(network: Network, peer_id: PeerId, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the frames of an answer; what is not read of it is called off."""
    frames = network.request(peer_id, encode(request), TIMEOUT)
    try:
        yield frames
    finally:
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()


async def _one(network: Network, peer_id: PeerId, request: Request) -> object:
    async with _asked(network, peer_id, request) as frames:
        answers = [answer_codec.decode(frame) async for frame in frames]
    if len(answers) != 1:
        raise Refused(Reason.PROTOCOL_VIOLATION, f"{len(answers)} answers to one question")
    return answers[0]


async def _pieces(network: Network, peer_id: PeerId, request: Request, cap: int) -> bytes:
    assembly = PieceAssembly(cap)
    async with _asked(network, peer_id, request) as frames:
        async for frame in frames:
            assembly.feed(frame)
    return assembly.whole()
