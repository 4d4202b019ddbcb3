"""Runs the core with trio: one task owns it; events, timers, threads and requests reach it through an inbox.

The inbox (`node/inbox.py`) has two lanes. When the slow one is full, submissions are refused and peers are not read.
"""

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final, Literal

import trio

from consensus.effects import Signer, SignProposal, SignVote, Verifier
from consensus.types import Evidence
from crypto.errors import Reason, Refused
from node.actions import Action, Ask, SubmitResult, Timer, Verify
from node.admission import GOSSIP, SLICE
from node.events import BlockCommitted, EventFeed
from node.inbox import Event, Inbox, carry_out
from node.logic import NodeLogic
from node.signatures import verdicts
from p2p.network import (
    Channel,
    FrameReceived,
    Network,
    NetworkEvent,
    PeerConnected,
    PeerDisconnected,
    PeerId,
    RequestReceived,
)
from p2p.wire import EvidenceMessage
from state.encoding import encode
from state.types import Height

MAX_URGENT: Final = 4096
"""Events of consensus that wait at most; then peers are not read."""
MAX_SLICES: Final = 256
"""Slices of transactions from peers that wait at most."""
MAX_SUBMITTED_SLICES: Final = 128
"""With more slices than this waiting, submissions are refused: a queue only adds delay."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds without a frame after which a request has failed."""
MAX_ANSWERS: Final = 8
"""Requests of peers that are answered at one time."""
URGENT_RUN: Final = 16
"""Urgent events that are handled without giving other tasks a turn."""


def wall_clock() -> int:
    """Return ms since 1970."""
    return time.time_ns() // 1_000_000


def worker_count(setting: Literal["auto", "inline"] | int) -> int:
    """Return how many threads verify signatures; 0 means the owner's own.

    Proofs always go to a thread: they take milliseconds, most of them with the interpreter released.

    With few processors threads only take turns and pay for it [measured: 95 to 140 us a transaction over four nodes].
    """
    if setting == "inline":
        return 0
    if setting == "auto":
        processors = len(os.sched_getaffinity(0))
        return 0 if processors <= 2 else min(processors - 1, 4)
    return setting


class NoSigner:
    """The signer of a node without a consensus key: its engine never asks."""

    public_key = b""

    def sign(self, message: bytes) -> bytes:
        """Never called. Raises AssertionError."""
        raise AssertionError("a node without a consensus key signs nothing")


class Driver:
    """The task that owns a core.

    Args:
        core: the node's logic, or what is wrapped around it.
        network: the peers.
        signer: the consensus key, or NoSigner.
        verifier: checks transactions' signatures.
        feed: where committed blocks are published.
        moniker: what to tell peers who ask.
        workers: threads for signatures; 0 for none.
    """

    def __init__(
        self, core: NodeLogic, network: Network, signer: Signer, verifier: Verifier, feed: EventFeed, moniker: str,
        workers: int,
    ) -> None:
        self._core = core
        self._network = network
        self._signer = signer
        self._verifier = verifier
        self._feed = feed
        self._moniker = moniker
        self._workers = workers
        self._limiter = trio.CapacityLimiter(max(workers, 1))
        self._answering = trio.CapacityLimiter(MAX_ANSWERS)
        self._asleep = trio.lowlevel.ParkingLot()
        self._inbox = Inbox(core, verifier, self._asleep.unpark)
        self._jobs: list[Callable[[], Awaitable[None]]] = []
        """What the actions of the present event leave to tasks of their own."""
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._room = trio.lowlevel.ParkingLot()
        self._reports: dict[int, tuple[trio.Event, list[SubmitResult]]] = {}

    # ---- for the service

    async def submit(self, raws: Sequence[bytes]) -> tuple[SubmitResult, ...]:
        """Return what became of each transaction, in order."""
        if len(self._inbox.slow) >= MAX_SUBMITTED_SLICES:
            refused = Refused(Reason.MEMPOOL_FULL, "the node is busy with other transactions; try again in a moment")
            return (refused,) * len(raws)
        done: list[tuple[trio.Event, list[SubmitResult]]] = []
        for start in range(0, len(raws), SLICE):
            ticket = next(self._order) + 1
            self._reports[ticket] = (trio.Event(), [])
            done.append(self._reports[ticket])
            self._inbox.submitted(raws[start : start + SLICE], ticket)
        for event, _ in done:
            await event.wait()
        return tuple(result for _, results in done for result in results)

    def accuse(self, evidence: Evidence) -> None:
        """Hand evidence to the core as if a peer had told it; nobody is let go of if it proves nothing."""
        self._inbox.post(partial(self._core.consensus_frame, PeerId(b""), encode(EvidenceMessage(evidence))))

    async def hear_transactions(self, raws: Sequence[bytes]) -> None:
        """Hand over transactions that gossip brought, waiting for room."""
        while len(self._inbox.slow) >= MAX_SLICES:
            await self._room.park()
        self._inbox.transactions(raws, GOSSIP)

    def hear_block(self, height: Height) -> None:
        """Gossip says that a node has the block of this height."""
        self._inbox.post(partial(self._core.announced, height))

    # ---- the loop

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the core until cancelled.

        Raises:
            Refused: CORRUPT_LOG or CORRUPT_DATABASE; BAD_HEADER if the chain and this node disagree for good.
        """
        async with trio.open_nursery() as nursery:
            self._carry_out(self._core.start(wall_clock()), nursery)
            nursery.start_soon(self._read, self._network.consensus_events, self._inbox.urgent, MAX_URGENT, nursery)
            nursery.start_soon(self._read, self._network.bulk_events, self._inbox.slow, MAX_SLICES, nursery)
            task_status.started()
            while True:
                await self._wait()
                self._turn(nursery)

    async def _wait(self) -> None:
        """Give other tasks a turn, and sleep if there is nothing to do."""
        if self._inbox.urgent or self._inbox.slow:
            await trio.lowlevel.checkpoint()
            return
        wake_at = self._timers[0][0] if self._timers else float("inf")
        with trio.move_on_at(wake_at):
            await self._asleep.park()

    def _turn(self, nursery: trio.Nursery) -> None:
        """Handle what is urgent, then at most one slice."""
        time_now, inbox = trio.current_time(), self._inbox
        while self._timers and self._timers[0][0] <= time_now:
            inbox.timer_over(heappop(self._timers)[2])
        for _ in range(URGENT_RUN):
            if not inbox.urgent:
                break
            self._handle(inbox.urgent.popleft(), nursery)
        if inbox.slow and not inbox.urgent:
            self._handle(inbox.slow.popleft(), nursery)
        self._room.unpark_all()

    def _handle(self, event: Event, nursery: trio.Nursery) -> None:
        self._carry_out(event(wall_clock()), nursery)

    def _carry_out(self, actions: list[Action], nursery: trio.Nursery) -> None:
        for action in actions:
            carry_out(action, self)
        while self._jobs:
            nursery.start_soon(self._jobs.pop(0))

    # ---- actions: `node.inbox.Hands`

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> None:
        """See `Hands`."""
        self._network.send(peer_id, channel, payload)

    def send_all(self, channel: Channel, payload: bytes, heard: bool) -> None:
        """See `Hands`."""
        self._network.broadcast(channel, payload, heard=heard)

    def spread(self, evidence: Evidence, consensus_key: bytes) -> None:
        """See `Hands`."""
        self._network.accuse(evidence, consensus_key)

    def start_timer(self, timer: Timer, delay: int) -> None:
        """See `Hands`."""
        heappush(self._timers, (trio.current_time() + delay / 1000, next(self._order), timer))

    def sign(self, task: SignVote | SignProposal, message: bytes) -> None:
        """See `Hands`."""
        self._jobs.append(partial(self._sign, task, message))

    def verify(self, action: Verify) -> None:
        """See `Hands`."""
        if self._workers or action.has_proofs or action.beside:
            self._jobs.append(partial(self._verify_on_thread, action))
        else:
            self._inbox.verify(action)

    def ask(self, action: Ask) -> None:
        """See `Hands`."""
        self._jobs.append(partial(self._ask, action))

    def report(self, ticket: int, results: tuple[SubmitResult, ...]) -> None:
        """See `Hands`."""
        event, kept = self._reports.pop(ticket)
        kept.extend(results)
        event.set()

    def let_go(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """See `Hands`."""
        self._network.disconnect(peer_id, reason, detail)

    def publish(self, event: BlockCommitted) -> None:
        """See `Hands`."""
        self._feed.publish(event)

    async def _sign(self, task: SignVote | SignProposal, message: bytes) -> None:
        self._inbox.signed(task, await trio.to_thread.run_sync(self._signer.sign, message))

    async def _verify_on_thread(self, action: Verify) -> None:
        found = await trio.to_thread.run_sync(verdicts, self._verifier, action.checks, limiter=self._limiter)
        self._inbox.post(partial(self._core.verified, action.ticket, found))

    async def _ask(self, action: Ask) -> None:
        end: Refused | None = None
        try:
            async for frame in self._network.request(action.peer_id, action.payload, ANSWER_TIMEOUT):
                self._inbox.answer_frame(action.ticket, action.peer_id, frame)
        except Refused as refused:
            end = refused
        self._inbox.answer_over(action.ticket, action.peer_id, end)

    # ---- the network's events

    async def _read(
        self, events: trio.MemoryReceiveChannel[NetworkEvent], lane: deque[Event], most: int, nursery: trio.Nursery
    ) -> None:
        """Pass events on to the inbox; while their lane is full, leave the peers' streams shut."""
        async for event in events:
            match event:
                case PeerConnected(peer_id):
                    self._inbox.connected(peer_id)
                case PeerDisconnected(peer_id):
                    self._inbox.disconnected(peer_id)
                case FrameReceived(peer_id, channel, payload):
                    self._inbox.frame(peer_id, channel, payload)
                case RequestReceived():
                    nursery.start_soon(self._answer, event)
            while len(lane) >= most:
                await self._room.park()

    async def _answer(self, request: RequestReceived) -> None:
        core, reply = self._core, request.reply
        try:
            async with self._answering:
                if reply.wanted:
                    for frame in core.answers(request.payload, self._moniker, self._network.port):
                        await reply.send(frame)
                await reply.end()
        except Refused as refused:
            if refused.reason is Reason.CORRUPT_DATABASE:
                raise
            await reply.refuse(refused.reason, refused.detail)
            if refused.reason.permanent:
                self._inbox.misbehaved(request.peer_id, refused)
