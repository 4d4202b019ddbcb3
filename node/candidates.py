"""Blocks of the height in progress: proposals that wait for bodies, bodies that came, and blocks already executed."""

from collections.abc import Iterable
from dataclasses import dataclass

from consensus.types import Block, Proposal
from crypto.errors import Refused
from node.chain import Executed
from node.mempool import Mempool
from state.transaction import Decoded, decode_transaction, wtx_id
from state.types import BlockId, WtxId


@dataclass(slots=True)
class _Waiting:
    proposal: Proposal
    missing: dict[WtxId, None]
    """In the order of the proposal: what is asked of peers does not depend on how sets are ordered."""


class Candidates:
    """What may become the next block.

    Args:
        mempool: where most bodies are.
    """

    def __init__(self, mempool: Mempool) -> None:
        self._mempool = mempool
        self._bodies: dict[WtxId, Decoded] = {}
        self._waiting: dict[BlockId, _Waiting] = {}
        self._executed: dict[BlockId, Executed] = {}
        self._proposals: dict[BlockId, Proposal] = {}

    def clear(self) -> None:
        """Forget everything: the height is decided."""
        self._bodies.clear()
        self._waiting.clear()
        self._executed.clear()
        self._proposals.clear()

    # ---- bodies

    def body(self, wtxid: WtxId) -> Decoded | None:
        """Return a transaction of a candidate or of the mempool."""
        entry = self._mempool.get(wtxid)
        return entry.decoded if entry is not None else self._bodies.get(wtxid)

    def add(self, proposal: Proposal) -> None:
        """Begin to gather a proposal's bodies. Those that the mempool holds now are kept, whatever becomes of them."""
        block_id = proposal.block_id
        if block_id in self._proposals:
            return
        self._proposals[block_id] = proposal
        missing: dict[WtxId, None] = {}
        for wtxid in proposal.wtxids:
            decoded = self.body(wtxid)
            if decoded is None:
                missing[wtxid] = None
            else:
                self._bodies[wtxid] = decoded
        self._waiting[block_id] = _Waiting(proposal, missing)

    @property
    def missing(self) -> tuple[WtxId, ...]:
        """Bodies that some proposal lacks."""
        return tuple(dict.fromkeys(wtxid for waiting in self._waiting.values() for wtxid in waiting.missing))

    def offer(self, raws: Iterable[bytes]) -> None:
        """Look through transactions that came in for bodies that a proposal lacks. Bytes that do not decode are left
        to admission: no right proposal names them, and a wrong one never becomes complete.
        """
        wanted = set(self.missing)
        if not wanted:
            return
        for raw in raws:
            wtxid = WtxId(wtx_id(raw))
            if wtxid not in wanted:
                continue
            try:
                self.keep(decode_transaction(raw))
            except Refused:
                continue

    def look_again(self) -> None:
        """Take missing bodies that have meanwhile entered the mempool."""
        for wtxid in self.missing:
            entry = self._mempool.get(wtxid)
            if entry is not None:
                self.keep(entry.decoded)

    def keep(self, decoded: Decoded) -> None:
        """Take a body."""
        self._bodies[decoded.wtxid] = decoded
        for waiting in self._waiting.values():
            waiting.missing.pop(decoded.wtxid, None)

    def take_complete(self) -> list[tuple[Proposal, Block, tuple[Decoded, ...]]]:
        """Return the proposals whose last body has come, each once."""
        complete = [waiting.proposal for waiting in self._waiting.values() if not waiting.missing]
        for proposal in complete:
            del self._waiting[proposal.block_id]
        return [(proposal, *self._block(proposal)) for proposal in complete]

    def _block(self, proposal: Proposal) -> tuple[Block, tuple[Decoded, ...]]:
        bodies = tuple(self._bodies[wtxid] for wtxid in proposal.wtxids)
        raws = tuple(decoded.raw for decoded in bodies)
        return Block(proposal.header, raws, proposal.last_commit, proposal.evidence), bodies

    # ---- executed blocks

    def remember(self, executed: Executed) -> None:
        """Keep a valid block with its result: deciding it must not cost a second execution."""
        for decoded in executed.transactions:
            self._bodies[decoded.wtxid] = decoded
        self._executed[executed.block.header.block_id] = executed

    def executed(self, block_id: BlockId) -> Executed | None:
        """Return a block that was found valid."""
        return self._executed.get(block_id)
