"""What an on-chain module is. A module is a folder with `messages.py`, `rules.py` and `queries.py`, and one
`MODULE` in its `__init__.py`; `apps/registry.py` lists it. Nothing else changes when one is added.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from consensus.types import Block, Commit, Evidence, Tip
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.encoding import Codec
from state.genesis import Genesis
from state.receipt import Event
from state.types import Address, AssetId, BlockId, ChainId, Height, TxId


@dataclass(frozen=True, slots=True)
class BlockDraft:
    """What execution needs to know of a block besides its transactions: known before the header can be made.

    `previous` is the id of block `height - 1` (the chain id for block 1), `last_commit` its commit, `time` in ms.
    """

    chain_id: ChainId
    height: Height
    time: int
    proposer: Address
    previous: BlockId
    last_commit: Commit
    evidence: tuple[Evidence, ...]


def draft_of(block: Block) -> BlockDraft:
    """Return the draft of a whole block."""
    header = block.header
    return BlockDraft(
        header.chain_id, header.height, header.time, header.proposer, header.previous, block.last_commit, block.evidence
    )


def draft_after(tip: Tip, time: int, proposer: Address, evidence: tuple[Evidence, ...] = ()) -> BlockDraft:
    """Return the draft of a block that its proposer wants to put on the tip."""
    return BlockDraft(tip.chain_id, Height(tip.height + 1), time, proposer, tip.block_id, tip.commit, evidence)


class GasMeter:
    """Counts the work of one transaction against what its sender wanted to pay for."""

    __slots__ = ("used", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.used = 0

    def charge(self, amount: int) -> None:
        """Add work. Raises Refused(OUT_OF_GAS)."""
        self.used += amount
        if self.used > self.wanted:
            self.used = self.wanted
            raise Refused(Reason.OUT_OF_GAS, f"gas wanted {self.wanted} is used up")


@dataclass(slots=True)
class Context:
    """Everything that a message rule may touch: one for each call transaction."""

    state: Overlay
    block: BlockDraft
    sender: Address
    txid: TxId
    gas: GasMeter
    message: int = 0
    """Place of the message that runs now."""
    outputs_made: int = 0
    """Outputs that messages of this transaction have made so far: the next one's index."""
    events: list[Event] = field(default_factory=list)
    touched: set[Address] = field(default_factory=set)
    """Accounts under which the transaction is to be found, besides its sender."""

    def emit(self, name: str, **attributes: str) -> None:
        """Record an event; attributes keep their order."""
        self.events.append(Event(name, tuple(attributes.items())))


Rule = Callable[[Context, Any], None]
Query = Callable[[Reader, Mapping[str, str]], Any]
"""Answers from the state at one height. Parameters and addresses are text; integers in the answer are ints."""


def flat_gas(amount: int) -> Callable[[Any], int]:
    """Return a gas rule for messages that cost the same whatever they say."""
    return lambda _message: amount


@dataclass(frozen=True, slots=True)
class MessageKind:
    """One message of a module: its strict decoder, its rule, and the gas that it costs before the rule runs.

    `exempt`: a validator's duty. Alone in a call by a validator it needs no fee, no hashcash and no space record, once
    in an epoch, and goes before what pays (`apps/exempt.py`).
    """

    codec: Codec[Any]
    rule: Rule
    gas: Callable[[Any], int]
    exempt: bool = False


class BlockHook(Protocol):
    """Runs before the first or after the last transaction of each block."""

    def __call__(self, state: Overlay, block: BlockDraft, events: list[Event]) -> None:
        """Write what the block's begin or end changes."""
        ...


class GenesisHook(Protocol):
    """Writes a module's part of the genesis document."""

    def __call__(self, state: Overlay, genesis: Genesis, chain_id: ChainId) -> None:
        """Write the module's first records."""
        ...


class Supply(Protocol):
    """Adds up what of each asset this module holds, for the supply invariant (slow, for tests and --paranoid)."""

    def __call__(self, records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
        """Add to `totals` what the records of this module hold."""
        ...


class Export(Protocol):
    """Gives what of this module's state a chain begins with that is started from it (`nexus genesis export`)."""

    def __call__(self, records: Iterable[tuple[bytes, bytes]], height: Height) -> Iterable[tuple[bytes, bytes]]:
        """Return the records to carry over, in any order.

        Args:
            records: the module's records after block `height`, (raw key, value), in rising order of key.
            height: to count from: the new chain starts at 0, so that height `h` of the old one is `h - height` there,
                and what lies in the past is 0 (`rebased`).

        An export is exact: its own result at height 0 comes back unchanged. That is how the carried records of a
        genesis document are checked, so a hook decodes every value strictly and raises Refused for a wrong one.
        """
        ...


def rebased(at: int, height: int) -> Height:
    """Return a height of the old chain as one of a chain that begins after block `height`; the past is 0."""
    return Height(max(0, at - height))


def no_genesis(state: Overlay, genesis: Genesis, chain_id: ChainId) -> None:
    """Write nothing: the genesis of a module without any."""


def no_hook(state: Overlay, block: BlockDraft, events: list[Event]) -> None:
    """Write nothing: the begin or end of a block for a module without any."""


def no_supply(records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
    """Add nothing: a module that holds no assets."""


def no_export(records: Iterable[tuple[bytes, bytes]], height: Height) -> Iterable[tuple[bytes, bytes]]:
    """Carry nothing over: a module whose state means nothing on another chain."""
    return ()


@dataclass(frozen=True, slots=True)
class Module:
    """A module as the registry sees it. Message and query names are the part after "name/"."""

    name: str
    messages: Mapping[str, MessageKind]
    queries: Mapping[str, Query]
    genesis: GenesisHook = no_genesis
    begin_block: BlockHook = no_hook
    end_block: BlockHook = no_hook
    supply: Supply = no_supply
    export: Export = no_export
    prefixes: tuple[bytes, ...] = ()
    """What raw keys of the module's records begin with, besides "name/"."""
    turnstiles: tuple[bytes, ...] = ()
    """What raw keys of its turnstiles begin with: a block that changes one is checked against the supply."""
