"""Liars who say the truth, but not to all, or not in time; and who do not listen."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from consensus.effects import Timeout
from crypto.errors import Refused
from node.actions import Action, StartTimer, Timer
from node.logic import NodeLogic
from p2p.network import PeerId
from p2p.wire import ConsensusMessage, EvidenceMessage, consensus_message_codec
from state.types import Height, Round
from testnet.byzantine.wrapper import Seat, Wrapper

DELAY: Final = 900
"""ms by which everything comes late: more than a round of one vote takes."""
_DELAYED: Final = "delayed"
"""Step of the timers that are ours and not the core's."""


class Deaf(Wrapper):
    """Hears of no evidence, and so does not accuse itself."""

    def consensus_frame(self, peer_id: PeerId, payload: bytes, now: int) -> list[Action]:
        """Leave evidence out."""
        with suppress(Refused):  # the core says so itself
            if isinstance(consensus_message_codec.decode(payload), EvidenceMessage):
                return []
        return super().consensus_frame(peer_id, payload, now)


class Silent(Wrapper):
    """Says nothing."""

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Say nothing."""
        return []


class Selective(Wrapper):
    """Talks with one half of the network only."""

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Leave the second half out."""
        return self.tell(message, self.seat.audience(receivers, first_half=True))


class Delayed(Wrapper):
    """Says everything late."""

    def __init__(self, inner: NodeLogic, seat: Seat) -> None:
        super().__init__(inner, seat)
        self._held: dict[int, list[Action]] = {}
        self._count = 0

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Hold it back."""
        self._count += 1
        self._held[self._count] = self.tell(message, receivers)
        return [StartTimer(Timeout(Height(0), Round(self._count), _DELAYED), DELAY)]

    def timer_over(self, timer: Timer, now: int) -> list[Action]:
        """Let go what was held back."""
        if isinstance(timer, Timeout) and timer.step == _DELAYED:
            return self._held.pop(timer.round)
        return super().timer_over(timer, now)
