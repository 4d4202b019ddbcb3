"""Commits: the certificate that more than two thirds of the power precommitted one block."""

from collections.abc import Iterable

from consensus.effects import Verifier
from consensus.types import Commit, CommitSignature, ValidatorSet, Vote, VoteKind, vote_sign_bytes
from crypto.errors import Reason, Refused
from state.types import BlockId, ChainId, Height, Round


def make_commit(height: Height, round: Round, block_id: BlockId, precommits: Iterable[Vote]) -> Commit:
    """Return the commit of verified precommits for one block; which they are is the caller's care."""
    signatures = {vote.validator: vote.signature for vote in precommits}
    ordered = tuple(CommitSignature(validator, signatures[validator]) for validator in sorted(signatures))
    return Commit(height, round, block_id, ordered)


def verify_commit(
    chain_id: ChainId, validators: ValidatorSet, height: Height, block_id: BlockId, commit: Commit, verifier: Verifier
) -> None:
    """Check that `commit` proves `block_id` at `height`, every signature of it.

    Args:
        chain_id: what every signature is bound to.
        validators: the set of that very height.
        height: the height that the commit must be of.
        block_id: the block that the commit must be for.
        commit: the certificate, from anybody.
        verifier: checks one signature.

    Raises:
        Refused: BAD_COMMIT for another height or block, order, a stranger, or too little power; BAD_SIGNATURE.
    """
    _check_form(validators, height, block_id, commit)
    message = _message(chain_id, commit)
    for signature in commit.signatures:
        _check_signature(validators, message, signature, verifier)


def verify_commit_light(
    chain_id: ChainId, validators: ValidatorSet, height: Height, block_id: BlockId, commit: Commit, verifier: Verifier
) -> None:
    """As `verify_commit`, but stops at the first signatures that make up more than two thirds.

    Enough to know that the block is final. Not enough where each signature counts (rewards, uptime).

    Raises:
        Refused: as `verify_commit`.
    """
    _check_form(validators, height, block_id, commit)
    message = _message(chain_id, commit)
    power = 0
    for signature in commit.signatures:
        _check_signature(validators, message, signature, verifier)
        power += validators.validators[signature.validator].power
        if validators.is_quorum(power):
            return


def signed_power(validators: ValidatorSet, commit: Commit) -> int:
    """Return the power behind a commit whose indices are known to be in the set."""
    return sum(validators.validators[signature.validator].power for signature in commit.signatures)


class GrowingCommit:
    """The tip's commit, and the precommits for it that come in after it was decided.

    A block is final with the first two thirds; whoever signed a little later is still added, so that the next
    block's proposer can name it: uptime and rewards come from the commit in the block.
    """

    def __init__(self, commit: Commit) -> None:
        self.commit = commit

    def wants(self, vote: Vote) -> bool:
        """Whether the vote is a precommit of the commit's block and round that it lacks."""
        commit = self.commit
        return (
            bool(commit.block_id)
            and vote.kind is VoteKind.PRECOMMIT
            and (vote.height, vote.round, vote.block_id) == (commit.height, commit.round, commit.block_id)
            and all(signature.validator != vote.validator for signature in commit.signatures)
        )

    def extend(self, votes: Iterable[Vote]) -> None:
        """Add votes whose signatures are known to be good; those that it does not want are passed over."""
        late = [CommitSignature(vote.validator, vote.signature) for vote in votes if self.wants(vote)]
        if late:
            commit = self.commit
            ordered = sorted((*commit.signatures, *late), key=lambda signature: signature.validator)
            self.commit = Commit(commit.height, commit.round, commit.block_id, tuple(ordered))


def _check_form(validators: ValidatorSet, height: Height, block_id: BlockId, commit: Commit) -> None:
    """Everything that costs no signature check."""
    if commit.height != height:
        raise Refused(Reason.BAD_COMMIT, f"the commit is of height {commit.height}, expected {height}")
    if not block_id or commit.block_id != block_id:
        raise Refused(Reason.BAD_COMMIT, f"the commit of height {height} is for another block")
    last = -1
    for signature in commit.signatures:
        if signature.validator <= last:
            raise Refused(Reason.BAD_COMMIT, "the signatures are not in rising order of validator")
        if signature.validator >= len(validators):
            raise Refused(Reason.BAD_COMMIT, f"there is no validator {signature.validator}")
        last = signature.validator
    power = signed_power(validators, commit)
    if not validators.is_quorum(power):
        raise Refused(Reason.BAD_COMMIT, f"power {power} of {validators.total_power} is not more than two thirds")


def _message(chain_id: ChainId, commit: Commit) -> bytes:
    return vote_sign_bytes(chain_id, VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id)


def _check_signature(
    validators: ValidatorSet, message: bytes, signature: CommitSignature, verifier: Verifier
) -> None:
    validator = validators.validators[signature.validator]
    if not verifier.verify(validator.public_key, message, signature.signature):
        raise Refused(Reason.BAD_SIGNATURE, f"the precommit of validator {signature.validator} does not verify")
