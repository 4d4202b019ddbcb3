"""What an on-chain module is. A module is a folder with `messages.py`, `rules.py` and `queries.py`, and one
`MODULE` in its `__init__.py`; `apps/registry.py` lists it. Nothing else changes when one is added.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from consensus.types import Block
from crypto.errors import Reason, Refused
from state.changes import Overlay, Reader
from state.encoding import Codec
from state.receipt import Event
from state.types import Address, AssetId, Height


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
    """Everything that a message rule may touch."""

    state: Overlay
    height: Height
    time: int
    sender: Address
    txid: bytes
    gas: GasMeter
    events: list[Event] = field(default_factory=list)
    touched: set[Address] = field(default_factory=set)
    outputs_made: int = 0
    """Outputs that messages of this transaction have made so far: the next one's index."""

    def emit(self, name: str, **attributes: str) -> None:
        """Record an event; attributes keep their order."""
        self.events.append(Event(name, tuple(attributes.items())))


Rule = Callable[[Context, Any], None]
Query = Callable[[Reader, Mapping[str, str]], Any]


@dataclass(frozen=True, slots=True)
class MessageKind:
    """One message of a module: its strict decoder, its rule, and its base gas."""

    codec: Codec[Any]
    rule: Rule
    gas: int


class EndBlock(Protocol):
    """Runs after the last transaction of each block."""

    def __call__(self, state: Overlay, block: Block, events: list[Event]) -> None:
        """Write what the block's end changes."""
        ...


class Supply(Protocol):
    """Adds up what of each asset this module holds, for the supply invariant (slow, for tests and --paranoid)."""

    def __call__(self, records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
        """Add to `totals` what the records of this module hold."""
        ...


@dataclass(frozen=True, slots=True)
class Module:
    """A module as the registry sees it. Message names are "name/verb"; queries likewise."""

    name: str
    messages: Mapping[str, MessageKind]
    queries: Mapping[str, Query]
    genesis: Callable[[Overlay, Any], None] | None = None
    """Writes the module's part of the genesis document."""
    end_block: EndBlock | None = None
    supply: Supply | None = None
