"""Whatever happens in whatever order: no asset is made or lost, nothing is half done, and every node agrees."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.execution import InvalidTransaction
from apps.token.messages import (
    Approve,
    Burn,
    Freeze,
    Issue,
    Lock,
    Mint,
    Thaw,
    Transfer,
    TransferFrom,
    Unlock,
    Withdraw,
)
from crypto.hashing import Label, digest
from state.encoding import Record
from state.ledger import lock_ids
from state.records import UTXO, asset_id, decode_output, outpoint_of
from state.transaction import Coin, OutPoint
from state.transaction import Transfer as CoinTransfer
from state.types import MAX_AMOUNT, NATIVE, Amount, Height
from tests.apps.world import FEE, START, World, address, deposit

NAMES = ("alice", "bob", "carol", "issuer")
ASSETS = (NATIVE, asset_id(address("issuer"), "gold"), asset_id(address("alice"), "tin"))
ROOT = Path(__file__).resolve().parents[2]

names = st.sampled_from(NAMES)
assets = st.sampled_from(ASSETS)
amounts = st.sampled_from([Amount(amount) for amount in (0, 1, 5, 400, 10**6, START // 2, START, MAX_AMOUNT)])
heights = st.integers(0, 12).map(Height)
symbols = st.sampled_from(["gold", "tin"])
picks = st.integers(0, 5)
addresses = names.map(address)

money_messages = st.one_of(
    st.builds(Transfer, assets, addresses, amounts),
    st.builds(Approve, assets, addresses, amounts),
    st.builds(TransferFrom, assets, addresses, addresses, amounts),
    st.builds(Lock, assets, amounts, heights),
    st.builds(Issue, symbols, st.just(2), amounts, st.booleans(), st.booleans(), st.booleans()),
    st.builds(Mint, assets, addresses, amounts),
    st.builds(Burn, assets, amounts),
    st.builds(Freeze, assets, addresses),
    st.builds(Thaw, assets, addresses),
    st.builds(lambda asset, owner, amount: deposit(asset, (owner, amount), ("bob", 3)), assets, names, amounts),
)
steps = st.one_of(
    st.tuples(st.just("call"), names, st.lists(money_messages, min_size=1, max_size=3)),
    st.tuples(st.just("withdraw"), names, picks),
    st.tuples(st.just("unlock"), names, picks),
    st.tuples(st.just("spend"), names, picks),
    st.tuples(st.just("block"), names, picks),
)


def coins(world: World) -> list[tuple[OutPoint, Coin]]:
    found = []
    for key in sorted(world.records):
        if key.startswith(UTXO):
            output = decode_output(world.records[key])
            assert isinstance(output, Coin)
            found.append((outpoint_of(key), output))
    return found


def take_step(world: World, kind: str, name: str, detail: Any) -> None:
    messages: list[Record] = []
    if kind == "call":
        messages = detail
    elif kind == "withdraw":
        messages = [Withdraw(tuple(outpoint for outpoint, _ in coins(world)[detail : detail + 2]))]
    elif kind == "unlock":
        messages = [Unlock(lock) for lock in lock_ids(world.records, address(name))[detail:]]
    elif kind == "spend":
        spend(world, coins(world)[detail : detail + 3])
        return
    if messages:
        world.block(world.call(name, *messages))
    else:
        world.block()


def spend(world: World, chosen: list[tuple[OutPoint, Coin]]) -> None:
    """Spend some coins into one coin of each asset, if there is enough for the fee; else the block is invalid."""
    totals: dict[bytes, int] = {}
    for _, coin in chosen:
        totals[coin.asset] = totals.get(coin.asset, 0) + coin.amount
    totals[NATIVE] = totals.get(NATIVE, 0) - FEE
    outputs = [
        Coin(asset, address("carol"), Amount(total))  # type: ignore[arg-type]
        for asset, total in totals.items() if total > 0
    ]  # fmt: skip
    if not chosen:
        return
    owners = [name for name in NAMES if any(coin.owner == address(name) for _, coin in chosen)]
    transaction = world.transfer(owners, [outpoint for outpoint, _ in chosen], outputs)
    assert isinstance(transaction.body.payload, CoinTransfer)
    before = dict(world.records)
    try:
        world.block(transaction)
    except InvalidTransaction:
        assert world.records == before


@settings(max_examples=40)
@given(st.lists(steps, min_size=1, max_size=20))
def test_supply_is_kept_and_every_block_can_be_undone(sequence: list[tuple[str, str, Any]]) -> None:
    world = World()
    start = dict(world.records)
    for step in sequence:
        take_step(world, *step)  # World.block checks the supply after every block
        assert all(world.records.values())  # no record holds nothing
    for undo in reversed(world.undo):
        world.take(undo)
    assert world.records == start


def fixed_history() -> bytes:
    """Run a history that touches every rule, and return a hash over all that came out of it."""
    world = World()
    gold, alice, bob, carol = ASSETS[1], *[address(name) for name in ("alice", "bob", "carol")]
    seen = []

    def run(*transactions: Any) -> Any:
        result = world.block(*transactions)
        seen.append(result.changes.encode() + result.receipts_root + repr((result.events, result.touched)).encode())
        return result

    issue = Issue("gold", 2, Amount(10**6), True, True, True)
    run(world.call("issuer", issue, Transfer(gold, alice, Amount(999))))
    run(*[world.call(name, deposit(NATIVE, *[(other, 2 * FEE) for other in NAMES])) for name in NAMES])
    run(world.call("issuer", Freeze(gold, bob)), world.call("alice", Approve(gold, bob, Amount(9))))
    run(world.call("bob", TransferFrom(gold, alice, carol, Amount(10))))
    found = coins(world)
    owners = [name for name in NAMES if any(coin.owner == address(name) for _, coin in found)]
    total = Amount(sum(coin.amount for _, coin in found) - FEE)
    run(world.transfer(owners, [outpoint for outpoint, _ in found], [Coin(NATIVE, address("bob"), total)]))
    run()
    return digest(Label.RECEIPT, b"".join(seen))


def test_every_process_comes_to_the_same_result() -> None:
    code = "from tests.apps.test_properties import fixed_history; print(fixed_history().hex())"
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        ).stdout.strip()
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert results == {fixed_history().hex()}
