"""Each rule whose breach makes a block invalid."""

import pytest

from apps.execution import InvalidTransaction
from apps.gas import intrinsic_gas
from apps.token.messages import Transfer as Pay
from apps.validity import check_signers, resolve_keys, stateless_check
from consensus.types import EMPTY_COMMIT
from crypto.errors import Reason, Refused
from crypto.work import meets
from state import ledger
from state.params import ChainParams
from state.transaction import (
    NO_SCRIPT,
    Call,
    Coin,
    Memo,
    Message,
    OutPoint,
    Output,
    State,
    Witness,
    assemble,
    decode_transaction,
    work_digest,
)
from state.types import MAX_AMOUNT, NATIVE, Amount, AssetId, BlockId, ChainId, Height, TxId
from state.version import PROTOCOL_VERSION
from tests.apps.world import CHAIN, FEE, START, World, address, fake_key

ALICE, BOB = address("alice"), address("bob")
NOWHERE = OutPoint(TxId(b"\x77" * 32), 0)


def pay(amount: int = 1) -> Pay:
    return Pay(NATIVE, BOB, Amount(amount))


def coin(owner: str, amount: int, asset: AssetId = NATIVE) -> Coin:
    return Coin(asset, address(owner), Amount(amount))


def memo(owner: str = "alice", not_before: int = 0, not_after: int = 99, script: bytes = NO_SCRIPT) -> Memo:
    return Memo(script, address(owner), NATIVE, bytes(32), b"", Height(not_before), Height(not_after))


def state(nonce: int, owner: str = "alice", script: bytes = NO_SCRIPT) -> State:
    return State(nonce, script, address(owner), NATIVE, bytes(32), (b"x",), Height(0), Height(99))


def refusal_of(world: World, decoded: object) -> Reason:
    with pytest.raises(Refused) as caught:
        stateless_check(decoded, CHAIN, world.params, PROTOCOL_VERSION)  # type: ignore[arg-type]
    return caught.value.reason


# ---- what needs no state


def test_version_chain_and_kind(world: World) -> None:
    assert world.refuses(world.call("alice", pay(), version=2)) is Reason.WRONG_VERSION
    assert world.refuses(world.call("alice", pay(), chain_id=ChainId(bytes(32)))) is Reason.WRONG_CHAIN


def test_witnesses_are_in_rising_order_once_each(world: World) -> None:
    good = world.transfer(["alice", "bob"], [NOWHERE], [])
    first, second = good.transaction.witnesses
    for witnesses in [(second, first), (first, first)]:
        raw = type(good.transaction)(good.transaction.body, witnesses)
        decoded = type(good)(good.raw, good.txid, good.wtxid, raw, good.body)
        assert refusal_of(world, decoded) is Reason.SURPLUS_SIGNATURE


def test_duplicate_inputs_and_forms_of_outputs(world: World) -> None:
    def with_output(output: Output) -> Reason:
        return refusal_of(world, world.transfer(["alice"], [NOWHERE], [output]))

    assert refusal_of(world, world.transfer(["alice"], [NOWHERE, NOWHERE], [])) is Reason.DUPLICATE_INPUT
    assert with_output(coin("alice", 0)) is Reason.AMOUNT_OUT_OF_RANGE
    assert with_output(coin("alice", 1, AssetId(b"short"))) is Reason.UNKNOWN_ASSET
    assert with_output(memo(not_before=5, not_after=4)) is Reason.BAD_ARGUMENT


def test_amounts_outside_the_range_do_not_decode(world: World) -> None:
    for amount in (-1, MAX_AMOUNT + 1):
        with pytest.raises(Refused) as caught:
            world.transfer(["alice"], [NOWHERE], [coin("alice", amount)])
        assert caught.value.reason is Reason.MALFORMED


def test_hashcash() -> None:
    world = World(params=ChainParams(difficulty=6))
    tries = [world.call("alice", pay(), work=work) for work in range(600)]
    good = next(one for one in tries if meets(work_digest(one.transaction.body), 6))
    bad = next(one for one in tries if not meets(work_digest(one.transaction.body), 6))
    assert world.refuses(bad) is Reason.INSUFFICIENT_WORK
    assert world.one(good).reason == ""


# ---- who signs


def test_exactly_the_needed_sign(world: World) -> None:
    mine, his = world.coin("alice", 2 * FEE), world.coin("bob", 5)
    outputs: list[Output] = [coin("carol", FEE + 5)]
    both = world.transfer(["alice", "bob"], [mine, his], outputs)
    assert both.signers == tuple(sorted([ALICE, BOB]))
    assert world.refuses(world.transfer(["alice"], [mine, his], outputs)) is Reason.MISSING_SIGNATURE
    assert world.refuses(world.transfer(["bob"], [mine], [coin("bob", FEE)])) is Reason.MISSING_SIGNATURE
    extra = world.transfer(["alice", "bob", "carol"], [mine, his], outputs)
    assert world.refuses(extra) is Reason.SURPLUS_SIGNATURE
    payload = Call(ALICE, 2, 10_000, (Message("token/transfer", b""),))
    assert world.refuses(world.sign(payload, ["bob"])) is Reason.MISSING_SIGNATURE
    assert world.refuses(world.sign(payload, sorted(["alice", "bob"], key=address))) is Reason.SURPLUS_SIGNATURE
    assert world.one(both).reason == ""


def test_keys_come_from_the_chain_or_the_witness(world: World) -> None:
    stranger = world.call("dave", pay())
    assert world.refuses(stranger) is Reason.UNKNOWN_KEY
    for signer, key in [("alice", fake_key("bob")), ("dave", fake_key("bob")), ("dave", b"\x09junk")]:
        decoded = with_key(world, signer, key)
        assert world.refuses(decoded) is Reason.BAD_KEY
    assert resolve_keys(with_key(world, "alice", fake_key("alice")), world.records) == (fake_key("alice"),)


def with_key(world: World, signer: str, key: bytes):  # type: ignore[no-untyped-def]
    body = world.call(signer, pay()).body
    return decode_transaction(assemble(body, (Witness(address(signer), key, b""),)))


def test_bad_signature(world: World) -> None:
    with pytest.raises(InvalidTransaction) as caught:
        both = world.call("bob", pay()), world.call("alice", pay())
        world.execute(*both, is_verified=lambda one, _keys: one.signers == (BOB,))
    assert (caught.value.reason, caught.value.index) == (Reason.BAD_SIGNATURE, 1)


def test_check_signers_names_the_fault(world: World) -> None:
    decoded = world.call("alice", pay())
    check_signers([ALICE], decoded)
    for needed, reason in [([BOB], Reason.MISSING_SIGNATURE), ([], Reason.SURPLUS_SIGNATURE)]:
        with pytest.raises(Refused) as caught:
            check_signers(needed, decoded)
        assert caught.value.reason is reason


# ---- when


def test_anchor_is_one_of_the_last_blocks() -> None:
    world = World(params=ChainParams(anchor_window=3, expiry_window=200))
    ids = [world.tip]
    for _ in range(5):
        world.block()
        ids.append(world.tip)
    # the next block is number 6: its anchors are 5, 4 and 3
    answers = [world.execute(world.call("alice", pay(), anchor=ids[height])).receipts[0].reason for height in (3, 4, 5)]
    assert answers == ["", "", ""]
    for anchor in (ids[0], ids[2], BlockId(b"\x01" * 32)):
        assert world.refuses(world.call("alice", pay(), anchor=anchor)) is Reason.UNKNOWN_ANCHOR
    assert len([key for key in world.records if key.startswith((b"chain/anchor/", b"chain/recent/"))]) == 2 * 3


def test_expiry(world: World) -> None:
    world.block()
    assert world.refuses(world.call("alice", pay(), expiry=1)) is Reason.EXPIRED
    assert world.execute(world.call("alice", pay(), expiry=2)).receipts[0].reason == ""
    limit = 1 + world.params.expiry_window
    assert world.execute(world.call("alice", pay(), expiry=limit)).receipts[0].reason == ""
    assert world.refuses(world.call("alice", pay(), expiry=limit + 1)) is Reason.EXPIRY_TOO_FAR


def test_nonces_run_without_gaps(world: World) -> None:
    first = world.call("alice", pay())
    assert world.refuses(world.call("alice", pay(), ahead=1)) is Reason.NONCE_TOO_HIGH
    result = world.execute(first, world.call("alice", pay(), ahead=1), world.call("alice", pay(), ahead=2))
    assert [receipt.reason for receipt in result.receipts] == ["", "", ""]
    world.block(first)
    assert world.refuses(first) is Reason.NONCE_TOO_LOW


# ---- fees and gas


def test_fee_covers_the_gas_wanted(world: World) -> None:
    assert world.refuses(world.call("alice", pay(), gas=1000, fee=999)) is Reason.FEE_TOO_LOW
    assert world.execute(world.call("alice", pay(), gas=1000, fee=1000)).receipts[0].reason == ""
    mine = world.coin("alice", FEE)
    assert world.refuses(world.transfer(["alice"], [mine], [coin("bob", FEE - 5)], fee=5)) is Reason.FEE_TOO_LOW


def test_gas_wanted_covers_the_bytes(world: World) -> None:
    assert world.refuses(world.call("alice", pay(), gas=100)) is Reason.OUT_OF_GAS
    cap = world.params.max_block_gas
    assert world.refuses(world.call("alice", pay(), gas=cap + 1, fee=cap + 1)) is Reason.TOO_LARGE


def test_fee_has_to_be_there(world: World) -> None:
    assert world.refuses(world.call("alice", pay(), fee=START + 1)) is Reason.INSUFFICIENT_FEE_FUNDS


def test_caps_of_a_block() -> None:
    world = World(params=ChainParams(max_block_gas=150_000))
    two = [world.call("alice", pay()), world.call("bob", pay())]
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(*two)
    assert (caught.value.reason, caught.value.index) == (Reason.TOO_LARGE, 1)
    world = World(params=ChainParams(max_block_bytes=len(two[0].raw)))
    two = [world.call("alice", pay()), world.call("bob", pay())]
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(*two)
    assert (caught.value.reason, caught.value.index) == (Reason.TOO_LARGE, 1)


# ---- outputs


def test_transfer_balances_exactly(world: World) -> None:
    mine = world.coin("alice", 3 * FEE)
    for rest, reason in [(2 * FEE - 1, Reason.UNBALANCED), (2 * FEE + 1, Reason.UNBALANCED)]:
        assert world.refuses(world.transfer(["alice"], [mine], [coin("bob", rest)])) is reason
    made_up = [coin("bob", 2 * FEE), coin("bob", 1, AssetId(b"\x99" * 32))]
    assert world.refuses(world.transfer(["alice"], [mine], made_up)) is Reason.UNBALANCED
    receipt = world.one(world.transfer(["alice"], [mine], [coin("bob", FEE), coin("alice", FEE)]))
    assert receipt.gas_used == receipt.gas_wanted
    assert [event.name for event in receipt.events] == ["output/spent", "output/made", "output/made"]
    assert dict(receipt.events[0].attributes)["outpoint"] == f"{mine.txid.hex()}:0"


def test_gas_of_a_transfer(world: World) -> None:
    decoded = world.transfer(["alice"], [world.coin("alice", FEE)], [])
    gas = intrinsic_gas(decoded.body.payload, len(decoded.raw), (fake_key("alice"),))
    assert world.one(decoded).gas_used == gas == 100 + len(decoded.raw) + 200 + 50


def test_double_spends(world: World) -> None:
    mine = world.coin("alice", 2 * FEE)
    spend = world.transfer(["alice"], [mine], [coin("bob", FEE)])
    again = world.transfer(["alice"], [mine], [coin("alice", FEE)])
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(spend, again)
    assert (caught.value.reason, caught.value.index) == (Reason.OUTPUT_NOT_FOUND, 1)
    world.block(spend)
    assert world.refuses(spend) is Reason.OUTPUT_NOT_FOUND
    assert world.refuses(world.transfer(["alice"], [NOWHERE], [])) is Reason.OUTPUT_NOT_FOUND


def test_output_is_spendable_in_the_block_that_makes_it(world: World) -> None:
    mine = world.coin("alice", 3 * FEE)
    first = world.transfer(["alice"], [mine], [coin("bob", 2 * FEE)])
    second = world.transfer(["bob"], [OutPoint(first.txid, 0)], [coin("carol", FEE)])
    result = world.block(first, second)
    assert len(result.receipts) == 2
    assert ledger.output(world.records, OutPoint(first.txid, 0)) is None
    assert ledger.output(world.records, OutPoint(second.txid, 0)) == coin("carol", FEE)


def test_memo_has_time_bounds(world: World) -> None:
    mine = world.coin("alice", 2 * FEE)
    outputs: list[Output] = [coin("alice", FEE), memo(not_before=5, not_after=6), memo(script=b"s" * 32)]
    made = world.transfer(["alice"], [mine], outputs)
    world.block(made)
    money, bounded, guarded = (OutPoint(made.txid, index) for index in range(3))
    assert world.refuses(world.transfer(["alice"], [money, guarded], [])) is Reason.OUTPUT_TYPE_NOT_ALLOWED
    spend = world.transfer(["alice"], [money, bounded], [])
    answers = []
    for _ in range(4):  # heights 3 to 6
        answers.append(None if world.height + 1 in (5, 6) and world.execute(spend) else world.refuses(spend))
        world.block()
    assert answers == [Reason.TOO_EARLY, Reason.TOO_EARLY, None, None]
    assert world.refuses(spend) is Reason.TOO_LATE


def test_state_nonces_follow_each_other(world: World) -> None:
    mine = world.coin("alice", 9 * FEE)

    def step(inputs: list[OutPoint], *outputs: Output, owners: tuple[str, ...] = ("alice",)):  # type: ignore[no-untyped-def]
        rest = coin("alice", (money[1] - 1) * FEE)
        return world.transfer(owners, [money[0], *inputs], [rest, *outputs])

    money = (mine, 9)
    assert world.refuses(step([], state(1))) is Reason.BAD_STATE_NONCE
    born = step([], state(0))
    world.block(born)
    money, contract = (OutPoint(born.txid, 0), 8), OutPoint(born.txid, 1)
    for wrong in ([state(2)], [state(1), state(1)], [state(1, "bob")], [state(1, script=b"s" * 32)]):
        assert world.refuses(step([contract], *wrong)) is Reason.BAD_STATE_NONCE
    moved = step([contract], state(1))
    world.block(moved)
    money, contract = (OutPoint(moved.txid, 0), 7), OutPoint(moved.txid, 1)
    ended = step([contract])
    world.block(ended)
    assert ledger.output(world.records, contract) is None


def test_a_block_without_transactions_is_valid(world: World) -> None:
    result = world.execute(last_commit=EMPTY_COMMIT)
    assert result.receipts == () and result.touched == ()
