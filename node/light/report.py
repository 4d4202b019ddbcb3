"""Tells every node that is known of a fork: each judges for itself who signed against the chain that it has."""

from collections.abc import Callable, Sequence

from consensus.evidence import fork_evidence
from consensus.types import Evidence
from crypto.errors import Refused
from node.api.methods import ReportEvidence
from node.light.source import Source
from node.light.witness import Fork
from state.encoding import encode


def evidence_of(fork: Fork) -> tuple[Evidence, ...]:
    """Return what each side of a fork proves against those who signed the other; a node takes what fits its own chain.

    Nothing if the two were signed in different rounds and both are possible: then the logs of validators must tell.
    """
    if fork.primary.height != fork.witness.height:
        return ()
    at, common = fork.common.height, fork.common.validators
    both = (
        *fork_evidence(fork.primary, fork.witness, at, common), *fork_evidence(fork.witness, fork.primary, at, common)
    )
    return tuple(dict.fromkeys(both))


async def report_fork(fork: Fork, sources: Sequence[Source], tell: Callable[[str], None]) -> None:
    """Send the evidence of a fork to every node that is known; what one refuses does not keep it from the others."""
    evidence = evidence_of(fork)
    if not evidence:
        tell("the fork proves no fault of a single validator; the people who run them have to look at their logs")
    for source in sources if evidence else ():
        taken: set[bytes] = set()
        refusal = ""
        for one in evidence:
            try:
                await source.ask(ReportEvidence(evidence=encode(one)))
                taken.add(one.validator)
            except Refused as refused:
                refusal = str(refused)
        if taken:
            tell(f"{source.url} took evidence against {len(taken)} validators")
        else:
            tell(f"{source.url} does not take the evidence: {refusal}")
