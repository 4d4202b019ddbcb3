"""Opening a light client: from its folder, or from a root of trust that the user names."""

from dataclasses import dataclass
from pathlib import Path

from crypto.errors import Reason, Refused
from node.light.answering import ProvenAnswers
from node.light.client import LightClient, Start, Surroundings, fetch_start
from node.light.roots import GenesisRoot, Root, age_warning
from node.light.store import FolderBlocks, MemoryBlocks, Trust, TrustedBlocks, create_store, open_store
from state.genesis import decode_genesis


@dataclass(frozen=True, slots=True)
class Place:
    """Where a light client begins.

    Attributes:
        folder: of its trusted headers; it need not exist.
        root: what the user trusts; None for what the folder holds.
        keep: make the folder, or go on with it; otherwise a root that is named is used once and nothing is written.
    """

    folder: Path
    root: Root | None
    keep: bool


async def open_light(place: Place, around: Surroundings) -> ProvenAnswers:
    """Open a light client that answers questions.

    Raises:
        Refused: HOME_MISSING if there is neither a folder nor a root; those of `fetch_start`, `open_store` and
            `create_store`.
    """
    store = open_store(place.folder) if place.keep or place.root is None else None
    if store is not None and (place.root is None or _begins_with(store, place.root)):
        answers = _answers(store.trust, store, store.genesis, around)
        warning = age_warning(answers.client.newest, around.clock(), store.trust.params)
        if warning:
            around.tell(f"warning: {warning}")
        return await _through_every_header(answers, place.root)
    if place.root is None:
        raise Refused(
            Reason.HOME_MISSING,
            f"there are no trusted headers in {place.folder}: name what you trust with --trust-height and "
            "--trust-hash, with --checkpoint, or, on a young chain, with --chain-id",
        )
    start = await fetch_start(place.root, around)
    trust = Trust(start.params.chain_id, start.params.trust_period, start.params.clock_drift)
    answers = _answers(trust, _store(place, trust, start), start.genesis, around)
    return await _through_every_header(answers, place.root)


async def _through_every_header(answers: ProvenAnswers, root: Root | None) -> ProvenAnswers:
    if isinstance(root, GenesisRoot) and root.every_header:
        answers.client.around.tell(
            "warning: every header is checked because the genesis is older than the trust period; this is safe only if "
            "nobody got hold of the old keys of two thirds of any set"
        )
        await answers.client.follow_every_header()
    return answers


def _begins_with(store: FolderBlocks, root: Root) -> bool:
    """Tell whether a folder goes on from this very root, so that it need not be fetched again."""
    if isinstance(root, GenesisRoot):
        return store.trust.chain_id == root.chain_id
    known = store.blocks().get(root.height)
    return known is not None and known.header.block_id == root.block_id


def _store(place: Place, trust: Trust, start: Start) -> TrustedBlocks:
    if place.keep:
        return create_store(place.folder, trust, start.genesis, start.block)
    store = MemoryBlocks()
    store.add(start.block)
    return store


def _answers(trust: Trust, store: TrustedBlocks, genesis: bytes, around: Surroundings) -> ProvenAnswers:
    return ProvenAnswers(LightClient(trust.params, store, around), decode_genesis(genesis))
