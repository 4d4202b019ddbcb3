"""Transfers with hidden coins: conservation, the turnstile, every refusal by its name, mutants of every field."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.admission import check_for_admission
from apps.execution import InvalidTransaction
from apps.hidden import check_ranges
from apps.prooftask import ProofTask, proofs_hold
from apps.supply import check_changes, supply_differences
from apps.token.messages import Freeze, Issue, Withdraw
from apps.validity import view_after
from crypto.batch import Fault
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.ristretto import ENCODING_SIZE, IDENTITY, ORDER, encode_scalar
from state import ledger
from state.changes import Changes
from state.encoding import encode
from state.records import POOL, asset_id, encode_amount, output_key, pool_key
from state.transaction import (
    Coin,
    Decoded,
    HiddenCoin,
    OutPoint,
    Output,
    Transfer,
    TransferProof,
    decode_transaction,
    made_by,
    sign_digest,
)
from state.types import NATIVE, Amount, AssetId, Height, TxId
from tests.apps.hiding import Vault, shown
from tests.apps.world import CHAIN, FEE, World, address, deposit, with_proofs

NOT_A_POINT = b"\xff" * ENCODING_SIZE
Held = list[tuple[OutPoint, Output]]


@pytest.fixture
def vault() -> Vault:
    return Vault(World())


def paid(vault: Vault, held: Held, amount: int, **changes: int) -> Decoded:
    """Alice pays bob an amount out of what she holds, hidden; the change is hers."""
    fee = changes.get("fee", FEE)
    total = sum(vault.openings[one.commitment].amount for _, one in held if isinstance(one, HiddenCoin))
    made = [vault.hidden("bob", amount), vault.hidden("alice", total - amount - fee)]
    return vault.transfer(["alice"], held, made, **changes)


def coin_of(vault: Vault, owner: str, amount: int) -> tuple[OutPoint, Output]:
    return vault.world.coin(owner, amount), Coin(NATIVE, address(owner), Amount(amount))


# ---- what goes


def test_hidden_payment_end_to_end(vault: Vault) -> None:
    world = vault.world
    held = vault.enter("alice", 50 * FEE, 30 * FEE, 19 * FEE)
    assert ledger.pool(world.records, NATIVE) == 49 * FEE
    payment = paid(vault, held, 20 * FEE)
    result = world.block(payment)
    assert ledger.pool(world.records, NATIVE) == 48 * FEE  # the fee left the pool
    made = [event for event in result.receipts[0].events if event.name == "output/made"]
    told = dict(made[0].attributes)
    assert told["type"] == "hidden" and told["asset"] == "unxs" and "amount" not in told
    # bob turns his coin into a clear one
    [bobs] = [output for output in made_by(payment.body.payload) if output.owner == address("bob")]
    out = vault.transfer(["bob"], [(OutPoint(payment.txid, 0), bobs)], [Coin(NATIVE, address("bob"), Amount(19 * FEE))])
    assert shown(out).ranges == b""
    world.block(out)
    assert ledger.pool(world.records, NATIVE) == 28 * FEE
    assert world.does("bob", Withdraw((OutPoint(out.txid, 0),))).reason == ""


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_conservation(data: st.DataObject) -> None:
    """Whatever people do with hidden and clear coins, nothing is made or lost, and the pool is what the coins hold."""
    vault = Vault(World())
    world = vault.world
    held: Held = [coin_of(vault, "alice", 40 * FEE), *vault.enter("alice", 40 * FEE, 25 * FEE, 14 * FEE)]
    for _ in range(data.draw(st.integers(1, 3))):
        count = data.draw(st.integers(1, len(held)))
        inputs, rest = held[:count], held[count:]
        total = sum(amount_of(vault, output) for _, output in inputs)
        if total <= FEE:
            break
        cuts = sorted(data.draw(st.lists(st.integers(0, total - FEE), max_size=4)))
        parts = [high - low for low, high in zip([0, *cuts], [*cuts, total - FEE], strict=True)]
        made: list[Output] = [
            Coin(NATIVE, address("alice"), Amount(part)) if part and data.draw(st.booleans())
            else vault.hidden("alice", part) for part in parts
        ]
        if not any(isinstance(one, HiddenCoin) for one in [*made, *(output for _, output in inputs)]):
            continue
        decoded = vault.transfer(["alice"], inputs, made)
        world.block(decoded)  # checks the supply
        held = rest + [(OutPoint(decoded.txid, index), output) for index, output in enumerate(made)]
        hidden = sum(amount_of(vault, output) for _, output in held if isinstance(output, HiddenCoin))
        assert ledger.pool(world.records, NATIVE) == hidden


def amount_of(vault: Vault, output: Output) -> int:
    if isinstance(output, Coin):
        return output.amount
    assert isinstance(output, HiddenCoin)
    return vault.openings[output.commitment].amount


def test_two_assets_balance_each_for_itself(vault: Vault) -> None:
    world = vault.world
    world.does("alice", Issue("gold", 0, Amount(100), False, False, True))
    gold = asset_id(address("alice"), "gold")
    receipt = world.does("alice", deposit(gold, ("alice", 100)))
    coins: Held = [
        (OutPoint(receipt.txid, 0), Coin(gold, address("alice"), Amount(100))), coin_of(vault, "alice", 5 * FEE),
    ]
    made = [
        vault.hidden("bob", 60, gold), vault.hidden("alice", 40, gold), vault.hidden("bob", 4 * FEE),
    ]
    crossed = [vault.hidden("bob", 4 * FEE, gold), vault.hidden("bob", 100)]
    assert world.refuses(vault.transfer(["alice"], coins, crossed)) is Reason.BAD_EXCESS
    good = vault.transfer(["alice"], coins, made)
    proof = shown(good)
    assert len(proof.excesses) == 2
    swapped = replace(proof, excesses=proof.excesses[::-1])
    assert world.refuses(with_proofs(good, swapped)) is Reason.BAD_EXCESS
    world.block(good)
    assert ledger.pool(world.records, gold) == 100 and ledger.pool(world.records, NATIVE) == 4 * FEE
    world.does("alice", Freeze(gold, address("bob")))
    out = vault.transfer(
        ["bob"], [(OutPoint(good.txid, 0), made[0]), (OutPoint(good.txid, 2), made[2])],
        [Coin(gold, address("bob"), Amount(60)), Coin(NATIVE, address("bob"), Amount(3 * FEE))],
    )
    assert world.refuses(out) is Reason.FROZEN


def test_sixteen_coins_and_an_odd_number(vault: Vault) -> None:
    held = vault.enter("alice", 20 * FEE, 19 * FEE)
    made = [vault.hidden("alice", FEE) for _ in range(15)] + [vault.hidden("alice", 3 * FEE)]
    decoded = vault.transfer(["alice"], held, made)
    vault.world.block(decoded)
    again = [(OutPoint(decoded.txid, index), output) for index, output in enumerate(made)]
    vault.world.block(vault.transfer(["alice"], again, [vault.hidden("alice", 7 * FEE), vault.hidden("bob", FEE),
                                                        vault.hidden("alice", 9 * FEE)]))


def test_proofs_of_a_block_are_one_batch(vault: Vault) -> None:
    world = vault.world
    held = vault.enter("alice", 30 * FEE, 10 * FEE, 10 * FEE)
    first = paid(vault, held[:1], 2 * FEE)
    second = paid(vault, held[1:], 3 * FEE)
    asked: list[Sequence[ProofTask]] = []

    def watch(tasks: Sequence[ProofTask]) -> Sequence[Fault]:
        asked.append(tasks)
        return proofs_hold(tasks)

    world.execute(first, second, find_faults=watch)
    assert [[task.wtxid for task in tasks] for tasks in asked] == [[first.wtxid, second.wtxid]]
    proof = shown(second)
    worse = with_proofs(second, replace(proof, ranges=flipped(proof.ranges, 150)))
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(first, worse)
    assert caught.value.index == 1


# ---- what is refused


def test_amounts_that_do_not_balance(vault: Vault) -> None:
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    inflated = [vault.hidden("bob", 30 * FEE), vault.hidden("alice", FEE)]
    assert vault.world.refuses(vault.transfer(["alice"], held, inflated)) is Reason.BAD_EXCESS
    # an amount that wraps around the order of the group: 30 - (-100) ... balances, and no range proof can be made
    opening = Opening(ORDER - 100 * FEE, 12345)
    negative = replace(vault.hidden("alice", 0), commitment=default_proofs().commit(opening))
    vault.openings[negative.commitment] = opening
    large = vault.hidden("bob", 129 * FEE)
    payload = Transfer((held[0][0],), (large, negative))
    plain = vault.world.sign(payload, ["alice"])
    honest = shown(paid(vault, held, FEE))
    context_proof = vault.prove(
        plain.body, [held[0][1]], [large, vault.hidden("alice", 0)], ranges=honest.ranges, excesses=honest.excesses
    )
    assert vault.world.refuses(with_proofs(plain, context_proof)) is Reason.BAD_EXCESS
    balances, excesses = vault.balances([held[0][1]], [large, negative])
    from_body = default_proofs().prove_excess(sign_digest(plain.transaction.body), balances[0], excesses[0], bytes(32))
    forged = TransferProof(honest.ranges, (from_body,))
    assert vault.world.refuses(with_proofs(plain, forged)) is Reason.BAD_RANGE_PROOF


def test_asset_out_of_nothing(vault: Vault) -> None:
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    made = [vault.hidden("alice", 29 * FEE), vault.hidden("alice", 0, AssetId(b"\x07" * 32))]
    assert vault.world.refuses(vault.transfer(["alice"], held, made)) is Reason.UNKNOWN_ASSET
    short = replace(vault.hidden("alice", 1), asset=AssetId(b"\x07"))
    assert vault.world.refuses(vault.transfer(["alice"], held, [short])) is Reason.UNKNOWN_ASSET


def test_identity_and_bytes_that_are_no_point(vault: Vault) -> None:
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    good = paid(vault, held, FEE)
    for commitment in (IDENTITY, NOT_A_POINT):
        made = replace(vault.hidden("alice", 1), commitment=commitment)
        plain = vault.world.sign(Transfer((held[0][0],), (made, vault.hidden("alice", 2))), ["alice"])
        assert vault.world.refuses(with_proofs(plain, *good.transaction.proofs)) is Reason.BAD_POINT
    proof = shown(good)
    for at, reason in ((0, Reason.BAD_POINT), (4 * ENCODING_SIZE, Reason.BAD_SCALAR)):
        ranges = proof.ranges[:at] + NOT_A_POINT + proof.ranges[at + ENCODING_SIZE :]
        assert vault.world.refuses(with_proofs(good, replace(proof, ranges=ranges))) is reason
    [excess] = proof.excesses
    for bad, reason in (
        (NOT_A_POINT + excess[32:], Reason.BAD_POINT), (IDENTITY + excess[32:], Reason.BAD_POINT),
        (excess[:32] + NOT_A_POINT, Reason.BAD_SCALAR), (excess[:32] + encode_scalar(5), Reason.BAD_EXCESS),
    ):
        assert vault.world.refuses(with_proofs(good, replace(proof, excesses=(bad,)))) is reason


def test_proofs_missing_surplus_and_of_the_wrong_size(vault: Vault) -> None:
    world = vault.world
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    good = paid(vault, held, FEE)
    proof = shown(good)
    assert world.refuses(with_proofs(good)) is Reason.MISSING_PROOF
    assert world.refuses(with_proofs(good, replace(proof, ranges=b""))) is Reason.MISSING_PROOF
    assert world.refuses(with_proofs(good, replace(proof, ranges=proof.ranges[:-32]))) is Reason.MALFORMED
    two = replace(proof, excesses=proof.excesses * 2)
    assert world.refuses(with_proofs(good, two)) is Reason.SURPLUS_PROOF
    clear = world.transfer(["alice"], [coin_of(vault, "alice", 5 * FEE)[0]],
                           [Coin(NATIVE, address("alice"), Amount(4 * FEE))])
    assert world.refuses(with_proofs(clear, proof)) is Reason.SURPLUS_PROOF
    assert world.refuses(with_proofs(clear, replace(proof, ranges=b""))) is Reason.SURPLUS_PROOF
    call = world.call("alice", deposit(NATIVE, ("alice", 5)))
    assert world.refuses(with_proofs(call, proof)) is Reason.SURPLUS_PROOF
    out = vault.transfer(["alice"], held, [Coin(NATIVE, address("alice"), Amount(29 * FEE))])
    assert world.refuses(with_proofs(out)) is Reason.MISSING_PROOF
    many = world.sign(Transfer((held[0][0],), tuple(vault.hidden("alice", 1) for _ in range(17))), ["alice"])
    assert world.refuses(with_proofs(many, proof)) is Reason.TOO_LARGE
    witness = replace(good.transaction.witnesses[0], signer=address("bob"))
    by_bob = decode_transaction(encode(replace(good.transaction, witnesses=(witness,))))
    assert world.refuses(by_bob) is Reason.MISSING_SIGNATURE


def test_hidden_coins_cannot_be_withdrawn(vault: Vault) -> None:
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    assert vault.world.fails("alice", Withdraw((held[0][0],))) is Reason.OUTPUT_TYPE_NOT_ALLOWED


def test_turnstile_bounds_what_forged_coins_can_take(vault: Vault) -> None:
    """A coin out of nowhere, as a quantum computer would make it, takes no more than is in the pool."""
    world = vault.world
    vault.enter("bob", 50 * FEE, 30 * FEE)
    forged = vault.hidden("alice", 1000 * FEE)
    outpoint = OutPoint(TxId(CHAIN), 99)
    world.records[output_key(outpoint.txid, outpoint.index)] = encode(forged)
    out = vault.transfer(["alice"], [(outpoint, forged)], [Coin(NATIVE, address("alice"), Amount(999 * FEE))])
    assert world.refuses(out) is Reason.TURNSTILE_OVERDRAWN
    split: list[Output] = [Coin(NATIVE, address("alice"), Amount(29 * FEE)), vault.hidden("alice", 970 * FEE)]
    world.block(vault.transfer(["alice"], [(outpoint, forged)], split))
    assert ledger.pool(world.records, NATIVE) == 0


def test_block_that_makes_money_is_refused(vault: Vault) -> None:
    """The invariant, by itself: a pool that grew by more than went in."""
    world = vault.world
    before = dict(world.records)
    vault.enter("alice", 50 * FEE, 30 * FEE)
    entries = {key: (before.get(key), world.records.get(key)) for key in before.keys() | world.records.keys()}
    good = {key: pair for key, pair in entries.items() if pair[0] != pair[1]}
    check_changes(Changes(good))
    bad = good | {pool_key(NATIVE): (None, encode_amount(30 * FEE + 1))}
    with pytest.raises(Refused) as caught:
        check_changes(Changes(bad))
    assert caught.value.reason is Reason.INTERNAL
    assert any(key.startswith(POOL) for key in good) and supply_differences(world.records) == {}


# ---- mutants


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8 % len(raw)] ^= 1 << bit % 8
    return bytes(changed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["ranges", "excess", "note", "commitment", "owner", "asset", "swap",
                                               "fee", "expiry", "input", "drop"]))
def test_mutants_of_every_field(fixed: tuple[Vault, Held, Decoded], bit: int, field: str) -> None:
    """Each field that the owner signed or proved something about, changed: the proofs alone refuse it."""
    vault, held, good = fixed
    proof = shown(good)
    body, payload = good.body, good.body.payload
    assert isinstance(payload, Transfer)
    first, second = payload.outputs
    assert isinstance(first, HiddenCoin)
    match field:
        case "ranges":
            proof = replace(proof, ranges=flipped(proof.ranges, bit))
        case "excess":
            proof = replace(proof, excesses=(flipped(proof.excesses[0], bit),))
        case "note":
            payload = replace(payload, outputs=(replace(first, note=flipped(first.note, bit)), second))
        case "commitment":
            payload = replace(payload, outputs=(replace(first, commitment=flipped(first.commitment, bit)), second))
        case "owner":
            payload = replace(payload, outputs=(replace(first, owner=flipped(first.owner, bit)), second))
        case "asset":
            payload = replace(payload, outputs=(replace(first, asset=AssetId(flipped(bytes(32), bit))), second))
        case "swap":
            payload = replace(payload, outputs=(second, first))
        case "drop":
            payload = replace(payload, outputs=(first,))
        case "input":
            payload = replace(payload, inputs=(held[1][0],))
        case "fee":
            body = replace(body, fee=Amount(body.fee + 1 + bit % 1000))
        case "expiry":
            body = replace(body, expiry=Height(body.expiry - 1 - bit % 3))
    plain = vault.world.sign(payload, ["alice"], fee=body.fee, expiry=body.expiry)
    reason = vault.world.refuses(with_proofs(plain, proof))
    assert reason in (Reason.BAD_RANGE_PROOF, Reason.BAD_EXCESS, Reason.BAD_POINT, Reason.BAD_SCALAR,
                      Reason.UNKNOWN_ASSET, Reason.MALFORMED)


@pytest.fixture(scope="module")
def fixed() -> tuple[Vault, Held, Decoded]:
    vault = Vault(World())
    held = vault.enter("alice", 50 * FEE, 30 * FEE, 19 * FEE)
    good = paid(vault, held[:1], 3 * FEE)
    vault.world.execute(good)
    return vault, held, good


def test_gas_counts_proofs(vault: Vault) -> None:
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    good = paid(vault, held, FEE)
    receipt = vault.world.execute(good).receipts[0]
    plain = 100 + len(good.raw) + 200 + 50 + 2 * 100
    assert receipt.gas_used == plain + 500 + 2_000 + 2 * 4_000


def test_admission_hands_the_proofs_on(vault: Vault) -> None:
    world = vault.world
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    good = paid(vault, held, FEE)
    view = view_after(world.records, world.params, good.body.chain_id, Height(world.height), world.tip)
    admitted = check_for_admission(good, view)
    assert admitted.proofs is not None and admitted.proofs.wtxid == good.wtxid
    assert admitted.proofs.claim is not None
    assert proofs_hold([admitted.proofs]) == ()
    bad = admitted.proofs._replace(claim=admitted.proofs.claim._replace(context=bytes(32)))
    [fault] = proofs_hold([admitted.proofs, bad])
    assert fault.place == 1 and fault.refused.reason is Reason.BAD_EXCESS


def test_what_the_bytes_alone_show(vault: Vault) -> None:
    """Whoever passes a transaction on without the state still finds a bad range proof."""
    held = vault.enter("alice", 50 * FEE, 30 * FEE)
    good = paid(vault, held, FEE)
    check_ranges(good)
    check_ranges(vault.transfer(["alice"], held, [Coin(NATIVE, address("alice"), Amount(29 * FEE))]))
    proof = shown(good)
    other = shown(paid(vault, held, FEE))
    with pytest.raises(Refused) as caught:
        check_ranges(with_proofs(good, replace(proof, ranges=other.ranges)))
    assert caught.value.reason is Reason.BAD_RANGE_PROOF
