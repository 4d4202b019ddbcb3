"""A script transaction that was changed after it was proven, and signed again: refused, whatever was changed."""

from collections.abc import Callable

import msgspec
import pytest

from crypto.errors import Reason, Refused
from state.encoding import encode
from state.transaction import Body, Decoded, Script, TransferProof, assemble, decode_transaction, sign_digest
from state.types import Amount, Height
from state.zkvm.scripts import prove_call
from tests.apps.hiding import shown
from tests.node.hidden.test_contracts import BUYER, ESCROW, NXS, OTHER, RELEASE, SELLER, Stage, escrow, key, owner

UNPROVEN = {Reason.UNPROVEN, Reason.BAD_EXCESS, Reason.BAD_RANGE_PROOF}


@pytest.fixture
def released() -> tuple[Stage, Decoded]:
    stage = Stage()
    memo = escrow(stage, 7 * NXS, deadline=900)
    return stage, stage.call(ESCROW, RELEASE, [memo], [stage.hidden(SELLER, 7 * NXS)], BUYER)


def again(decoded: Decoded, body: Body, proof: TransferProof, *, without: int = 0) -> Decoded:
    """Return a changed body with signatures of its own."""
    by_address = {owner(number): key(number) for number in (SELLER, BUYER, OTHER) if number != without}
    digest = sign_digest(encode(body))
    witnesses = tuple(
        msgspec.structs.replace(one, signature=by_address[one.signer].sign(digest))
        for one in decoded.transaction.witnesses if one.signer in by_address
    )  # fmt: skip
    return decode_transaction(assemble(body, witnesses, (proof,)))


def payload(body: Body) -> Script:
    assert isinstance(body.payload, Script)
    return body.payload


def script(body: Body, **changes: object) -> Body:
    return msgspec.structs.replace(body, payload=msgspec.structs.replace(payload(body), **changes))


def swapped(body: Body, stage: Stage) -> Body:
    """Return the body with another commitment to the same amount in the first output."""
    return script(body, outputs=(stage.hidden(SELLER, 7 * NXS), *payload(body).outputs[1:]))


CHANGES: dict[str, tuple[Callable[[Body, Stage], Body], set[Reason]]] = {
    "outputs": (swapped, UNPROVEN),
    "fee": (lambda body, _: msgspec.structs.replace(body, fee=Amount(body.fee - 1)), UNPROVEN),
    "expiry": (lambda body, _: msgspec.structs.replace(body, expiry=Height(body.expiry - 1)), UNPROVEN),
    "data": (lambda body, _: script(body, data=(b"x",), gas_wanted=payload(body).gas_wanted + 99), UNPROVEN),
    "not_before": (lambda body, _: script(body, not_before=Height(1)), UNPROVEN),
    "gas": (lambda body, _: script(body, gas_wanted=payload(body).gas_wanted + 1), UNPROVEN),
    "program": (lambda body, _: script(body, program=payload(body).program + b"\x37\x02"), {Reason.WRONG_SCRIPT}),
    "call": (lambda body, _: script(body, call=prove_call(ESCROW, 1)), {Reason.WRONG_SCRIPT}),
    "other program": (
        lambda body, _: script(body, program=ESCROW[1], call=prove_call(ESCROW, 1)), {Reason.SCRIPT_FAILED}
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_body_does_not_keep_its_proofs(released: tuple[Stage, Decoded], change: str) -> None:
    stage, decoded = released
    changed, reasons = CHANGES[change]
    proof = shown(decoded)
    with pytest.raises(Refused) as caught:
        stage.run(again(decoded, changed(decoded.body, stage), proof))
    assert caught.value.reason in reasons
    stage.take(decoded)  # as it was it holds


def test_without_the_signer_that_it_names(released: tuple[Stage, Decoded]) -> None:
    stage, decoded = released
    proof = shown(decoded)
    with pytest.raises(Refused) as caught:
        stage.run(again(decoded, script(decoded.body, signers=()), proof, without=BUYER))
    assert caught.value.reason is Reason.SCRIPT_FAILED
    with pytest.raises(Refused) as caught:
        stage.run(again(decoded, decoded.body, proof, without=BUYER))
    assert caught.value.reason is Reason.MISSING_SIGNATURE


def test_changed_proofs(released: tuple[Stage, Decoded]) -> None:
    stage, decoded = released
    proof = shown(decoded)
    for changed, reasons in (
        ({"program": b""}, {Reason.MISSING_PROOF}), ({"program": proof.program + b"\0"}, {Reason.MALFORMED}),
        ({"program": proof.program[:-1] + bytes([proof.program[-1] ^ 1])}, {Reason.UNPROVEN, Reason.BAD_SCALAR}),
        ({"program": proof.program[32:64] + proof.program[:32] + proof.program[64:]}, {Reason.UNPROVEN}),
    ):
        with pytest.raises(Refused) as caught:
            stage.run(again(decoded, decoded.body, msgspec.structs.replace(proof, **changed)))
        assert caught.value.reason in reasons
