"""One request between two machines and the answer to it, as on a stream of the real transport.

What is lost on the way is sent again until the connection is gone: then the exchange ends at once. It also ends if no
frame comes for as long as the driver waits.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from crypto.errors import Reason, Refused
from node.actions import Ask
from node.driver import ANSWER_TIMEOUT
from testnet.sim.agenda import MS, SECOND, Agenda
from testnet.sim.naming import index_of, peer_name
from testnet.sim.network import Network
from testnet.sim.process import Process

TIMED_OUT: Final = int(ANSWER_TIMEOUT * SECOND)
AGAIN: Final = 400 * MS
"""After this long, what was lost is sent again."""


class Side(Protocol):
    """One of the two machines."""

    @property
    def alive(self) -> bool:
        """A node process runs."""
        ...

    @property
    def process(self) -> Process:
        """The node process."""
        ...

    @property
    def index(self) -> int:
        """The machine's place."""
        ...

    def said(self, payload: bytes) -> None:
        """A part of a request or an answer leaves."""
        ...

    def connection_with(self, other: int) -> int:
        """Return the number of the connection with a machine; 0 for none."""
        ...

    def forget(self, exchange: "Exchange") -> None:
        """An exchange that this machine began is over."""
        ...


class Around(Protocol):
    """What the machines share."""

    @property
    def agenda(self) -> Agenda:
        """The clock."""
        ...

    @property
    def network(self) -> Network:
        """The links."""
        ...

    def side(self, index: int) -> Side:
        """Return a machine."""
        ...


class Exchange:
    """A request under way.

    Args:
        asker: who asks.
        around: clock, links and machines.
        action: the request.
        connection: on which; 0 if there is none.

    Attributes:
        other: who is asked.
    """

    def __init__(self, asker: Side, around: Around, action: Ask, connection: int) -> None:
        self.other = index_of(action.peer_id)
        self._asker = asker
        self._process = asker.process
        self._around = around
        self._action = action
        self._connection = connection
        self._answer: deque[Callable[[], None]] = deque()
        self._over = False
        self._progress = 0

    def begin(self) -> None:
        """Send the request."""
        if self._connection:
            self._asker.said(self._action.payload)
            self._wait()
            self._send()
        else:
            self.end(Refused(Reason.CONNECTION_LOST, "the peer is gone"))

    def end(self, refused: Refused | None) -> None:
        """Tell the asker how it ended."""
        process, action = self._process, self._action
        if self._over or not process.alive:
            return
        self._over = True
        self._asker.forget(self)
        process.inbox.answer_over(action.ticket, action.peer_id, refused)

    # ---- on the way there

    def _send(self) -> None:
        if not self._over and not self._around.network.stream(self._asker.index, self.other, self._reach):
            self._around.agenda.after(AGAIN, self._send)

    def _reach(self) -> None:
        answerer = self._around.side(self.other)
        if answerer.alive and answerer.connection_with(self._asker.index) == self._connection:
            answerer.process.request(peer_name(self._asker.index), self._action.payload, self._reply, self._finish)

    # ---- on the way back

    def _reply(self, frame: bytes) -> None:
        self._around.side(self.other).said(frame)
        self._queue(partial(self._arrive, frame))

    def _finish(self, refused: Refused | None) -> None:
        self._queue(partial(self.end, refused))

    def _queue(self, part: Callable[[], None]) -> None:
        self._answer.append(part)
        if len(self._answer) == 1:
            self._flow()

    def _flow(self) -> None:
        """Send what waits, in order; from a lost part on, again in a moment."""
        while self._answer and not self._over:
            if not self._around.network.stream(self.other, self._asker.index, self._answer[0]):
                self._around.agenda.after(AGAIN, self._flow)
                return
            self._answer.popleft()

    def _arrive(self, frame: bytes) -> None:
        process, action = self._process, self._action
        if self._over or not process.alive:
            return
        self._wait()
        process.inbox.answer_frame(action.ticket, action.peer_id, frame)

    def _wait(self) -> None:
        self._progress += 1
        self._around.agenda.after(TIMED_OUT, partial(self._expire, self._progress))

    def _expire(self, progress: int) -> None:
        if progress == self._progress:
            self.end(Refused(Reason.TIMED_OUT, "no frame for too long"))
