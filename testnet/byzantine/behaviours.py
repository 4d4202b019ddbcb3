"""The liars by name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from consensus.effects import Signer
from consensus.types import VoteKind
from crypto.errors import Reason, Refused
from node.chain import Chain
from node.core import Core
from node.logic import NodeLogic, Wrap
from p2p.network import PeerId
from testnet.byzantine.proposing import (
    EquivocatingProposal,
    FalseEvidence,
    InvalidBlock,
    InvalidStateRoot,
    WithheldBodies,
    WrongProofOfLock,
)
from testnet.byzantine.sending import Deaf, Delayed, Selective, Silent
from testnet.byzantine.voting import Amnesia, DoubleVote, FutureRoundFlood, ReplayedVotes
from testnet.byzantine.wrapper import Seat

Liar = Callable[[NodeLogic, Seat], NodeLogic]

BEHAVIOURS: Final[Mapping[str, Liar]] = MappingProxyType({
    "double_prevote": partial(DoubleVote, kind=VoteKind.PREVOTE),
    "double_precommit": partial(DoubleVote, kind=VoteKind.PRECOMMIT),
    "equivocating_proposal": EquivocatingProposal,
    "amnesia": Amnesia,
    "wrong_proof_of_lock": WrongProofOfLock,
    "silent": Silent,
    "delayed": Delayed,
    "selective_sending": Selective,
    "invalid_block": InvalidBlock,
    "invalid_state_root": InvalidStateRoot,
    "replayed_votes": ReplayedVotes,
    "future_round_flood": FutureRoundFlood,
    "false_evidence": FalseEvidence,
    "withheld_bodies": WithheldBodies,
})
EQUIVOCATIONS: Final = ("equivocating_proposal", "double_prevote", "double_precommit")
"""Those that leave evidence. All three together are a validator with two faces."""


def lying(*names: str, accomplices: frozenset[PeerId] = frozenset(), deaf: bool = False) -> Wrap:
    """Return what makes a validator lie.

    Args:
        names: of behaviours; the first stands next to the core.
        accomplices: peers that lie with it: they hear both halves of everything.
        deaf: hear of no evidence.

    Raises:
        Refused: USAGE for an unknown name.
    """
    check_names(names)

    def wrap(core: Core, signer: Signer, chain: Chain) -> NodeLogic:
        seat = Seat(signer, chain, accomplices)
        logic: NodeLogic = Deaf(core, seat) if deaf else core
        for name in names:
            logic = BEHAVIOURS[name](logic, seat)
        return logic

    return wrap


def check_names(names: Sequence[str]) -> None:
    """Raise Refused(USAGE) if one of them is no behaviour."""
    for name in names:
        if name not in BEHAVIOURS:
            raise Refused(Reason.USAGE, f"there is no behaviour {name!r}; there are {', '.join(BEHAVIOURS)}")
