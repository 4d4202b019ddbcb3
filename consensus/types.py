"""What validators say to each other, and what they agree on. All frozen, all with one canonical encoding."""

from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.encoding import Codec, Record, encode
from state.types import (
    Address,
    AddressField,
    BlockId,
    BlockIdField,
    ChainId,
    ChainIdField,
    Hash32,
    Height,
    HeightField,
    Index,
    Round,
    RoundField,
    Unsigned,
    VotedBlockId,
    WtxIdField,
)
from state.version import PROTOCOL_VERSION

NIL: Final = BlockId(b"")
"""The vote for no block."""
MAX_VALIDATORS: Final = 256
MAX_KEY: Final = 4096
MAX_SIGNATURE: Final = 4096
KeyField = Annotated[bytes, Meta(min_length=33, max_length=MAX_KEY)]
PowerField = Annotated[int, Meta(ge=1, le=2**50)]
SignatureField = Annotated[bytes, Meta(max_length=MAX_SIGNATURE)]


class Validator(Record, frozen=True):
    """A consensus key with its voting power. `operator` is the account that its rewards go to.

    `public_key` begins with the scheme byte; `address` = H("address", public_key).
    """

    address: AddressField
    public_key: KeyField
    power: PowerField
    operator: AddressField


class ValidatorSet(Record, frozen=True, dict=True, gc=True):
    """Validators in rising order of address. Votes and commits name a validator by its index here."""

    validators: Annotated[tuple[Validator, ...], Meta(min_length=1, max_length=MAX_VALIDATORS)]

    @cached_property
    def total_power(self) -> int:
        """Sum of all powers."""
        return sum(validator.power for validator in self.validators)

    @cached_property
    def hash(self) -> bytes:
        """H("validators", encoding)."""
        return digest(Label.VALIDATORS, encode(self))

    @cached_property
    def _index(self) -> dict[Address, int]:
        return {validator.address: index for index, validator in enumerate(self.validators)}

    def __len__(self) -> int:
        return len(self.validators)

    def index_of(self, address: Address) -> int | None:
        """Return the validator's index, or None for a stranger."""
        return self._index.get(address)

    def is_quorum(self, power: int) -> bool:
        """More than two thirds of the power."""
        return 3 * power > 2 * self.total_power

    def is_blocking(self, power: int) -> bool:
        """More than one third of the power: at least one of them is honest (f + 1)."""
        return 3 * power > self.total_power


class Header(Record, frozen=True, dict=True, gc=True):
    """What a block id commits to. `state_root` and `receipts_root` are those after the *previous* block."""

    version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    chain_id: ChainIdField
    height: HeightField
    time: Unsigned  # ms since 1970, strictly rising
    proposer: AddressField
    previous: BlockIdField  # the chain id for height 1
    last_commit_hash: Hash32
    transactions_root: Hash32
    state_root: Hash32
    receipts_root: Hash32
    validators_hash: Hash32
    next_validators_hash: Hash32
    evidence_root: Hash32
    beacon: Hash32

    @cached_property
    def block_id(self) -> BlockId:
        """H("block", encoding)."""
        return BlockId(digest(Label.BLOCK, encode(self)))


class VoteKind(IntEnum):
    """The two votes of a round."""

    PREVOTE = 1
    PRECOMMIT = 2


class Vote(Record, frozen=True):
    """A signed prevote or precommit; `block_id` empty means nil. `validator` is an index into the height's set."""

    kind: VoteKind
    height: HeightField
    round: RoundField
    block_id: VotedBlockId
    validator: Index
    signature: SignatureField


class CommitSignature(Record, frozen=True):
    """One precommit for the committed block."""

    validator: Index
    signature: SignatureField


class Commit(Record, frozen=True, dict=True, gc=True):
    """Proof that more than 2/3 of the power precommitted one block. Signatures in rising order of index."""

    height: HeightField
    round: RoundField
    block_id: VotedBlockId
    signatures: Annotated[tuple[CommitSignature, ...], Meta(max_length=MAX_VALIDATORS)]

    @cached_property
    def hash(self) -> bytes:
        """H("commit", encoding)."""
        return digest(Label.COMMIT, encode(self))


EMPTY_COMMIT: Final = Commit(Height(0), Round(0), NIL, ())
"""What block 1 carries as the commit of genesis."""


class DuplicateVote(Record, frozen=True, tag=1):
    """Two votes of one validator for different block ids at one height, round and kind; lower block id first."""

    validator: AddressField
    first: Vote
    second: Vote


class DuplicateProposal(Record, frozen=True, tag=2):
    """Two proposals of one validator for different block ids at one height and round; lower block id first."""

    validator: AddressField
    height: HeightField
    round: RoundField
    first: tuple[Annotated[int, Meta(ge=-1)], BlockIdField, SignatureField]  # pol round, block id, signature
    second: tuple[Annotated[int, Meta(ge=-1)], BlockIdField, SignatureField]


class LightClientAttack(Record, frozen=True, tag=3):
    """One validator's precommit for a header that the chain's rules do not give: made to fool a light client.

    `trusted` is the chain's own header of that height, `conflicting` the other one, `round` and `signature` those of
    the precommit. At `common_height`, not above, the accused was a validator of this chain. An attack by many
    validators is one such record for each, so that it fits into any block.
    """

    validator: AddressField
    common_height: HeightField
    trusted: Header
    conflicting: Header
    round: RoundField
    signature: SignatureField


Evidence = DuplicateVote | DuplicateProposal | LightClientAttack


class Proposal(Record, frozen=True):
    """The proposer's signed offer. `pol_round` is the round of its proof-of-lock prevotes, or -1.

    The signature covers chain id, height, round, pol_round and block id; the block id covers header, and
    through it the wtxids, the last commit and the evidence.
    """

    round: RoundField
    pol_round: Annotated[int, Meta(ge=-1, le=2**31 - 1)]
    header: Header
    wtxids: Annotated[tuple[WtxIdField, ...], Meta(max_length=25_000)]
    last_commit: Commit
    evidence: Annotated[tuple[Evidence, ...], Meta(max_length=64)]
    signature: SignatureField

    @property
    def height(self) -> Height:
        """The header's height."""
        return self.header.height

    @property
    def block_id(self) -> BlockId:
        """The header's id."""
        return self.header.block_id


class SignedOffer(Record, frozen=True):
    """The words that a proposer signed, without the block: enough to prove that it signed two."""

    height: HeightField
    round: RoundField
    pol_round: Annotated[int, Meta(ge=-1, le=2**31 - 1)]
    block_id: BlockIdField
    signature: SignatureField


class Block(Record, frozen=True):
    """A whole block: what is stored, synced and executed. `transactions` are wire bytes, in execution order."""

    header: Header
    transactions: tuple[bytes, ...]
    last_commit: Commit
    evidence: tuple[Evidence, ...]


header_codec: Final = Codec(Header)
vote_codec: Final = Codec(Vote)
commit_codec: Final = Codec(Commit)
proposal_codec: Final = Codec(Proposal)
block_codec: Final = Codec(Block, max_size=64 << 20)
validator_set_codec: Final = Codec(ValidatorSet)


def make_validator_set(validators: Sequence[Validator]) -> ValidatorSet:
    """Return the set in canonical order. Raises Refused(BAD_ARGUMENT) on a double address."""
    ordered = tuple(sorted(validators, key=lambda validator: validator.address))
    if len({validator.address for validator in ordered}) != len(ordered):
        raise Refused(Reason.BAD_ARGUMENT, "a validator appears twice")
    return ValidatorSet(ordered)


def vote_sign_bytes(chain_id: ChainId, kind: VoteKind, height: Height, round: Round, block_id: BlockId) -> bytes:
    """Return the 32 bytes that a vote signs."""
    return digest(Label.VOTE, encode((chain_id, int(kind), height, round, block_id)))


def proposal_sign_bytes(chain_id: ChainId, height: Height, round: Round, pol_round: int, block_id: BlockId) -> bytes:
    """Return the 32 bytes that a proposal signs."""
    return digest(Label.PROPOSAL, encode((chain_id, height, round, pol_round, block_id)))


class ConsensusParams(Record, frozen=True):
    """Timing of consensus, fixed at genesis. All in ms."""

    timeout_propose: Unsigned = 1500
    timeout_prevote: Unsigned = 500
    timeout_precommit: Unsigned = 500
    timeout_delta: Unsigned = 500
    """Each timeout grows by this per round ..."""
    timeout_max: Unsigned = 10_000
    """... up to this cap."""
    block_interval: Unsigned = 400
    """A proposer waits this long after the previous block before it proposes."""
    precision: Unsigned = 500
    """PBTS: bound on the clock difference of two honest nodes."""
    message_delay: Unsigned = 15_000
    """PBTS: bound on a proposal's way."""


class Tip(NamedTuple):
    """All that consensus needs to know of the committed chain before height `height + 1`.

    `previous_validators` voted on `height` (they signed `commit`), `validators` votes on height + 1 and
    `next_validators` on height + 2. `priorities` are the proposer priorities of `validators`, in set order.
    For a new chain: height 0, block_id = chain id, time = genesis time, commit = EMPTY_COMMIT, and
    previous_validators = validators.
    """

    chain_id: ChainId
    height: Height
    block_id: BlockId
    time: int
    commit: Commit
    state_root: bytes
    receipts_root: bytes
    beacon: bytes
    previous_validators: ValidatorSet
    validators: ValidatorSet
    next_validators: ValidatorSet
    priorities: tuple[int, ...]
    needs_proof_block: bool
    """The tip block holds transactions or evidence: one more block follows at once."""
    version: int = PROTOCOL_VERSION
    """Protocol version of height + 1."""
