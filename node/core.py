"""The node without its I/O: everything that happens comes in by a method, everything to be done goes out as actions.

One task of the driver owns it. Under the simulator the same object runs on a clock, a network and a disk that are
drawn from a seed. It reads no clock but the `now` that it is given (ms since 1970), and never waits.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from consensus.effects import (
    OfferReceived,
    ProposalReceived,
    SignProposal,
    SignVote,
    Step,
    Timeout,
    TimeoutElapsed,
    Verifier,
    VoteReceived,
    WorkAvailable,
)
from consensus.relay import RoundStatus
from consensus.round_machine import RoundStep
from consensus.sightings import Sightings
from consensus.types import Vote
from crypto.errors import Reason, Refused
from node.actions import Action, Ask, Report, Send, SendAll, StartTimer, SubmitResult, Tick, Timer, Verify
from node.admission import GOSSIP, RELAY_BATCH, Admission, Slice
from node.agreement import Agreement
from node.hearsay import Hearsay
from node.logs import logger
from node.mempool import Mempool
from node.passing import message_frame
from node.pursuit import Pursuit
from node.serving import answers
from node.signatures import Verdict
from node.snapshots import Shelf
from node.sync import CatchUp
from node.turns import Patience, Turns
from p2p.network import Channel, PeerId
from p2p.wire import (
    EvidenceMessage,
    OfferMessage,
    ProposalMessage,
    RoundStatusMessage,
    SightingsMessage,
    Transactions,
    VoteMessage,
    WishesMessage,
    answer_codec,
    consensus_message_codec,
    wtxid_requests,
)
from state.encoding import encode
from state.types import Height, Round

STATUS_EVERY: Final = 500
"""ms between two looks at whether a round is stuck; if so, peers are told where we stand."""
HEARTBEAT: Final = 10
"""Every so many looks peers are told in any case: a lost frame must not leave anybody behind for ever."""
BODIES_AFTER: Final = 250
"""ms that a proposal's transactions may take to come by themselves before they are asked for. Under load they mostly
wait in our own queue: asking at once sent them twice and cost a sixth of the processor [measured].
"""
BODIES_AGAIN: Final = 1000
"""ms after which missing transactions are asked of somebody else."""
BEHIND_AFTER: Final = 300
"""ms that a peer may be one block ahead before its block is asked for: mostly ours is about to be decided."""
MAX_BAD_SIGNATURES: Final = 64
"""Transactions with a bad signature that a connection may bring: key rotations explain a few, not more."""
SIGHTINGS_AFTER: Final = 75
"""ms after a vote or proposal that peers are told what we saw: most votes of a kind are in one frame then."""
DOUBTS_AFTER: Final = 50
"""ms that a message may stay out which a peer has seen: it may be on its way here by itself."""
MAX_SHOWN: Final = 4096
"""Contradictions remembered as shown to a peer."""

_log = logger("p2p")


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A slice in verification: whom to report to (0: nobody), or who sent it."""

    batch: Slice
    report: int
    sender: PeerId

    @property
    def takes_turns(self) -> bool:
        """Whether few of them are verified at a time: those with proofs that others sent."""
        return bool(self.sender) and self.batch.has_proofs


class Core:
    """A node's logic, composed.

    Args:
        agreement: consensus, chain and log.
        admission: the way into the mempool.
        mempool: pending transactions.
        catch_up: a plan for blocks that we lack.
        verifier: checks commits.
        relay_delay: ms that submitted transactions wait for company.
        passes_on: tells whether what a peer sends goes on to the other peers.
        shelf: snapshots that peers may have.
    """

    def __init__(
        self, agreement: Agreement, admission: Admission, mempool: Mempool, catch_up: CatchUp, verifier: Verifier,
        relay_delay: int, passes_on: Callable[[PeerId], bool], shelf: Shelf,
    ) -> None:
        self.agreement = agreement
        self.chain = agreement.chain
        self.admission = admission
        self.mempool = mempool
        self.catch_up = catch_up
        self._relay_delay = relay_delay
        self._passes_on = passes_on
        self._shelf = shelf
        self._tickets = count(1)
        self.pursuit = Pursuit(agreement, catch_up, verifier, self._tickets)
        self._slices: dict[int, _Submitted] = {}
        self._body_requests: set[int] = set()
        self._sources: list[PeerId] = []
        """Peers to ask for bodies, the next one first: who sent a proposal goes before the others."""
        self._timers: set[Tick] = set()
        self._hearsay = Hearsay()
        self._looks = 0
        self._last_look = Step(Height(0), Round(0), "")
        self._told: set[PeerId] = set()
        self._bad_signatures: Counter[PeerId] = Counter()
        self._let_go: set[PeerId] = set()
        """Peers that are let go of, and are not gone yet."""
        self._turns = Turns()
        self._patience = Patience()
        self._shown: dict[PeerId, set[bytes]] = {}

    @property
    def catching_up(self) -> bool:
        """Blocks of peers are being taken over, and consensus waits."""
        return self.agreement.is_behind or self.catch_up.active

    # ---- life and time

    def start(self, now: int) -> list[Action]:
        """Read the log, begin the height. Raises Refused(CORRUPT_LOG)."""
        return [*self.agreement.begin(now), *self._timer(Tick.STATUS, STATUS_EVERY)]

    def timer_over(self, timer: Timer, now: int) -> list[Action]:
        """A timer ran out."""
        if isinstance(timer, Timeout):
            return self._follow_up(self.agreement.feed(TimeoutElapsed(timer), now))
        self._timers.discard(timer)
        match timer:
            case Tick.RELAY:
                return self._relay()
            case Tick.STATUS:
                return self._look()
            case Tick.SIGHTINGS:
                return self._tell_sightings()
            case Tick.DOUBTS:
                return self.agreement.passing.mend(self.chain.tip.validators)
            case Tick.BODIES:
                return self._ask_bodies()
            case Tick.BEHIND:
                return self.pursuit.request()
            case Tick.CATCH_UP:
                return self._adopt_next(now)

    def signed(self, task: SignVote | SignProposal, signature: bytes, now: int) -> list[Action]:
        """A signature that was asked for is there."""
        return self._follow_up(self.agreement.signed(task, signature, now))

    # ---- peers

    def peer_connected(self, peer_id: PeerId, now: int) -> list[Action]:
        """A peer is there: say where we stand and whom we accuse, and hand over what was submitted here and waits."""
        self._sources.append(peer_id)
        self._let_go.discard(peer_id)
        self.agreement.passing.opened(peer_id)
        accusations = [encode(EvidenceMessage(evidence)) for evidence in self.agreement.pool.pending()]
        actions: list[Action] = [
            Send(peer_id, Channel.CONSENSUS, frame) for frame in (self._status_frame(), *accusations)
        ]
        actions += [Send(peer_id, Channel.TRANSACTIONS, frame) for frame in self.admission.own_frames()]
        return actions

    def peer_disconnected(self, peer_id: PeerId, now: int) -> list[Action]:
        """A peer is gone."""
        self._sources = [other for other in self._sources if other != peer_id]
        self.catch_up.forget(peer_id)
        del self._bad_signatures[peer_id]
        self._let_go.discard(peer_id)
        self._turns.forget(peer_id)
        self._shown.pop(peer_id, None)
        self.agreement.passing.closed(peer_id)
        changed = self._tell_wishes()
        return [*changed, SendAll(Channel.CONSENSUS, self._status_frame())] if changed else []

    def consensus_frame(self, peer_id: PeerId, payload: bytes, now: int) -> list[Action]:
        """A frame came on CONSENSUS."""
        try:
            message = consensus_message_codec.decode(payload)
        except Refused as refused:
            return self.agreement.punish(peer_id, refused.reason, refused.detail, now)
        match message:
            case VoteMessage(vote):
                self.agreement.passing.sent(peer_id, vote)
                return self._follow_up(self.agreement.feed(VoteReceived(vote, peer_id), now))
            case ProposalMessage(proposal):
                self._prefer(peer_id)
                self.agreement.passing.sent(peer_id, proposal)
                return self._follow_up(self.agreement.feed(ProposalReceived(proposal, peer_id), now))
            case RoundStatusMessage(status):
                return self._peer_status(peer_id, status)
            case SightingsMessage(seen):
                return self._contradict(peer_id, seen)
            case OfferMessage(offer):
                return self._follow_up(self.agreement.feed(OfferReceived(offer, peer_id), now))
            case EvidenceMessage(evidence):
                return self._follow_up(self.agreement.accused(evidence, peer_id, now))
            case WishesMessage():
                self.agreement.passing.wishes(peer_id, message)
                return []

    def misbehaved(self, peer_id: PeerId, refused: Refused, now: int) -> list[Action]:
        """A peer sent something that does not even decode."""
        return self.agreement.punish(peer_id, refused.reason, refused.detail, now)

    def announced(self, height: Height, now: int) -> list[Action]:
        """Gossip says that a node has the final block of this height: if it lacks here, ask which of the peers has it.

        The announcer need not be a peer of ours, and may lie: a block is asked of who says itself that it has it.
        """
        in_round = height == self.chain.height + 1 and self.agreement.engine.step.name != RoundStep.UNSTARTED.value
        if not self._hearsay.heard(height, self.chain.height, in_round, now):
            return []
        return [SendAll(Channel.CONSENSUS, self._status_frame())]

    # ---- transactions

    def transactions(self, raws: Sequence[bytes], sender: PeerId, report: int, now: int) -> list[Action]:
        """Take at most SLICE transactions.

        Args:
            raws: wire bytes.
            sender: the peer that sent them; empty if they were submitted here, GOSSIP if gossip brought them.
            report: ticket under which to report the results; 0 for nobody.
            now: ms.
        """
        if sender in self._let_go:
            return []
        self.agreement.candidates.offer(raws)
        actions = self._follow_up(self.agreement.bodies_came(now))
        if self._turns.is_free(sender):
            return actions + self._begin(raws, sender, report, now)
        if not self._turns.wait(sender, raws):
            self.admission.turn_away(len(raws))
        return actions

    def _begin(self, raws: Sequence[bytes], sender: PeerId, report: int, now: int) -> list[Action]:
        heard = sender == GOSSIP
        forward = heard or not sender or self._passes_on(sender) or self.agreement.passing.relies_on(sender)
        costly = not (heard and self._patience.is_over(now))
        batch = self.admission.begin(raws, local=not sender, forward=forward, heard=heard, costly=costly)
        submitted = _Submitted(batch, report, sender)
        if not batch.pending:
            return self._entered(submitted, (), now)
        ticket = next(self._tickets)
        self._slices[ticket] = submitted
        if submitted.takes_turns:
            self._turns.begin(sender)
        return [Verify(ticket, batch.checks)]

    def verified(self, ticket: int, verdicts: Sequence[Verdict], now: int) -> list[Action]:
        """The signatures of a slice are checked, or those of a block that was taken over."""
        if self.pursuit.is_ours(ticket):
            self.pursuit.verified(ticket, verdicts)
            return self._go_on()
        submitted = self._slices.pop(ticket)
        if submitted.takes_turns:
            self._turns.end(submitted.sender)
        actions = self._entered(submitted, verdicts, now)
        while raws := self._turns.next(submitted.sender):
            actions += self._begin(raws, submitted.sender, 0, now)
        return actions

    def _entered(self, submitted: _Submitted, verdicts: Sequence[Verdict], now: int) -> list[Action]:
        batch = submitted.batch
        results = self.admission.finish(batch, verdicts)
        actions: list[Action] = []
        if submitted.report:
            actions.append(Report(submitted.report, results))
        elif submitted.sender == GOSSIP:
            self._patience.charge(len(batch.faults), now)
        elif submitted.sender:
            actions += self._judge_sender(submitted.sender, batch, results, now)
        if self.admission.outbox >= RELAY_BATCH:
            actions += self._relay()
        elif self.admission.outbox:
            actions += self._timer(Tick.RELAY, self._relay_delay)
        if not all(isinstance(result, Refused) for result in results):
            if self.agreement.candidates.missing:
                self.agreement.candidates.look_again()
                actions += self.agreement.bodies_came(now)
            actions += self._follow_up(self.agreement.feed(WorkAvailable(), now))
        return actions

    def _judge_sender(
        self, sender: PeerId, batch: Slice, results: Sequence[SubmitResult], now: int
    ) -> list[Action]:
        """Let go of a peer that passes on what no honest node would have taken, at once or for too many bad signatures.

        A signature alone proves little: an honest peer may have checked it under the key before a rotation.
        """
        if batch.faults:
            return self._let_go_of(sender, batch.faults[0], now)
        bad = sum(isinstance(one, Refused) and one.reason is Reason.BAD_SIGNATURE for one in results)
        if bad:
            self._bad_signatures[sender] += bad
            if self._bad_signatures[sender] > MAX_BAD_SIGNATURES:
                return self._let_go_of(sender, Refused(Reason.BAD_SIGNATURE, f"{bad} more bad signatures"), now)
        return []

    def _let_go_of(self, sender: PeerId, why: Refused, now: int) -> list[Action]:
        """Let go of a peer, and look at nothing that it sent besides: that may be long, and costly to refuse."""
        if why.reason.permanent and sender in self._sources:
            self._let_go.add(sender)
            self._turns.forget(sender)
        return self.agreement.punish(sender, why.reason, why.detail, now)

    def _relay(self) -> list[Action]:
        actions: list[Action] = [SendAll(Channel.TRANSACTIONS, frame) for frame in self.admission.take_outbox()]
        actions += [SendAll(Channel.TRANSACTIONS, frame, heard=True) for frame in self.admission.take_heard()]
        return actions

    # ---- bodies of proposals

    def _follow_up(self, actions: list[Action]) -> list[Action]:
        """Make sure that missing bodies, and blocks of peers ahead of us, are asked for in a moment, and news told."""
        if self.agreement.engine.has_news:
            actions += self._timer(Tick.SIGHTINGS, SIGHTINGS_AFTER)
        if self.agreement.candidates.missing:
            actions += self._timer(Tick.BODIES, BODIES_AFTER)
        if self.catch_up.best > self.chain.height:
            actions += self._peer_ahead()
        return actions

    def _ask_bodies(self) -> list[Action]:
        missing = self.agreement.candidates.missing
        if not missing:
            return []
        actions: list[Action] = []
        if self._sources:
            peer_id = self._sources.pop(0)
            self._sources.append(peer_id)
            for payload in wtxid_requests(missing):
                ticket = next(self._tickets)
                self._body_requests.add(ticket)
                actions.append(Ask(ticket, peer_id, payload))
        return actions + self._timer(Tick.BODIES, BODIES_AGAIN)

    def _prefer(self, peer_id: PeerId) -> None:
        if peer_id in self._sources:
            self._sources.remove(peer_id)
            self._sources.insert(0, peer_id)

    # ---- answers

    def answers(self, payload: bytes, moniker: str, port: int) -> Iterator[bytes]:
        """Yield the frames that answer a peer's request. Raises Refused as `node.serving.answers`."""
        return answers(payload, self.chain, self.agreement.candidates, self._shelf, moniker, port)

    def answer_frame(self, ticket: int, peer_id: PeerId, frame: bytes, now: int) -> list[Action]:
        """A frame of an answer to one of our requests."""
        try:
            if self.catch_up.is_ours(ticket):
                return self.pursuit.frame(ticket, frame) + self._go_on()
            answer = answer_codec.decode(frame)
        except Refused as refused:
            self.catch_up.forget(peer_id)
            return self.agreement.punish(peer_id, refused.reason, refused.detail, now)
        if ticket in self._body_requests and isinstance(answer, Transactions):
            self.agreement.candidates.offer(answer.transactions)
            return self.agreement.bodies_came(now)
        return []

    def answer_over(self, ticket: int, peer_id: PeerId, refused: Refused | None, now: int) -> list[Action]:
        """An answer is complete, or was refused."""
        self._body_requests.discard(ticket)
        if not self.catch_up.is_ours(ticket):
            return []
        known = self.catch_up.has_deleted(peer_id)
        self.catch_up.over(ticket, deleted=refused is not None and refused.reason is Reason.NOT_AVAILABLE)
        if refused is not None and not known:
            _log.info("no blocks", peer=peer_id, reason=refused.reason.value, detail=refused.detail)
        return self.pursuit.request() + self._resume(now)

    # ---- catching up

    def _adopt_next(self, now: int) -> list[Action]:
        """Take over the next block; one at a time, so that peers and users are served between."""
        actions = self.pursuit.adopt_next(now) if self.pursuit.is_ready else []
        return actions + self._go_on() + self.pursuit.request() + self._resume(now)

    def _go_on(self) -> list[Action]:
        return self._timer(Tick.CATCH_UP, 0) if self.pursuit.is_ready else []

    def _resume(self, now: int) -> list[Action]:
        """Go back to consensus when there is nothing more to take over, and ask for what was said meanwhile."""
        if not self.agreement.is_behind or self.catch_up.active:
            return []
        actions = self.agreement.start_height(now)
        actions.append(SendAll(Channel.CONSENSUS, self._status_frame()))
        return self._follow_up(actions)

    # ---- where everybody stands

    def _status_frame(self) -> bytes:
        return encode(RoundStatusMessage(self.agreement.engine.round_status()))

    def _look(self) -> list[Action]:
        """Tell all peers where we stand if we are stuck in a round, and now and then anyway."""
        self._told.clear()
        self._looks += 1
        step = self.agreement.engine.step
        stuck = step == self._last_look and step.name != RoundStep.UNSTARTED.value
        self._last_look = step
        actions: list[Action] = list(self._timer(Tick.STATUS, STATUS_EVERY))
        if self._hearsay.unanswered(self.chain.height) or stuck or self._looks % HEARTBEAT == 0:
            actions.append(SendAll(Channel.CONSENSUS, self._status_frame()))
        return actions

    def _peer_status(self, peer_id: PeerId, status: RoundStatus) -> list[Action]:
        self.agreement.passing.status(peer_id, status)
        committed = Height(status.height - 1)
        if committed > self.chain.height:
            self.catch_up.note(peer_id, committed)
            return self._peer_ahead()
        if status.height == self.agreement.engine.step.height:
            messages = self.agreement.engine.lacking(status)
            return [Send(peer_id, Channel.CONSENSUS, message_frame(message)) for message in messages]
        if committed < self.chain.height and peer_id not in self._told:
            self._told.add(peer_id)
            return [Send(peer_id, Channel.CONSENSUS, self._status_frame())]
        return []

    def _tell_sightings(self) -> list[Action]:
        """Tell peers whose votes we saw."""
        news = self.agreement.engine.news()
        told: list[Action] = [SendAll(Channel.CONSENSUS, encode(SightingsMessage(seen))) for seen in news]
        return told + self._tell_wishes()

    def _tell_wishes(self) -> list[Action]:
        """Tell peers whose votes they are to pass on to us, where that has changed."""
        return self.agreement.passing.tell(self.chain.tip.validators)

    def _contradict(self, peer_id: PeerId, seen: Sightings) -> list[Action]:
        """Show a peer what contradicts what it saw, each message once: it may ask again and again."""
        shown = self._shown.setdefault(peer_id, set())
        if len(shown) > MAX_SHOWN:
            shown.clear()
        actions: list[Action] = []
        for message in self.agreement.engine.contradicting(seen):
            if message.signature not in shown:
                shown.add(message.signature)
                frame = message_frame(message) if isinstance(message, Vote) else encode(OfferMessage(message))
                actions.append(Send(peer_id, Channel.CONSENSUS, frame))
        if self.agreement.passing.saw(peer_id, seen):
            actions += self._timer(Tick.DOUBTS, DOUBTS_AFTER)
        return actions

    def _peer_ahead(self) -> list[Action]:
        """Somebody is ahead of us: one block may be on its way to us, more are asked for at once."""
        asked_for = self._hearsay.expects(self.chain.height)
        if self.catch_up.best > self.chain.height + 1 or self.catch_up.active or asked_for:
            return self.pursuit.request()
        return self._timer(Tick.BEHIND, BEHIND_AFTER)

    def _timer(self, tick: Tick, delay: int) -> list[Action]:
        if tick in self._timers:
            return []
        self._timers.add(tick)
        return [StartTimer(tick, delay)]
