"""Payments of a load: valid under the chain's own rules, and nobody's coin is spent twice."""

from pathlib import Path

import pytest

from apps.gas import intrinsic_gas
from crypto.errors import Reason, Refused
from crypto.schemes import verify
from state.transaction import Coin, OutPoint, Transfer, body_codec, decode_transaction, sign_digest
from state.types import Address, ChainId, TxId
from testnet.senders import (
    PIECE,
    SPLIT,
    SpendableCoin,
    Terms,
    Unsigned,
    load_senders,
    make_senders,
    payment_body,
    pieces_of,
    save_senders,
    sign_all,
    split_body,
)

TERMS = Terms(ChainId(b"\x01" * 32), b"\x02" * 32, 500, 1)
SENDERS = make_senders(2)
ALICE, BOB = (Address(key.address) for key in SENDERS)


def coin(number: int, amount: int) -> SpendableCoin:
    return SpendableCoin(OutPoint(TxId(bytes([number]) * 32), number), amount)


def balanced(body: bytes, spent: int) -> Transfer:
    """Check that the native coins add up, and return the transfer."""
    decoded = body_codec.decode(body)
    transfer = decoded.payload
    assert isinstance(transfer, Transfer)
    made = sum(output.amount for output in transfer.outputs if isinstance(output, Coin))
    assert spent == made + decoded.fee
    return transfer


def test_a_split_makes_pieces_of_one_size() -> None:
    body = split_body(TERMS, ALICE, coin(1, PIECE * (SPLIT + 2)), SPLIT)
    transfer = balanced(body, PIECE * (SPLIT + 2))
    pieces = pieces_of(body, SPLIT)
    assert len({piece.outpoint for piece in pieces}) == SPLIT
    for piece in pieces:
        assert transfer.outputs[piece.outpoint.index].amount == piece.amount == PIECE  # type: ignore[union-attr]


def test_a_payment_has_two_inputs_and_two_outputs() -> None:
    transfer = balanced(payment_body(TERMS, ALICE, BOB, coin(1, PIECE), coin(2, PIECE)), 2 * PIECE)
    assert len(transfer.inputs) == len(transfer.outputs) == 2
    assert {output.owner for output in transfer.outputs} == {ALICE, BOB}


@pytest.mark.slow
def test_signed_in_parallel_and_in_order() -> None:
    bodies = [payment_body(TERMS, ALICE, BOB, coin(1, PIECE + number), coin(2, PIECE)) for number in range(110)]
    unsigned = [Unsigned(number % 2, body, reveal=number < 2) for number, body in enumerate(bodies)]
    told: list[int] = []
    raws = sign_all(SENDERS, unsigned, 2, told.append)
    assert sum(told) == len(raws) == 110
    for item, raw in zip(unsigned, raws, strict=True):
        decoded = decode_transaction(raw)
        [witness] = decoded.transaction.witnesses
        key = SENDERS[item.sender].public_key
        assert decoded.transaction.body == item.body
        assert witness.key == (key if item.reveal else b"")
        assert verify(key, sign_digest(item.body), witness.signature)
        assert decoded.body.fee >= intrinsic_gas(decoded.body.payload, len(raw), [key])


def test_keys_are_kept(tmp_path: Path) -> None:
    save_senders(tmp_path / "senders", SENDERS)
    assert (tmp_path / "senders").stat().st_mode & 0o777 == 0o600
    assert load_senders(tmp_path / "senders", 2) == SENDERS


@pytest.mark.parametrize(("content", "count", "reason"), [
    (None, 1, Reason.KEY_NOT_FOUND), (b"\xff\x00", 1, Reason.BAD_KEY_FILE), (b"\x90", 1, Reason.BAD_ARGUMENT),
])
def test_missing_or_damaged_keys(tmp_path: Path, content: bytes | None, count: int, reason: Reason) -> None:
    if content is not None:
        (tmp_path / "senders").write_bytes(content)
    with pytest.raises(Refused) as caught:
        load_senders(tmp_path / "senders", count)
    assert caught.value.reason is reason
