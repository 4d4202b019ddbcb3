"""Every message of the token module: what it does, and each reason for which it fails."""

import pytest

from apps.registry import answer_query
from apps.token.messages import (
    Approve,
    Burn,
    Deposit,
    Freeze,
    Issue,
    Lock,
    Mint,
    NewCoin,
    Thaw,
    Transfer,
    TransferFrom,
    Unlock,
    Withdraw,
)
from crypto.address import encode_address
from crypto.errors import Reason
from state import ledger
from state.records import asset_id, lock_id
from state.transaction import Coin, Memo, OutPoint
from state.types import MAX_AMOUNT, NATIVE, Address, Amount, AssetId, Height, TxId
from tests.apps.world import BONDED, CHAIN, FEE, START, World, address, deposit

ALICE, BOB, CAROL, ISSUER = (address(name) for name in ("alice", "bob", "carol", "issuer"))
GOLD = asset_id(ISSUER, "gold")
UNKNOWN = AssetId(b"\x99" * 32)


def issue(world: World, *, mintable: bool = True, burnable: bool = True, freezable: bool = True) -> AssetId:
    world.does("issuer", Issue("gold", 2, Amount(1000), mintable, burnable, freezable))
    world.does("issuer", Transfer(GOLD, ALICE, Amount(500)))
    return GOLD


def held(world: World, owner: Address, asset: AssetId = NATIVE) -> int:
    return ledger.balance(world.records, owner, asset)


def test_transfer_moves_the_amount_and_says_so(world: World) -> None:
    receipt = world.does("alice", Transfer(NATIVE, BOB, Amount(7)))
    assert held(world, ALICE) == START - FEE - 7
    assert held(world, BOB) == START + 7
    event = receipt.events[0]
    assert event.name == "token/transfer"
    assert dict(event.attributes) == {"from": ALICE.hex(), "to": BOB.hex(), "asset": "unxs", "amount": "7"}


def test_transfer_to_oneself_changes_nothing_but_the_fee(world: World) -> None:
    world.does("alice", Transfer(NATIVE, ALICE, Amount(7)))
    assert held(world, ALICE) == START - FEE


def test_transfer_refusals(world: World) -> None:
    assert world.fails("alice", Transfer(NATIVE, BOB, Amount(START))) is Reason.INSUFFICIENT_FUNDS
    assert world.fails("alice", Transfer(NATIVE, BOB, Amount(0))) is Reason.AMOUNT_OUT_OF_RANGE
    assert world.fails("alice", Transfer(UNKNOWN, BOB, Amount(1))) is Reason.UNKNOWN_ASSET
    assert world.fails("alice", Transfer(AssetId(b"short"), BOB, Amount(1))) is Reason.UNKNOWN_ASSET
    assert world.fails("alice", Transfer(NATIVE, BOB, Amount(MAX_AMOUNT + 1))) is Reason.MALFORMED
    assert world.fails("alice", Transfer(NATIVE, BOB, Amount(-1))) is Reason.MALFORMED


def test_allowance_is_used_up(world: World) -> None:
    world.does("alice", Approve(NATIVE, BOB, Amount(10)))
    world.does("bob", TransferFrom(NATIVE, ALICE, CAROL, Amount(6)))
    assert held(world, CAROL) == START + 6
    assert ledger.allowance(world.records, ALICE, BOB, NATIVE) == 4
    assert world.fails("bob", TransferFrom(NATIVE, ALICE, CAROL, Amount(5))) is Reason.INSUFFICIENT_ALLOWANCE
    assert world.fails("carol", TransferFrom(NATIVE, ALICE, CAROL, Amount(1))) is Reason.INSUFFICIENT_ALLOWANCE
    world.does("alice", Approve(NATIVE, BOB, Amount(0)))
    assert world.fails("bob", TransferFrom(NATIVE, ALICE, CAROL, Amount(1))) is Reason.INSUFFICIENT_ALLOWANCE
    assert world.fails("alice", Approve(UNKNOWN, BOB, Amount(1))) is Reason.UNKNOWN_ASSET


def test_allowance_does_not_make_funds(world: World) -> None:
    world.does("alice", Approve(NATIVE, BOB, Amount(MAX_AMOUNT)))
    assert world.fails("bob", TransferFrom(NATIVE, ALICE, CAROL, Amount(START + 1))) is Reason.INSUFFICIENT_FUNDS


def test_lock_holds_until_its_height(world: World) -> None:
    receipt = world.does("alice", Lock(NATIVE, Amount(50), Height(4)))
    identity = lock_id(receipt.txid, 0)
    assert dict(receipt.events[0].attributes)["id"] == identity.hex()
    assert held(world, ALICE) == START - FEE - 50
    assert ledger.lock_ids(world.records, ALICE) == (identity,)
    assert world.fails("alice", Unlock(identity)) is Reason.LOCKED  # height 2
    assert world.fails("bob", Unlock(identity)) is Reason.LOCK_NOT_FOUND  # height 3
    world.does("alice", Unlock(identity))  # height 4
    assert held(world, ALICE) == START - 3 * FEE
    assert ledger.lock_ids(world.records, ALICE) == ()
    assert world.fails("alice", Unlock(identity)) is Reason.LOCK_NOT_FOUND


def test_lock_refusals(world: World) -> None:
    assert world.fails("alice", Lock(NATIVE, Amount(1), Height(1))) is Reason.BAD_ARGUMENT
    assert world.fails("alice", Lock(NATIVE, Amount(0), Height(99))) is Reason.AMOUNT_OUT_OF_RANGE
    assert world.fails("alice", Lock(NATIVE, Amount(START), Height(99))) is Reason.INSUFFICIENT_FUNDS


def test_locks_are_few(world: World) -> None:
    for _ in range(ledger.MAX_LOCKS // 16):
        world.does("alice", *[Lock(NATIVE, Amount(1), Height(999))] * 16)
    assert world.fails("alice", Lock(NATIVE, Amount(1), Height(999))) is Reason.TOO_LARGE
    assert len(ledger.lock_ids(world.records, ALICE)) == ledger.MAX_LOCKS


def test_issue(world: World) -> None:
    issue(world)
    found = ledger.asset(world.records, GOLD)
    assert found is not None and (found.issuer, found.symbol, found.decimals) == (ISSUER, "gold", 2)
    assert ledger.supply(world.records, GOLD) == 1000
    assert (held(world, ISSUER, GOLD), held(world, ALICE, GOLD)) == (500, 500)
    assert world.fails("issuer", Issue("gold", 2, Amount(1), True, True, True)) is Reason.ASSET_EXISTS
    world.does("alice", Issue("gold", 2, Amount(1), True, True, True))  # another issuer's is another asset


@pytest.mark.parametrize("symbol", ["Gold", "g ld", "1ab", "nxs", "unxs", "göld", "gold\n"])
def test_symbols_that_are_refused(world: World, symbol: str) -> None:
    assert world.fails("issuer", Issue(symbol, 2, Amount(1), True, True, True)) is Reason.BAD_ARGUMENT


def test_issue_of_nothing_needs_minting(world: World) -> None:
    assert world.fails("issuer", Issue("gold", 2, Amount(0), False, True, True)) is Reason.BAD_ARGUMENT
    world.does("issuer", Issue("gold", 2, Amount(0), True, True, True))


def test_mint(world: World) -> None:
    issue(world)
    world.does("issuer", Mint(GOLD, BOB, Amount(9)))
    assert (held(world, BOB, GOLD), ledger.supply(world.records, GOLD)) == (9, 1009)
    assert world.fails("alice", Mint(GOLD, ALICE, Amount(9))) is Reason.NOT_OWNER
    assert world.fails("issuer", Mint(GOLD, BOB, Amount(0))) is Reason.AMOUNT_OUT_OF_RANGE
    assert world.fails("issuer", Mint(GOLD, BOB, Amount(MAX_AMOUNT))) is Reason.AMOUNT_OUT_OF_RANGE
    assert world.fails("issuer", Mint(UNKNOWN, BOB, Amount(1))) is Reason.UNKNOWN_ASSET
    assert world.fails("issuer", Mint(NATIVE, BOB, Amount(1))) is Reason.UNKNOWN_ASSET


def test_burn(world: World) -> None:
    issue(world)
    world.does("alice", Burn(GOLD, Amount(500)))
    assert (held(world, ALICE, GOLD), ledger.supply(world.records, GOLD)) == (0, 500)
    assert b"token/balance/" + ALICE + GOLD not in world.records  # nothing held is no record
    assert world.fails("alice", Burn(GOLD, Amount(1))) is Reason.INSUFFICIENT_FUNDS
    assert world.fails("alice", Burn(NATIVE, Amount(1))) is Reason.NOT_BURNABLE
    assert world.fails("alice", Burn(UNKNOWN, Amount(1))) is Reason.UNKNOWN_ASSET


def test_rights_that_were_not_issued(world: World) -> None:
    issue(world, mintable=False, burnable=False, freezable=False)
    assert world.fails("issuer", Mint(GOLD, BOB, Amount(1))) is Reason.NOT_MINTABLE
    assert world.fails("alice", Burn(GOLD, Amount(1))) is Reason.NOT_BURNABLE
    assert world.fails("issuer", Freeze(GOLD, ALICE)) is Reason.NOT_FREEZABLE
    assert world.fails("issuer", Thaw(GOLD, ALICE)) is Reason.NOT_FREEZABLE


def test_frozen_account_moves_nothing_in_any_form(world: World) -> None:
    issue(world)
    coin = world.coin("alice", 20, GOLD)
    money = world.coin("alice", 2 * FEE)
    lock = lock_id(world.does("alice", Lock(GOLD, Amount(5), Height(1 + world.height + 1))).txid, 0)
    world.does("alice", Approve(GOLD, BOB, Amount(100)))
    assert world.fails("alice", Freeze(GOLD, BOB)) is Reason.NOT_OWNER
    world.does("issuer", Freeze(GOLD, ALICE))

    assert world.fails("alice", Transfer(GOLD, BOB, Amount(1))) is Reason.FROZEN
    assert world.fails("bob", TransferFrom(GOLD, ALICE, BOB, Amount(1))) is Reason.FROZEN
    assert world.fails("alice", Lock(GOLD, Amount(1), Height(999))) is Reason.FROZEN
    assert world.fails("alice", Burn(GOLD, Amount(1))) is Reason.FROZEN
    assert world.fails("alice", deposit(GOLD, ("bob", 1))) is Reason.FROZEN
    assert world.fails("alice", Withdraw((coin,))) is Reason.FROZEN
    spend = world.transfer(
        ["alice"], [coin, money], [Coin(GOLD, BOB, Amount(20)), Coin(NATIVE, BOB, Amount(FEE))]
    )
    assert world.refuses(spend) is Reason.FROZEN

    world.does("alice", Unlock(lock))  # back to where it cannot move from
    world.does("bob", Transfer(NATIVE, ALICE, Amount(1)))
    world.does("alice", Transfer(NATIVE, BOB, Amount(1)))  # other assets move
    world.does("issuer", Transfer(GOLD, ALICE, Amount(1)))  # and it can be paid
    world.does("issuer", Thaw(GOLD, ALICE))
    world.does("alice", Transfer(GOLD, BOB, Amount(1)), Withdraw((coin,)))
    assert held(world, ALICE, GOLD) == 500 + 1 - 1


def test_deposit_and_withdraw_are_a_round_trip(world: World) -> None:
    issue(world)
    receipt = world.does("alice", deposit(GOLD, ("alice", 30), ("bob", 5)), deposit(NATIVE, ("alice", 7)))
    first, second, third = (OutPoint(receipt.txid, index) for index in range(3))
    assert ledger.output(world.records, second) == Coin(GOLD, BOB, Amount(5))
    assert ledger.output(world.records, third) == Coin(NATIVE, ALICE, Amount(7))
    made = [dict(event.attributes)["index"] for event in receipt.events if event.name == "output/made"]
    assert made == ["0", "1", "2"]
    assert held(world, ALICE, GOLD) == 465
    before = held(world, ALICE)
    spent = world.does("alice", Withdraw((first, third)))
    assert (held(world, ALICE, GOLD), held(world, ALICE)) == (495, before - FEE + 7)
    assert [event.name for event in spent.events] == [
        "output/spent", "output/spent", "token/withdraw", "token/withdraw"
    ]  # fmt: skip
    assert ledger.output(world.records, first) is None
    assert world.fails("alice", Withdraw((first,))) is Reason.OUTPUT_NOT_FOUND
    assert world.fails("alice", Withdraw((second,))) is Reason.NOT_OWNER
    world.does("bob", Withdraw((second,)))
    assert held(world, BOB, GOLD) == 5


def test_deposit_refusals(world: World) -> None:
    assert world.fails("alice", Deposit(NATIVE, ())) is Reason.MALFORMED
    assert world.fails("alice", deposit(NATIVE, ("alice", 0))) is Reason.AMOUNT_OUT_OF_RANGE
    assert world.fails("alice", deposit(NATIVE, ("alice", START))) is Reason.INSUFFICIENT_FUNDS
    assert world.fails("alice", deposit(UNKNOWN, ("alice", 1))) is Reason.UNKNOWN_ASSET
    twice = NewCoin(ALICE, Amount(MAX_AMOUNT))
    assert world.fails("alice", Deposit(NATIVE, (twice,) * 4)) is Reason.INSUFFICIENT_FUNDS


def test_withdraw_of_the_same_coin_twice(world: World) -> None:
    coin = world.coin("alice", 5)
    assert world.fails("alice", Withdraw((coin, coin))) is Reason.OUTPUT_NOT_FOUND


def test_withdraw_takes_coins_alone() -> None:
    memo = Memo(bytes(32), ALICE, NATIVE, bytes(32), b"hi", Height(0), Height(99))
    world = World(more=(memo,))
    genesis = OutPoint(TxId(CHAIN), 0)
    assert world.fails("alice", Withdraw((genesis,))) is Reason.OUTPUT_TYPE_NOT_ALLOWED


def test_queries(world: World) -> None:
    issue(world)
    lock = lock_id(world.does("alice", Lock(GOLD, Amount(5), Height(50))).txid, 0)
    world.does("alice", Approve(GOLD, BOB, Amount(3)))
    alice, bob = encode_address(ALICE), encode_address(BOB)
    gold = {"asset": GOLD.hex()}
    ask = world.records
    assert answer_query(ask, "token/balance", {"address": alice} | gold) == {
        "address": alice, "asset": GOLD.hex(), "amount": 495, "frozen": False,
    }  # fmt: skip
    assert answer_query(ask, "token/balance", {"address": bob})["amount"] == START
    assert answer_query(ask, "token/allowance", {"owner": alice, "spender": bob} | gold)["amount"] == 3
    assert answer_query(ask, "token/supply", gold)["amount"] == 1000
    assert answer_query(ask, "token/supply", {"asset": "unxs"})["amount"] == 4 * START + BONDED
    assert answer_query(ask, "token/asset", gold)["symbol"] == "gold"
    assert answer_query(ask, "token/asset", {})["symbol"] == "nxs"
    assert answer_query(ask, "token/locks", {"address": alice})["locks"] == [
        {"id": lock.hex(), "asset": GOLD.hex(), "amount": 5, "release_height": 50}
    ]
