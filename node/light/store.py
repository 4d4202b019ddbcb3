"""Trusted headers on disk, so that a light client goes on where it was: one file for each, written in one step.

    light/trust            chain id, trust period, clock drift
    light/genesis          the genesis document, canonical bytes
    light/000000000120     the light block of height 120
    light/fork             two chains that were both proven, if that ever happened

Each file begins with the SHA3-256 of the rest: a damaged one is refused by name and nothing is built on it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, TypeVar

from consensus.light import LightBlock, TrustParams, light_block_codec
from crypto.errors import Reason, Refused
from node.home import PRIVATE_FOLDER, write_file
from node.light.witness import Fork, fork_codec
from state.encoding import Codec, Record, encode
from state.genesis import MAX_GENESIS
from state.types import ChainIdField, Height, Unsigned

T = TypeVar("T")

KEPT: Final = 16
"""Trusted blocks that are kept: the oldest, which the user named, and the newest others."""
_CHECKSUM: Final = 32
_NAME_DIGITS: Final = 12


class Trust(Record, frozen=True):
    """What the blocks of a store are judged by. Durations in ms."""

    chain_id: ChainIdField
    trust_period: Unsigned
    clock_drift: Unsigned

    @property
    def params(self) -> TrustParams:
        """The same for the verification."""
        return TrustParams(self.chain_id, self.trust_period, self.clock_drift)


_trust_codec: Final = Codec(Trust)


class TrustedBlocks(Protocol):
    """Keeps verified light blocks, and the fork that ends all trust."""

    def blocks(self) -> Mapping[Height, LightBlock]:
        """Return what is kept, by rising height."""
        ...

    def add(self, block: LightBlock) -> None:
        """Keep a verified block."""
        ...

    def stop(self, fork: Fork) -> None:
        """Keep a fork: nothing follows from these blocks any more."""
        ...


class MemoryBlocks:
    """Keeps blocks as long as it lives, all of them: for one question."""

    def __init__(self) -> None:
        self._blocks: dict[Height, LightBlock] = {}
        self.forks: list[Fork] = []

    def blocks(self) -> Mapping[Height, LightBlock]:
        """Return what is kept, by rising height."""
        return dict(sorted(self._blocks.items()))

    def add(self, block: LightBlock) -> None:
        """Keep a verified block."""
        self._blocks[block.height] = block

    def stop(self, fork: Fork) -> None:
        """Keep a fork."""
        self.forks.append(fork)


class FolderBlocks:
    """Keeps blocks in a folder. Use `create_store` or `open_store`.

    Attributes:
        folder: where the files are.
        trust: what the blocks are judged by.
        genesis: the genesis document, canonical bytes.
    """

    def __init__(self, folder: Path, trust: Trust, genesis: bytes) -> None:
        self.folder = folder
        self.trust = trust
        self.genesis = genesis
        self._blocks = dict(sorted(_read_blocks(folder).items()))

    def blocks(self) -> Mapping[Height, LightBlock]:
        """Return what is kept, by rising height."""
        return self._blocks

    def add(self, block: LightBlock) -> None:
        """Keep a verified block, on disk when this returns; let go of old ones."""
        _write(self.folder / _name(block.height), encode(block))
        self._blocks = dict(sorted((self._blocks | {block.height: block}).items()))
        for height in tuple(self._blocks)[1 : -(KEPT - 1)]:
            (self.folder / _name(height)).unlink(missing_ok=True)
            del self._blocks[height]

    def stop(self, fork: Fork) -> None:
        """Keep a fork, on disk when this returns."""
        _write(self.folder / "fork", encode(fork))

    @property
    def fork(self) -> Fork | None:
        """The fork that ended all trust, if there was one. Raises Refused(CORRUPT_DATABASE)."""
        return _read(self.folder / "fork", fork_codec)


def create_store(folder: Path, trust: Trust, genesis: bytes, root: LightBlock) -> FolderBlocks:
    """Make a store that begins with a verified root of trust; one that is there already goes on from that root.

    Raises:
        Refused: WRONG_CHAIN if there is one of another chain; BAD_HEADER if it holds another block of that height;
            BAD_ARGUMENT if the folder cannot be made; and those of `open_store`.
    """
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"cannot make {folder}: {error.strerror}") from None
    present = open_store(folder)
    if present is not None and present.trust.chain_id != trust.chain_id:
        raise Refused(
            Reason.WRONG_CHAIN, f"{folder} follows the chain {present.trust.chain_id.hex()}; use another --home for "
            f"{trust.chain_id.hex()}",
        )
    known = {} if present is None else present.blocks()
    if root.height in known and known[root.height].header.block_id != root.header.block_id:
        raise Refused(
            Reason.BAD_HEADER, f"{folder} holds another block {root.height}, verified before: ask people you trust "
            "which is right, and begin again in a new --home",
        )
    _write(folder / "genesis", genesis)
    _write(folder / _name(root.height), encode(root))
    _write(folder / "trust", encode(trust))
    for height in known:
        if height < root.height:
            (folder / _name(height)).unlink(missing_ok=True)
    return FolderBlocks(folder, trust, genesis)


def open_store(folder: Path) -> FolderBlocks | None:
    """Open a store, or return None if there is none.

    Raises:
        Refused: CORRUPT_DATABASE for a damaged file; FORKED if a fork was found.
    """
    trust = _read(folder / "trust", _trust_codec)
    genesis = _read_raw(folder / "genesis", MAX_GENESIS)
    if trust is None or genesis is None:
        return None
    store = FolderBlocks(folder, trust, genesis)
    fork = store.fork
    if fork is not None:
        raise Refused(Reason.FORKED, f"{fork} in a new --home; {folder / 'fork'} holds both")
    return store


def _name(height: int) -> str:
    return f"{height:0{_NAME_DIGITS}d}"


def _read_blocks(folder: Path) -> dict[Height, LightBlock]:
    found: dict[Height, LightBlock] = {}
    for path in folder.iterdir():
        if len(path.name) >= _NAME_DIGITS and path.name.isdecimal():
            block = _read(path, light_block_codec)
            if block is not None:  # another process may have let it go meanwhile
                found[block.height] = block
    return found


def _write(path: Path, content: bytes) -> None:
    write_file(path, hashlib.sha3_256(content).digest() + content)


def _read_raw(path: Path, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            raw = file.read(_CHECKSUM + limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(Reason.CORRUPT_DATABASE, f"{path} cannot be read: {error.strerror}") from None
    content = raw[_CHECKSUM:]
    if len(raw) < _CHECKSUM or len(content) > limit or hashlib.sha3_256(content).digest() != raw[:_CHECKSUM]:
        raise _damaged(path)
    return content


def _read(path: Path, codec: Codec[T]) -> T | None:
    content = _read_raw(path, codec.max_size)
    if content is None:
        return None
    try:
        return codec.decode(content)
    except Refused:
        raise _damaged(path) from None


def _damaged(path: Path) -> Refused:
    return Refused(
        Reason.CORRUPT_DATABASE,
        f"{path} is damaged: delete the folder {path.parent} and begin again with a height and hash that you trust",
    )
