"""What a node has verified of transactions that cannot enter its mempool."""

from apps.validity import view_after
from crypto.errors import Reason, Refused
from node.admission import Admission
from node.mempool import Limits, Mempool
from node.signatures import SignatureCache, verdicts
from state.transaction import AccountProof, Decoded
from state.types import Height
from tests.apps.crowd import FEE, Crowd
from tests.apps.world import CHAIN, World, always, with_proofs


class NoSignatures:
    """Stands for a verifier of signatures where there are none."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        raise AssertionError("nobody signs")


def admission_to(world: World) -> Admission:
    return Admission(
        Mempool(Limits()), SignatureCache(always),
        lambda: view_after(world.records, world.params, CHAIN, Height(world.height), world.tip),
    )


def other_proof(decoded: Decoded) -> Decoded:
    """The same body with a proof whose last byte is another."""
    [proof] = decoded.transaction.proofs
    fields = list(proof.__struct_fields__)
    assert isinstance(proof, AccountProof) and fields[-1] == "ranges"
    return with_proofs(decoded, AccountProof(
        proof.mixed, proof.moved, proof.first, proof.second, proof.amounts, proof.movement,
        proof.ranges[:-1] + bytes([proof.ranges[-1] ^ 1]),
    ))


def submitted(admission: Admission, *decoded: Decoded) -> tuple[object, int]:
    """Submit one transaction after the other; return what became of the last, and how many proofs were verified."""
    verified, result = 0, None
    for one in decoded:
        batch = admission.begin([one.raw], local=True, forward=True)
        verified += len(batch.pending)
        [result] = admission.finish(batch, verdicts(NoSignatures(), batch.checks))
    return result, verified


def test_what_cannot_enter_has_no_proof_verified() -> None:
    crowd = Crowd(World())
    first, lower = crowd.pay("m1", FEE), crowd.pay("m2", FEE, fee=FEE + 1)
    admission = admission_to(crowd.world)
    result, verified = submitted(admission, first)
    assert result == first.txid and verified == 1
    for another in (other_proof(first), lower):  # the same body, and one that names the same accounts
        result, verified = submitted(admission, another)
        assert isinstance(result, Refused) and result.reason is Reason.CONFLICT and verified == 0
    result, verified = submitted(admission, crowd.pay("m2", FEE, fee=2 * FEE))
    assert not isinstance(result, Refused) and verified == 1
