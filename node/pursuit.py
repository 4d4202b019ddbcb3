"""Taking over blocks of peers: what to ask, what to look at ahead of its turn, and each block in its turn.

A part of the core, and as pure: events in, actions out. `node.sync` plans the requests, `node.ahead` has signatures
verified beside the work, and here each block is checked by its commit, executed and committed, one at a time.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from consensus.block import check_committed_block
from consensus.effects import Verifier, VoteReceived
from consensus.types import Commit, Vote, VoteKind
from crypto.errors import Reason, Refused
from node.actions import Action, Ask, Halt, Verify
from node.agreement import Agreement
from node.ahead import Ahead
from node.logs import logger
from node.signatures import Verdict
from node.sync import CatchUp
from p2p.network import PeerId
from p2p.wire import SyncedBlock
from state.encoding import encode
from state.types import Height

PROGRESS_EVERY: Final = 100
"""Blocks between two lines about catching up."""

_log = logger("p2p")


class Pursuit:
    """One node's way after its peers.

    Args:
        agreement: consensus and chain.
        catch_up: the plan.
        verifier: checks commits.
        tickets: new numbers.
    """

    def __init__(self, agreement: Agreement, catch_up: CatchUp, verifier: Verifier, tickets: Iterator[int]) -> None:
        self._agreement = agreement
        self._chain = agreement.chain
        self._plan = catch_up
        self._verifier = verifier
        self._tickets = tickets
        self._ahead = Ahead(agreement.signatures)

    @property
    def is_ready(self) -> bool:
        """The next block is here, and its signatures were looked at."""
        height = self._chain.height
        return self._plan.ready(height) and not self._ahead.is_looking_at(Height(height + 1))

    def request(self) -> list[Action]:
        """Ask peers for blocks that are not asked for yet."""
        actions: list[Action] = []
        for peer_id, request in self._plan.next_requests(self._chain.height):
            ticket = next(self._tickets)
            self._plan.started(ticket, peer_id, request)
            actions.append(Ask(ticket, peer_id, encode(request)))
        return actions

    def frame(self, ticket: int, frame: bytes) -> list[Action]:
        """Take a frame of an answer. Raises Refused as `CatchUp.frame`."""
        synced = self._plan.frame(ticket, frame)
        if synced is None:
            return []
        number = next(self._tickets)
        checks = self._ahead.begin(number, synced.block, self._chain.store)
        return [Verify(number, checks, beside=True)] if checks else []

    def is_ours(self, ticket: int) -> bool:
        """Tell whether signatures of a block are verified under this ticket."""
        return self._ahead.is_ours(ticket)

    def verified(self, ticket: int, verdicts: Sequence[Verdict]) -> None:
        """Signatures of a block are verified."""
        self._ahead.verified(ticket, verdicts)

    def adopt_next(self, now: int) -> list[Action]:
        """Verify, execute and commit the next block, if it is here; let go of who sent one that does not hold."""
        found = self._plan.take(self._chain.height)
        if found is None:
            return []
        synced, peer_id = found
        try:
            check_committed_block(self._chain.tip, synced.block, synced.commit, self._verifier)
        except Refused as refused:
            self._plan.forget(peer_id)
            actions = self._compare_commit(synced.block.last_commit, peer_id, now)
            return actions + self._agreement.punish(peer_id, refused.reason, refused.detail, now)
        return self._adopt(synced, now)

    def _compare_commit(self, commit: Commit, peer_id: PeerId, now: int) -> list[Action]:
        """Look who signed a commit for another block than our tip: of a chain that split, it is the proof at hand."""
        if commit.height != self._chain.height or commit.block_id == self._chain.tip.block_id:
            return []
        actions: list[Action] = []
        for one in commit.signatures:
            vote = Vote(VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id, one.validator, one.signature)
            actions += self._agreement.feed(VoteReceived(vote, peer_id), now)
        return actions

    def _adopt(self, synced: SyncedBlock, now: int) -> list[Action]:
        """Execute a block that is final. If that fails, it is we who are wrong."""
        try:
            executed = self._agreement.execute(synced.block, self._ahead.decode(synced.block))
        except Refused as refused:
            if refused.reason is Reason.CORRUPT_DATABASE:
                raise
            detail = f"block {synced.block.header.height} is final, and invalid here: {refused}"
            return [Halt(Refused(Reason.BAD_HEADER, detail))]
        height = synced.block.header.height
        self._plan.advanced(height, now)
        if height % PROGRESS_EVERY == 0 or height == self._plan.best:
            _log.info("catching up", height=height, best=self._plan.best, seconds_left=self._plan.seconds_left)
        return self._agreement.adopt(executed, synced.commit, now)
