"""What this validator signed last, in a file of its own beside the key: the last line against signing twice.

The consensus log (node/consensus_log.py) remembers a height in progress, and goes with the data folder. This file
outlives it: an operator may delete the log, restore an older data folder or undo a block, and still nothing is
signed below or beside what was signed. Heights, rounds and the steps of a round only rise; what was signed is sent
again as it is. It holds our last precommit for a block too, which is our lock (arXiv 1807.04938, L38 to L40).

    signed -> log, synced -> this file, synced -> peers

The log comes first: it holds the block that a precommit locks on, without which a lock could stop the chain. So a
crash between the two leaves the log ahead, and `SignGuard.learn` makes up for it before anything leaves.
"""

from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from consensus.effects import SignProposal, SignVote
from consensus.types import NIL, Proposal, SignatureField, Vote, VoteKind
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from node.document import DiskDocument, Document
from state.encoding import Codec, Record, encode
from state.types import (
    HASH_SIZE,
    Address,
    AddressField,
    ChainId,
    ChainIdField,
    Height,
    HeightField,
    Round,
    RoundField,
    VotedBlockId,
)


class SignStep(IntEnum):
    """What may be signed in a round, in the order in which it is."""

    NOTHING = 0
    PROPOSAL = 1
    PREVOTE = 2
    PRECOMMIT = 3


STEP_OF: Final = {VoteKind.PREVOTE: SignStep.PREVOTE, VoteKind.PRECOMMIT: SignStep.PRECOMMIT}
Place = tuple[int, int, SignStep]
"""Height, round and step: compared in this order."""


class SignState(Record, frozen=True):
    """What one key signed last on one chain.

    Attributes:
        key: address of the consensus key.
        chain_id: of the chain.
        height, round, step: where it was signed; with step NOTHING, the first height at which it may sign.
        block_id: what was signed; empty for nil.
        pol_round: of a proposal; -1 for a vote.
        signature: over it; sent again, never made anew.
        votes: our last vote, if `step` is one, and our last precommit for a block at this height, each once.
        exported: another machine took over: this one signs no more.
    """

    key: AddressField
    chain_id: ChainIdField
    height: HeightField
    round: RoundField
    step: SignStep
    block_id: VotedBlockId
    pol_round: Annotated[int, Meta(ge=-1, le=2**31 - 1)]
    signature: SignatureField
    votes: Annotated[tuple[Vote, ...], Meta(max_length=2)]
    exported: bool

    @property
    def place(self) -> Place:
        """Where it was signed."""
        return self.height, self.round, self.step


sign_state_codec: Final = Codec(SignState, max_size=64 << 10)


def sign_document(path: Path) -> DiskDocument:
    """Return the state's document in a real file; its refusals are BAD_SIGN_STATE."""
    return DiskDocument(path, Reason.BAD_SIGN_STATE)


def new_state(key: Address, chain_id: ChainId, passed: int = 0) -> SignState:
    """Return the state of a key that signs nothing up to height `passed`; 0 for one that has never signed."""
    return SignState(key, chain_id, Height(passed + 1), Round(0), SignStep.NOTHING, NIL, -1, b"", (), False)


def encode_state(state: SignState) -> bytes:
    """Return the file's bytes: H("sign-state", payload) || payload."""
    payload = encode(state)
    return digest(Label.SIGN_STATE, payload) + payload


def decode_state(raw: bytes) -> SignState:
    """Return what `encode_state` wrote.

    Raises:
        Refused: BAD_SIGN_STATE if a bit of it is not as it was written.
    """
    payload = raw[HASH_SIZE:]
    if digest(Label.SIGN_STATE, payload) != raw[:HASH_SIZE]:
        raise Refused(Reason.BAD_SIGN_STATE, "the last-sign state is damaged")
    try:
        return sign_state_codec.decode(payload)
    except Refused as refused:
        raise Refused(Reason.BAD_SIGN_STATE, f"the last-sign state is of another version: {refused.detail}") from None


def check_owner(state: SignState, key: Address, chain_id: ChainId) -> None:
    """Make sure that a state is of this key and chain. Raises Refused(BAD_SIGN_STATE)."""
    if state.key != key:
        raise Refused(Reason.BAD_SIGN_STATE, "the last-sign state is of another consensus key than this home's")
    if state.chain_id != chain_id:
        raise Refused(Reason.BAD_SIGN_STATE, "the last-sign state is of another chain")


def place_of(said: Vote | Proposal | SignVote | SignProposal) -> Place:
    """Return where a message, or the wish to sign one, stands."""
    if isinstance(said, Vote | SignVote):
        return said.height, said.round, STEP_OF[said.kind]
    proposal = said.proposal if isinstance(said, SignProposal) else said
    return proposal.height, proposal.round, SignStep.PROPOSAL


def state_after(state: SignState, message: Vote | Proposal) -> SignState:
    """Return the state once a message is signed.

    Raises:
        Refused: DOUBLE_SIGN if it stands below or beside what was signed.
    """
    place = place_of(message)
    if place <= state.place:
        raise Refused(Reason.DOUBLE_SIGN, f"{place} does not come after {state.place}, which was signed")
    lock = tuple(vote for vote in state.votes if vote.height == message.height and _is_lock(vote))
    height, round, step = message.height, message.round, place[2]
    if isinstance(message, Proposal):
        return replace(
            state, height=height, round=round, step=step, block_id=message.block_id, pol_round=message.pol_round,
            signature=message.signature, votes=lock,
        )
    votes = (message,) if _is_lock(message) else (*lock, message)
    return replace(
        state, height=height, round=round, step=step, block_id=message.block_id, pol_round=-1,
        signature=message.signature, votes=votes,
    )


def _is_lock(vote: Vote) -> bool:
    return vote.kind is VoteKind.PRECOMMIT and vote.block_id != NIL


class SignGuard:
    """Lets a validator sign each place once. Made by `open_guard`.

    Attributes:
        state: as it is in the file.
    """

    def __init__(self, file: Document, state: SignState) -> None:
        self.state = state
        self._file = file

    def permits(self, said: Vote | Proposal | SignVote | SignProposal) -> bool:
        """Whether it stands above all that was signed."""
        return place_of(said) > self.state.place

    def signature_of(self, task: SignVote | SignProposal) -> bytes:
        """Return the signature that was made for exactly this, or nothing."""
        state = self.state
        same = place_of(task) == state.place
        if isinstance(task, SignVote):
            return state.signature if same and task.block_id == state.block_id else b""
        said = (task.proposal.block_id, task.proposal.pol_round)
        return state.signature if same and said == (state.block_id, state.pol_round) else b""

    def record(self, message: Vote | Proposal) -> None:
        """Remember a message of ours; it may leave when this returns.

        Raises:
            Refused: DOUBLE_SIGN, and nothing is changed; BAD_SIGN_STATE if the file cannot be written.
        """
        state = state_after(self.state, message)
        self._file.replace(encode_state(state))
        self.state = state

    def learn(self, messages: list[Vote | Proposal]) -> None:
        """Take in what the log says that we signed, and the file does not: the crash came between the two."""
        for message in sorted(messages, key=place_of):
            if self.permits(message):
                self.record(message)

    def votes_at(self, height: int) -> tuple[Vote, ...]:
        """Return the votes kept of a height: where we stood, and what we are locked on."""
        return tuple(vote for vote in self.state.votes if vote.height == height)


def open_guard(file: Document, key: Address, chain_id: ChainId, is_new: bool) -> SignGuard:
    """Read the file of a validator.

    Args:
        file: where the state is kept.
        key: address of our consensus key.
        chain_id: of our chain.
        is_new: the chain has no block yet: a missing file is written.

    Raises:
        Refused: BAD_SIGN_STATE if it is missing, damaged, or of another key or chain; SIGN_STATE_EXPORTED.
    """
    raw = file.read()
    if not raw and is_new:
        state = new_state(key, chain_id)
        file.replace(encode_state(state))
        return SignGuard(file, state)
    if not raw:
        raise Refused(Reason.BAD_SIGN_STATE, "this validator's last-sign state is missing, and its chain is not new")
    state = decode_state(raw)
    check_owner(state, key, chain_id)
    if state.exported:
        raise Refused(Reason.SIGN_STATE_EXPORTED, "the last-sign state was exported: another machine signs now")
    return SignGuard(file, state)
