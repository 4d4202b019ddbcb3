"""Blocks as a whole: failure, receipts, selection, simulation, undoing, and a module that is new."""

import pytest

from apps import execution, registry
from apps.admission import call_gas, check_for_admission
from apps.chain.records import beacon
from apps.chain.tip import genesis_tip, tip_after
from apps.execution import decode_block, select_transactions, simulate
from apps.module import Context, MessageKind, Module, draft_after, draft_of, flat_gas
from apps.receipts import prove_receipt, receipts_root, verify_receipt
from apps.token.messages import Transfer as Pay
from apps.token.messages import Withdraw
from apps.validity import View, view_after
from consensus.block import check_header, make_header
from consensus.proposer import advance
from consensus.types import Block
from crypto.errors import Reason, Refused
from state import ledger
from state.changes import Changes
from state.encoding import Codec, Record, encode
from state.transaction import Call, Coin, Decoded, Message, OutPoint
from state.types import NATIVE, Amount, TxId
from tests.apps.world import CHAIN, FEE, START, World, address, always, fake_key

ALICE, BOB, CAROL = (address(name) for name in ("alice", "bob", "carol"))


def pay(amount: int = 1) -> Pay:
    return Pay(NATIVE, BOB, Amount(amount))


def view(world: World) -> View:
    return view_after(world.records, world.params, world.draft().chain_id, world.draft().height - 1, world.tip)  # type: ignore[arg-type]


# ---- failure


def test_messages_are_all_or_none(world: World) -> None:
    assert world.fails("alice", pay(5), pay(START)) is Reason.INSUFFICIENT_FUNDS
    assert ledger.balance(world.records, BOB, NATIVE) == START
    world.does("alice", pay(5), pay(6))
    assert ledger.balance(world.records, BOB, NATIVE) == START + 11


def test_unknown_and_malformed_messages_fail_without_effect(world: World) -> None:
    def failing(name: str, value: bytes) -> Reason:
        nonce = ledger.nonce(world.records, ALICE)
        call = Call(ALICE, nonce, 10_000, (Message("token/transfer", encode(pay())), Message(name, value)))
        receipt = world.one(world.sign(call, ["alice"]))
        assert ledger.balance(world.records, BOB, NATIVE) == START
        return Reason(receipt.reason)

    assert failing("token/steal", b"") is Reason.UNKNOWN_MESSAGE
    assert failing("token/transfer", b"\xff") is Reason.MALFORMED
    assert failing("token/transfer", encode(pay())[:-1] + b"\xcc\x01") is Reason.NOT_CANONICAL
    assert failing("token/transfer", encode([*encode_fields(pay()), 1])) is Reason.MALFORMED


def encode_fields(record: Record) -> list[object]:
    return [getattr(record, name) for name in record.__struct_fields__]


def test_out_of_gas_spends_all_of_it(world: World) -> None:
    probe = world.call("alice", pay(), pay(), gas=1000)
    needed = call_gas(probe.body.payload, len(probe.raw), (fake_key("alice"),))  # type: ignore[arg-type]
    short = world.one(world.call("alice", pay(), pay(), gas=needed - 1))
    assert (Reason(short.reason), short.gas_used, short.events) == (Reason.OUT_OF_GAS, short.gas_wanted, ())
    probe = world.call("alice", pay(), pay(), gas=needed)
    exact = world.one(probe)
    assert (exact.reason, exact.gas_used) == ("", needed)


def test_failed_call_spends_fee_and_nonce(world: World) -> None:
    world.fails("alice", pay(START))
    assert ledger.balance(world.records, ALICE, NATIVE) == START - FEE
    assert ledger.nonce(world.records, ALICE) == 1


def test_invalid_transaction_leaves_the_reader_as_it_was(world: World) -> None:
    before = dict(world.records)
    with pytest.raises(Refused):
        world.execute(world.call("alice", pay()), world.call("bob", pay(), ahead=3))
    assert world.records == before


# ---- receipts


def test_receipts_can_be_proven(world: World) -> None:
    result = world.block(*[world.call(name, pay()) for name in ("alice", "bob", "carol")])
    assert [(one.index, one.height) for one in result.receipts] == [(0, 1), (1, 1), (2, 1)]
    assert result.receipts_root == receipts_root(result.receipts)
    for receipt in result.receipts:
        proof = prove_receipt(result.receipts, receipt.index)
        verify_receipt(result.receipts_root, receipt, proof)
        with pytest.raises(Refused) as caught:
            verify_receipt(bytes(32), receipt, proof)
        assert caught.value.reason is Reason.BAD_PROOF


def test_touched_names_everybody(world: World) -> None:
    mine = world.coin("alice", 2 * FEE)
    spend = world.transfer(["alice"], [mine], [Coin(NATIVE, CAROL, Amount(FEE))])
    result = world.block(spend, world.call("alice", pay()), world.call("carol", pay(START * 2)))
    assert result.touched == (tuple(sorted([ALICE, CAROL])), tuple(sorted([ALICE, BOB])), (CAROL,))


def test_blocks_can_be_undone(world: World) -> None:
    pictures = [dict(world.records)]
    coin = world.coin("alice", 2 * FEE)
    pictures.append(dict(world.records))
    world.block(world.transfer(["alice"], [coin], [Coin(NATIVE, BOB, Amount(FEE))]), world.call("bob", pay()))
    for picture in reversed(pictures):
        undo = Changes.decode(world.undo.pop().encode())
        world.take(undo)
        assert world.records == picture


# ---- the proposer


def select(
    world: World, *candidates: Decoded, max_bytes: int = 1 << 20, max_gas: int = 10**7, max_count: int = 99
) -> execution.Selection:
    return select_transactions(
        world.records, world.draft(), candidates, always, max_bytes=max_bytes, max_gas=max_gas, max_count=max_count
    )


def test_selection_leaves_out_what_is_invalid_and_equals_execution(world: World) -> None:
    good = [world.call("alice", pay()), world.call("alice", pay(), ahead=1), world.call("bob", pay(START * 2))]
    gap, replay = world.call("carol", pay(), ahead=1), world.call("alice", pay())
    chosen = select(world, good[0], gap, good[1], replay, good[2])
    assert chosen.transactions == tuple(good)
    assert [(one.decoded, one.refused.reason) for one in chosen.skipped] == [
        (gap, Reason.NONCE_TOO_HIGH), (replay, Reason.NONCE_TOO_LOW)
    ]  # fmt: skip
    result = world.execute(*good)
    assert (chosen.result.changes, chosen.result.receipts) == (result.changes, result.receipts)
    assert chosen.result.receipts_root == result.receipts_root


def test_selection_stops_at_the_caps(world: World) -> None:
    calls = [world.call("alice", pay(), ahead=ahead) for ahead in range(5)]
    size = len(calls[0].raw)
    assert len(select(world, *calls, max_bytes=3 * size).transactions) == 3
    assert len(select(world, *calls, max_bytes=3 * size - 1).transactions) == 2
    assert len(select(world, *calls, max_gas=2 * 100_000).transactions) == 2
    assert len(select(world, *calls, max_gas=2 * 100_000 - 1).transactions) == 1
    assert len(select(world, *calls, max_count=2).transactions) == 2


def test_simulation_needs_no_signature(world: World) -> None:
    receipt = simulate(world.records, world.draft(), world.call("alice", pay()))
    assert (receipt.reason, receipt.gas_used > 0) == ("", True)
    with pytest.raises(Refused) as caught:
        simulate(world.records, world.draft(), world.call("alice", pay(), ahead=1))
    assert caught.value.reason is Reason.NONCE_TOO_HIGH


def test_drafts(world: World) -> None:
    with pytest.raises(execution.InvalidTransaction) as caught:
        decode_block([world.call("alice", pay()).raw, b"\x00"])
    assert (caught.value.reason, caught.value.index) == (Reason.MALFORMED, 1)
    tip = genesis_tip(world.records, CHAIN, 1000, bytes(32))
    header = make_header(tip, time=5000, proposer=BOB, wtxids=(), last_commit=tip.commit)
    draft = draft_of(Block(header, (), tip.commit, ()))
    assert draft == draft_after(tip, 5000, BOB)
    result = execution.execute_block(world.records, draft, (), always)
    world.take(result.changes)
    next_tip = tip_after(
        world.records,
        header,
        tip.commit,
        state_root=bytes(32),
        receipts_root=result.receipts_root,
        needs_proof_block=False,
    )
    assert (next_tip.height, next_tip.block_id, next_tip.validators) == (1, header.block_id, tip.validators)
    assert next_tip.priorities == advance(tip.validators, tip.priorities)
    assert beacon(world.records) == header.beacon
    proposer = tip.validators.validators[0].address
    check_header(next_tip, make_header(next_tip, time=6000, proposer=proposer, wtxids=(), last_commit=tip.commit))


# ---- the mempool's door


def test_admission_takes_the_tip_as_anchor_and_calls_ahead(world: World) -> None:
    world.block()
    admission = check_for_admission(world.call("alice", pay(), ahead=7), view(world))
    assert admission == (100_000, (fake_key("alice"),), 0, b"", (), None)
    world.does("alice", pay())
    assert check_for_admission(world.call("alice", pay()), view(world)).next_nonce == 1


def test_admission_names_the_coins_that_a_call_withdraws(world: World) -> None:
    """Only those of its sender: nobody keeps another one's coin out of the mempool."""
    mine, his = world.coin("alice", 5), world.coin("bob", 6)
    found = check_for_admission(world.call("alice", Withdraw((mine, his)), Withdraw((mine,))), view(world))
    assert found.withdrawn == (mine,)


def test_admission_refusals(world: World) -> None:
    world.does("alice", pay())

    def refused(decoded: Decoded, pending_fees: int = 0) -> Reason:
        with pytest.raises(Refused) as caught:
            check_for_admission(decoded, view(world), pending_fees)
        return caught.value.reason

    assert refused(world.call("alice", pay(), ahead=-1)) is Reason.NONCE_TOO_LOW
    assert refused(world.call("alice", pay()), START) is Reason.INSUFFICIENT_FEE_FUNDS
    assert refused(world.call("alice", pay(), anchor=b"\x01" * 32)) is Reason.UNKNOWN_ANCHOR
    unknown = Call(ALICE, 1, 10_000, (Message("token/steal", b""),))
    assert refused(world.sign(unknown, ["alice"])) is Reason.UNKNOWN_MESSAGE
    malformed = Call(ALICE, 1, 10_000, (Message("token/transfer", b"\xff"),))
    assert refused(world.sign(malformed, ["alice"])) is Reason.MALFORMED
    probe = world.call("alice", pay())
    needed = call_gas(probe.body.payload, len(probe.raw), (fake_key("alice"),))  # type: ignore[arg-type]
    assert refused(world.call("alice", pay(), gas=needed - 10)) is Reason.OUT_OF_GAS
    pending = world.transfer(["alice"], [OutPoint(TxId(bytes(32)), 0)], [])
    assert refused(pending) is Reason.OUTPUT_NOT_FOUND
    assert not Reason.OUTPUT_NOT_FOUND.permanent


# ---- a new module


class Shout(Record, frozen=True):
    words: str


def shout(context: Context, message: Shout) -> None:
    context.state.put(b"toy/" + context.sender, message.words.encode())
    context.emit("toy/shout", words=message.words)


TOY = Module(
    name="toy",
    messages={"shout": MessageKind(Codec(Shout), shout, flat_gas(10))},
    queries={"heard": lambda reader, _: reader.get(b"toy/" + ALICE)},
    end_block=lambda state, block, events: state.put(b"toy/height", bytes([block.height])),
)


def test_a_module_is_added_in_one_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = (*registry.MODULES, TOY)
    monkeypatch.setattr(execution, "MODULES", modules)
    monkeypatch.setattr(execution, "MESSAGES", registry.messages_of(modules))
    call = Call(ALICE, 0, 10_000, (Message("toy/shout", encode(Shout("hello"))),))
    receipt = world.one(world.sign(call, ["alice"]))
    assert receipt.events[0].name == "toy/shout"
    assert registry.queries_of(modules)["toy/heard"](world.records, {}) == b"hello"
    assert world.records[b"toy/height"] == b"\x01"


def test_names_are_unique() -> None:
    assert len(registry.MESSAGES) == sum(len(module.messages) for module in registry.MODULES)
    with pytest.raises(Refused) as caught:
        registry.answer_query({}, "token/nothing", {})
    assert caught.value.reason is Reason.NOT_AVAILABLE
