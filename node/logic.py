"""What the driver calls of a core. Something else with these methods may stand around it: testnet/byzantine/ does."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from consensus.effects import Signer, SignProposal, SignVote
from crypto.errors import Refused
from node.actions import Action, Timer
from node.chain import Chain
from node.core import Core
from node.signatures import Verdict
from p2p.network import PeerId
from state.types import Height


class NodeLogic(Protocol):
    """A node's logic: events in, actions out. `node.core.Core` says what each method means."""

    def start(self, now: int) -> list[Action]:
        """Begin."""
        ...

    def timer_over(self, timer: Timer, now: int) -> list[Action]:
        """A timer ran out."""
        ...

    def signed(self, task: SignVote | SignProposal, signature: bytes, now: int) -> list[Action]:
        """A signature that was asked for is there."""
        ...

    def peer_connected(self, peer_id: PeerId, now: int) -> list[Action]:
        """A peer is there."""
        ...

    def peer_disconnected(self, peer_id: PeerId, now: int) -> list[Action]:
        """A peer is gone."""
        ...

    def consensus_frame(self, peer_id: PeerId, payload: bytes, now: int) -> list[Action]:
        """A frame came on CONSENSUS."""
        ...

    def misbehaved(self, peer_id: PeerId, refused: Refused, now: int) -> list[Action]:
        """A peer sent something that does not even decode."""
        ...

    def announced(self, height: Height, now: int) -> list[Action]:
        """Gossip says that a node has the block of this height."""
        ...

    def transactions(self, raws: Sequence[bytes], sender: PeerId, report: int, now: int) -> list[Action]:
        """Transactions came, from a peer or from a user."""
        ...

    def verified(self, ticket: int, verdicts: Sequence[Verdict], now: int) -> list[Action]:
        """Signatures of transactions are checked."""
        ...

    def answer_frame(self, ticket: int, peer_id: PeerId, frame: bytes, now: int) -> list[Action]:
        """A frame of an answer came."""
        ...

    def answer_over(self, ticket: int, peer_id: PeerId, refused: Refused | None, now: int) -> list[Action]:
        """An answer is complete, or was refused."""
        ...

    def answers(self, payload: bytes, moniker: str, port: int) -> Iterator[bytes]:
        """Yield the frames that answer a peer's request. Raises Refused."""
        ...


Wrap = Callable[[Core, Signer, Chain], NodeLogic]
"""Puts something around a core, given its consensus key and its chain."""


def unwrapped(core: Core, _signer: Signer, _chain: Chain) -> NodeLogic:
    """Return the core as it is."""
    return core
