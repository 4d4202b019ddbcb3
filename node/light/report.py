"""Tells every node that is known of a fork: each judges for itself who signed against the chain that it has."""

from collections.abc import Callable, Sequence

from consensus.evidence import duplicate_vote
from consensus.light import LightBlock
from consensus.types import Evidence, Vote, VoteKind
from crypto.errors import Refused
from node.api.methods import ReportEvidence
from node.light.source import Source
from node.light.witness import Fork
from state.encoding import encode
from state.types import Address


def evidence_of(fork: Fork) -> tuple[Evidence, ...]:
    """Return proof against each validator who signed both blocks of a fork in one round."""
    theirs = _votes(fork.witness)
    found: list[Evidence] = []
    for address, vote in _votes(fork.primary).items():
        other = theirs.get(address)
        same_place = other is not None and (other.height, other.round) == (vote.height, vote.round)
        if other is not None and same_place and other.validator == vote.validator:
            found.append(duplicate_vote(address, vote, other))
    return tuple(found)


def _votes(block: LightBlock) -> dict[Address, Vote]:
    """Return the precommits of a light block's commit by who signed."""
    commit = block.commit
    return {
        block.validators.validators[one.validator].address: Vote(
            VoteKind.PRECOMMIT, commit.height, commit.round, block.header.block_id, one.validator, one.signature
        )
        for one in commit.signatures
    }


async def report_fork(fork: Fork, sources: Sequence[Source], tell: Callable[[str], None]) -> None:
    """Send the evidence of a fork to every node that is known; what one refuses does not keep it from the others."""
    evidence = evidence_of(fork)
    if not evidence:
        return
    for source in sources:
        taken = 0
        for one in evidence:
            try:
                await source.ask(ReportEvidence(evidence=encode(one)))
                taken += 1
            except Refused as refused:
                tell(f"{source.url} does not take the evidence: {refused}")
        tell(f"evidence against {taken} validators handed to {source.url}")
