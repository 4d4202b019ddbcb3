"""Anonymous accounts: ways in and out, payments, the turnstile, every refusal by its name, hostile bytes."""

import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from apps.admission import check_for_admission
from apps.anonymous.messages import Close, Open
from apps.anonymous.records import (
    ACCOUNT,
    HELD,
    account_at,
    account_id,
    count_accounts,
    find_account,
    held,
    known_account,
)
from apps.execution import InvalidTransaction, select_transactions, simulate
from apps.gas import ACCOUNT as ACCOUNT_GAS
from apps.gas import ACCOUNT_PROOF, BYTE, TRANSACTION
from apps.moves import check_alone
from apps.registry import answer_query
from apps.supply import supply_differences
from apps.validity import view_after
from crypto.errors import Reason, Refused
from crypto.quisquis import default_quisquis
from crypto.ristretto import IDENTITY
from state import ledger
from state.records import encode_amount
from state.transaction import (
    SET_SIZE,
    AccountPayment,
    AccountProof,
    Coin,
    Decoded,
    TransferProof,
    Witness,
    assemble,
    decode_transaction,
)
from state.types import NATIVE, Amount, Height
from tests.apps.crowd import BALANCE, FEE, Crowd, number, payment_of, with_body
from tests.apps.world import CHAIN, START, World, address, always, with_proofs


@pytest.fixture
def crowd() -> Crowd:
    return Crowd(World())


def proof_of(decoded: Decoded) -> AccountProof:
    [proof] = decoded.transaction.proofs
    assert isinstance(proof, AccountProof)
    return proof


# ---- what goes


def test_money_goes_in_moves_unseen_and_comes_out(crowd: Crowd) -> None:
    world = crowd.world
    assert held(world.records) == 9 * BALANCE and count_accounts(world.records) == 9
    before = crowd.all()
    payment = crowd.pay("m3", 2 * FEE, receiver=crowd.key("zoe"))
    assert not payment.transaction.witnesses
    receipt = world.one(payment)
    assert receipt.reason == "" and receipt.fee == FEE and receipt.gas_used == receipt.gas_wanted
    assert dict(receipt.events[0].attributes)["fee"] == str(FEE)
    assert held(world.records) == 9 * BALANCE - FEE
    after = crowd.all()
    assert [one.kept.slot for one in after] == list(range(10))
    assert not {one.id for one in before} & {one.id for one in after}
    assert {one.kept.height for one in after} == {world.height}
    # everybody finds their account, and what is in it
    for name in crowd.names:
        [own] = crowd.of(name)
        assert crowd.holds(name, own, BALANCE - 3 * FEE if name == "m3" else BALANCE)
    [got] = crowd.of("zoe")
    assert crowd.holds("zoe", got, 2 * FEE)
    was = ledger.balance(world.records, address("bob"), NATIVE)
    world.does("bob", crowd.closing("zoe", got, 2 * FEE))
    assert ledger.balance(world.records, address("bob"), NATIVE) == was + FEE  # what zoe held, less the call's fee
    assert held(world.records) == 9 * BALANCE - 3 * FEE
    assert find_account(world.records, got) is None and count_accounts(world.records) == 9
    assert supply_differences(world.records) == {}


def test_outputs_take_the_slots_of_the_accounts_that_they_replace(crowd: Crowd) -> None:
    for name in ("x", "y", "z"):
        crowd.open(name, 0)
    chosen = [one.id for one in crowd.all()][2:11]
    payment = crowd.pay("m5", FEE, among=chosen)
    crowd.world.one(payment)
    payload = payment_of(payment)
    slots = {one.kept.account: one.kept.slot for one in crowd.all()}
    assert slots[payload.outputs[-1]] == 12
    assert sorted(slots[one] for one in payload.outputs[:-1]) == list(range(2, 11))
    assert len(slots) == 13


def test_closing_moves_the_last_account_into_the_hole(crowd: Crowd) -> None:
    world = crowd.world
    [second], last = crowd.of("m2"), crowd.all()[-1]
    world.does("bob", crowd.closing("m2", second, BALANCE))
    assert [one.kept.slot for one in crowd.all()] == list(range(8))
    moved = account_at(world.records, 2)
    assert moved is not None and moved.id == last.id and moved.kept == replace(last.kept, slot=2)
    [end] = crowd.of("m7")
    world.does("bob", crowd.closing("m7", end, BALANCE))  # m8 went to slot 2: m7 is the last one
    assert [one.kept.slot for one in crowd.all()] == list(range(7))
    for name in ("m0", "m1", "m3", "m4", "m5", "m6", "m8"):
        world.does("bob", crowd.closing(name, crowd.of(name)[0], BALANCE))
    assert not [key for key in world.records if key.startswith(b"anonymous/")]


def test_accounts_of_nothing_hide_as_well(crowd: Crowd) -> None:
    found = crowd.open("empty", 0)
    assert known_account(crowd.world.records, found).account[64:] == known_account(
        crowd.world.records, found
    ).account[:64]
    crowd.world.one(crowd.pay("m0", FEE, among=[found, *crowd.of("m1"), *(one.id for one in crowd.all()[2:9])]))
    assert crowd.holds("empty", crowd.of("empty")[0], 0)
    assert crowd.world.fails("bob", crowd_close_wrong(crowd)) is Reason.UNPROVEN


def crowd_close_wrong(crowd: Crowd) -> Close:
    found = crowd.of("empty")[0]
    return replace(crowd.closing("empty", found, 0), amount=Amount(1))


def test_many_payments_of_one_block_one_after_the_other() -> None:
    crowd = Crowd(World(), tuple(f"m{place}" for place in range(2 * SET_SIZE)))
    ids = [one.id for one in crowd.all()]
    first = crowd.pay("m0", FEE, among=ids[:9])
    second = crowd.pay("m9", FEE, among=ids[9:])
    result = crowd.world.block(first, second)
    assert [one.reason for one in result.receipts] == ["", ""]
    assert result.touched == ((), ())
    assert count_accounts(crowd.world.records) == 20


def test_a_sponsor_may_sign_and_nobody_else(crowd: Crowd) -> None:
    good = crowd.pay("m1", FEE, sponsor="carol")
    assert crowd.world.one(good).reason == ""
    plain = crowd.pay("m1", FEE, balance=BALANCE - 2 * FEE)
    more = decode_transaction(
        assemble(plain.body, (Witness(address("carol"), b"", b""),), plain.transaction.proofs)
    )
    assert crowd.world.refuses(more) is Reason.SURPLUS_SIGNATURE
    sponsored = crowd.pay("m1", FEE, balance=BALANCE - 2 * FEE, sponsor="carol")
    unsigned = decode_transaction(assemble(sponsored.body, (), sponsored.transaction.proofs))
    assert crowd.world.refuses(unsigned) is Reason.MISSING_SIGNATURE
    with pytest.raises(InvalidTransaction) as caught:
        crowd.world.execute(sponsored, is_verified=lambda _decoded, keys: not keys)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_nothing_else_goes_without_a_signature(crowd: Crowd) -> None:
    world = crowd.world
    outpoint = world.coin("alice", 5 * FEE)
    spend = world.transfer(["alice"], [outpoint], [Coin(NATIVE, address("bob"), Amount(4 * FEE))])
    call = world.call("alice", Open(Amount(1), crowd.key("a")))
    for decoded in (spend, call):
        bare = decode_transaction(assemble(decoded.body, ()))
        assert world.refuses(bare) is Reason.MISSING_SIGNATURE


def test_gas_pays_for_proof_bytes_and_records(crowd: Crowd) -> None:
    payment = crowd.pay("m1", FEE)
    wanted = TRANSACTION + BYTE * len(payment.raw) + ACCOUNT_PROOF + 10 * ACCOUNT_GAS
    assert crowd.world.one(payment).gas_wanted == wanted
    cheap = crowd.pay("m1", FEE, balance=BALANCE - 2 * FEE, fee=wanted - 10)
    assert crowd.world.refuses(cheap) is Reason.FEE_TOO_LOW


# ---- refusals of open and close


def test_what_open_refuses(crowd: Crowd) -> None:
    world = crowd.world
    key = crowd.key("a")
    world.does("alice", Open(Amount(7), key))
    assert world.fails("alice", Open(Amount(7), key)) is Reason.ACCOUNT_EXISTS
    world.does("alice", Open(Amount(8), key))
    assert world.fails("alice", Open(Amount(2 * START), key)) is Reason.INSUFFICIENT_FUNDS
    assert world.fails("alice", Open(Amount(1), IDENTITY + key[32:])) is Reason.BAD_POINT
    assert world.fails("alice", Open(Amount(1), key[:32] + IDENTITY)) is Reason.BAD_POINT
    assert world.fails("alice", Open(Amount(1), b"\xff" * 64)) is Reason.BAD_POINT
    # h = -amount * B would make d the identity
    opposite = default_quisquis().key(number("x"), 1)[:32] + default_quisquis().key(-7, 1)[32:]
    assert world.fails("alice", Open(Amount(7), opposite)) is Reason.BAD_POINT


def test_what_close_refuses(crowd: Crowd) -> None:
    world = crowd.world
    [own], [other] = crowd.of("m1"), crowd.of("m2")
    good = crowd.closing("m1", own, BALANCE)
    assert world.fails("bob", replace(good, amount=Amount(BALANCE + 1))) is Reason.UNPROVEN
    assert world.fails("bob", replace(good, account=other)) is Reason.UNPROVEN
    assert world.fails("carol", good) is Reason.UNPROVEN  # somebody else's message
    assert world.fails("bob", replace(good, account=bytes(32))) is Reason.ACCOUNT_NOT_FOUND
    assert world.fails("bob", replace(good, proof=b"\xff" * 96)) is Reason.BAD_SCALAR
    assert world.fails("bob", replace(good, proof=bytes(96))) is Reason.BAD_POINT
    world.does("bob", good)
    assert world.fails("bob", good) is Reason.ACCOUNT_NOT_FOUND


def test_an_account_that_others_hid_among_has_another_name(crowd: Crowd) -> None:
    [own] = crowd.of("m1")
    closing = crowd.closing("m1", own, BALANCE)
    crowd.world.one(crowd.pay("m0", FEE))
    assert crowd.world.fails("bob", closing) is Reason.ACCOUNT_NOT_FOUND
    crowd.world.does("bob", crowd.closing("m1", crowd.of("m1")[0], BALANCE))


def test_forged_money_cannot_leave_the_accounts(crowd: Crowd) -> None:
    """Who forges discrete logarithms may hold any amount: more than went in does not come out."""
    world = crowd.world
    [own] = crowd.of("m1")
    closing = crowd.closing("m1", own, BALANCE)
    world.records[HELD] = encode_amount(BALANCE - 1)
    draft_state = dict(world.records)
    receipt = world.execute(world.call("bob", closing)).receipts[0]
    assert receipt.reason == Reason.TURNSTILE_OVERDRAWN and world.records == draft_state
    payment = crowd.pay("m1", FEE)
    world.records[HELD] = encode_amount(FEE - 1)
    assert world.refuses(payment) is Reason.TURNSTILE_OVERDRAWN


# ---- refusals of payments


def test_a_payment_whose_decoy_moved(crowd: Crowd) -> None:
    first, second = crowd.pay("m0", FEE), crowd.pay("m1", FEE)
    with pytest.raises(InvalidTransaction) as caught:
        crowd.world.execute(first, second)
    assert (caught.value.index, caught.value.reason) == (1, Reason.ACCOUNT_NOT_FOUND)
    assert not Reason.ACCOUNT_NOT_FOUND.permanent
    crowd.world.one(first)
    assert crowd.world.refuses(second) is Reason.ACCOUNT_NOT_FOUND
    assert crowd.world.refuses(first) is Reason.ACCOUNT_NOT_FOUND  # no replay
    assert crowd.world.one(crowd.pay("m1", FEE)).reason == ""


def test_the_proposer_leaves_out_what_shares_a_decoy(crowd: Crowd) -> None:
    world = crowd.world
    first, second = crowd.pay("m0", FEE), crowd.pay("m1", FEE)
    chosen = select_transactions(
        world.records, world.draft(), [first, second], always, max_bytes=1 << 20, max_gas=10**7
    )
    assert chosen.transactions == (first,)
    assert [one.refused.reason for one in chosen.skipped] == [Reason.ACCOUNT_NOT_FOUND]


FORM: dict[str, tuple[Callable[[AccountPayment], AccountPayment], Reason]] = {
    "account twice": (
        lambda one: replace(one, accounts=(one.accounts[1], *one.accounts[1:])), Reason.DUPLICATE_INPUT
    ),
    "accounts falling": (lambda one: replace(one, accounts=one.accounts[::-1]), Reason.BAD_ARGUMENT),
    "outputs alike": (lambda one: replace(one, outputs=(one.outputs[1], *one.outputs[1:])), Reason.BAD_ARGUMENT),
    "receiver without g": (lambda one: replace(one, receiver=IDENTITY + one.receiver[32:]), Reason.BAD_POINT),
    "receiver without h": (lambda one: replace(one, receiver=one.receiver[:32] + IDENTITY), Reason.BAD_POINT),
    "output without c": (
        lambda one: replace(one, outputs=(*one.outputs[:9], one.outputs[9][:64] + IDENTITY + one.outputs[9][96:])),
        Reason.BAD_POINT,
    ),
    "unknown account": (lambda one: replace(one, accounts=(bytes(32), *one.accounts[1:])), Reason.ACCOUNT_NOT_FOUND),
    "receiver no point": (lambda one: replace(one, receiver=b"\xff" * 64), Reason.BAD_MOVEMENT),
    "output no point": (lambda one: replace(one, outputs=(*one.outputs[:9], b"\xff" * 128)), Reason.BAD_MOVEMENT),
    "outputs swapped": (
        lambda one: replace(one, outputs=(one.outputs[1], one.outputs[0], *one.outputs[2:])), Reason.BAD_MOVEMENT
    ),
    "another receiver": (
        lambda one: replace(one, receiver=one.receiver[32:] + one.receiver[:32]), Reason.BAD_MOVEMENT
    ),
}


@pytest.mark.parametrize("what", FORM)
def test_a_changed_payment_is_refused_by_name(crowd: Crowd, what: str) -> None:
    change, reason = FORM[what]
    good = crowd.pay("m0", FEE)
    changed = with_body(good, replace(good.body, payload=change(payment_of(good))))
    assert crowd.world.refuses(changed) is reason


def test_an_output_that_is_there_already(crowd: Crowd) -> None:
    good = crowd.pay("m0", FEE)
    payload = payment_of(good)
    there = known_account(crowd.world.records, payload.accounts[0]).account
    body = replace(good.body, payload=replace(payload, outputs=(there, *payload.outputs[1:])))
    assert crowd.world.refuses(with_body(good, body)) is Reason.ACCOUNT_EXISTS


def test_a_proof_is_of_one_body_and_of_one_set(crowd: Crowd) -> None:
    good, other = crowd.pay("m0", FEE), crowd.pay("m1", FEE)
    assert crowd.world.refuses(with_body(good, replace(good.body, expiry=Height(good.body.expiry - 1)))) \
        is Reason.BAD_MOVEMENT
    assert crowd.world.refuses(with_body(good, replace(good.body, fee=Amount(FEE + 1)))) is Reason.BAD_MOVEMENT
    assert crowd.world.refuses(with_proofs(good, proof_of(other))) is Reason.BAD_MOVEMENT
    assert crowd.world.refuses(with_proofs(good)) is Reason.MISSING_PROOF
    assert crowd.world.refuses(with_proofs(good, TransferProof(b"", (bytes(64),)))) is Reason.SURPLUS_PROOF
    plain = crowd.world.transfer(
        ["alice"], [crowd.world.coin("alice", 3 * FEE)], [Coin(NATIVE, address("alice"), Amount(2 * FEE))]
    )
    assert crowd.world.refuses(with_proofs(plain, proof_of(good))) is Reason.SURPLUS_PROOF
    call = crowd.world.call("alice", Open(Amount(1), crowd.key("x")))
    assert crowd.world.refuses(with_proofs(call, proof_of(good))) is Reason.SURPLUS_PROOF


@pytest.mark.parametrize("part", AccountProof.__struct_fields__)
def test_any_bit_of_a_proof_counts(crowd: Crowd, part: str) -> None:
    good = crowd.pay("m0", FEE)
    rng = random.Random(part)
    for _ in range(4):
        raw = bytearray(getattr(proof_of(good), part))
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        spoilt = replace(proof_of(good), **{part: bytes(raw)})
        assert crowd.world.refuses(with_proofs(good, spoilt)) in {
            Reason.BAD_POINT, Reason.BAD_SCALAR, Reason.BAD_MOVEMENT, Reason.BAD_RANGE_PROOF, Reason.BAD_SHUFFLE,
        }  # fmt: skip


def test_a_proof_of_another_length_does_not_decode(crowd: Crowd) -> None:
    proof = proof_of(crowd.pay("m0", FEE))
    for part in AccountProof.__struct_fields__:
        with pytest.raises(Refused) as caught:
            with_proofs(crowd.pay("m0", FEE), replace(proof, **{part: getattr(proof, part)[:-1]}))
        assert caught.value.reason is Reason.MALFORMED


def test_many_bad_ones_among_good_ones_are_named() -> None:
    crowd = Crowd(World(), tuple(f"m{place}" for place in range(2 * SET_SIZE)))
    ids = [one.id for one in crowd.all()]
    good, bad = crowd.pay("m0", FEE, among=ids[:9]), crowd.pay("m9", FEE, among=ids[9:])
    bad = with_proofs(bad, replace(proof_of(bad), amounts=proof_of(good).amounts))
    with pytest.raises(InvalidTransaction) as caught:
        crowd.world.execute(good, bad)
    assert (caught.value.index, caught.value.reason) == (1, Reason.BAD_MOVEMENT)


# ---- admission and simulation


def test_admission_names_what_is_left_to_verify(crowd: Crowd) -> None:
    world = crowd.world
    payment = crowd.pay("m0", FEE)
    view = view_after(world.records, world.params, CHAIN, Height(world.height), world.tip)
    admitted = check_for_admission(payment, view)
    assert admitted.keys == () and admitted.proofs is not None and admitted.proofs.account is not None
    world.block(payment)
    view = view_after(world.records, world.params, CHAIN, Height(world.height), world.tip)
    with pytest.raises(Refused) as caught:
        check_for_admission(payment, view)
    assert caught.value.reason is Reason.ACCOUNT_NOT_FOUND


def test_simulation_needs_no_proof_that_holds(crowd: Crowd) -> None:
    payment = crowd.pay("m0", FEE)
    empty = AccountProof(*(bytes(len(part)) for part in (getattr(proof_of(payment), name) for name in
                                                          AccountProof.__struct_fields__)))
    receipt = simulate(crowd.world.records, crowd.world.draft(), with_proofs(payment, empty))
    assert receipt.reason == "" and receipt.gas_wanted == crowd.world.one(payment).gas_wanted


# ---- queries


def test_queries(crowd: Crowd) -> None:
    world = crowd.world
    assert answer_query(world.records, "anonymous/pools", {}) == {"asset": "unxs", "accounts": 9 * BALANCE, "rings": 0}
    page = answer_query(world.records, "anonymous/accounts", {"from": "2", "limit": "3"})
    assert (page["count"], page["next"]) == (9, 5)
    assert [one["slot"] for one in page["accounts"]] == [2, 3, 4]
    first = page["accounts"][0]
    assert account_id(bytes.fromhex(first["account"])).hex() == first["id"]
    assert answer_query(world.records, "anonymous/account", {"id": first["id"]}) == {"account": first}
    assert answer_query(world.records, "anonymous/account", {"id": "00" * 32}) == {"account": None}
    assert answer_query(world.records, "anonymous/accounts", {"from": "9"}) == {
        "count": 9, "next": None, "accounts": [],
    }  # fmt: skip
    assert len(answer_query(world.records, "anonymous/accounts", {})["accounts"]) == 9
    assert answer_query(world.records, "anonymous/coins", {}) == {"count": 0, "next": None, "coins": []}
    assert answer_query(world.records, "anonymous/images", {}) == {"count": 0, "next": None, "images": []}
    assert answer_query(world.records, "anonymous/image", {"image": "11" * 32}) == {"image": "11" * 32, "place": None}
    for wrong in ({"limit": "0"}, {"limit": "256"}, {"from": "-1"}):
        with pytest.raises(Refused) as caught:
            answer_query(world.records, "anonymous/accounts", wrong)
        assert caught.value.reason is Reason.BAD_ARGUMENT


def test_a_block_taken_back_leaves_no_trace(crowd: Crowd) -> None:
    world = crowd.world
    before = dict(world.records)
    world.block(crowd.pay("m0", FEE), world.call("alice", Open(Amount(5), crowd.key("q"))))
    world.take(world.undo[-1])
    assert world.records == before
    assert sum(key.startswith(ACCOUNT) for key in before) == 9


def test_what_the_bytes_alone_show(crowd: Crowd) -> None:
    good = crowd.pay("m0", FEE)
    check_alone(good)
    proof = proof_of(good)
    for part in ("first", "second", "ranges", "movement"):  # the proofs are one: only the payer makes another
        spoilt = with_proofs(good, replace(proof, **{part: getattr(proof, part)[:-32] + bytes(32)}))
        with pytest.raises(Refused) as caught:
            check_alone(spoilt)
        assert caught.value.reason is Reason.BAD_MOVEMENT
        assert crowd.world.refuses(spoilt) is Reason.BAD_MOVEMENT


def test_only_the_chain_can_say_whether_a_proof_is_about_its_accounts(crowd: Crowd) -> None:
    plain, drawn = crowd.prepared("m0", FEE)
    payment, other = payment_of(plain), crowd.open("x", BALANCE)
    named = replace(payment, accounts=tuple(sorted((*payment.accounts[1:], other))))
    elsewhere = crowd.proven(crowd.world.sign(named, [], fee=FEE), drawn)
    check_alone(elsewhere)
    assert crowd.world.refuses(elsewhere) is Reason.BAD_SHUFFLE


@pytest.mark.parametrize("seed", [1, 2])
def test_any_sequence_of_openings_payments_and_closings_keeps_the_books(seed: int) -> None:
    crowd, rng = Crowd(World()), random.Random(seed)
    model = dict.fromkeys(crowd.names, BALANCE)  # who holds what: everybody has one account
    for turn in range(24):
        what, name = rng.choice(["open", "open", "pay", "pay", "pay", "close"]), rng.choice(sorted(model))
        if what == "open":
            model[f"n{turn}"] = rng.randrange(3 * FEE)
            crowd.open(f"n{turn}", model[f"n{turn}"])
        elif what == "pay" and model[name] > 2 * FEE and len(model) >= SET_SIZE:
            amount = rng.randrange(model[name] - FEE + 1)
            among = rng.sample([one.id for one in crowd.all()], len(model))
            receipt = crowd.world.one(crowd.pay(
                name, amount, among=among, receiver=crowd.key(f"n{turn}"), balance=model[name]
            ))
            assert receipt.reason == ""
            model[name] -= amount + FEE
            model[f"n{turn}"] = amount
        elif what == "close":
            crowd.world.does("bob", crowd.closing(name, crowd.of(name)[0], model.pop(name)))
        assert held(crowd.world.records) == sum(model.values())
        assert [one.kept.slot for one in crowd.all()] == list(range(len(model)))
    assert len(model) > SET_SIZE and any(amount not in {0, BALANCE} for amount in model.values())
    for name, amount in model.items():
        [own] = crowd.of(name)
        assert crowd.holds(name, own, amount)
    while crowd.world.undo:  # and back to the beginning
        crowd.world.take(crowd.world.undo.pop())
    assert not [key for key in crowd.world.records if key.startswith(b"anonymous/")]


def test_a_payment_comes_twice_only_for_who_opens_its_nine_accounts_again(crowd: Crowd) -> None:
    world, keys = crowd.world, [one.kept.account[:64] for one in crowd.all()]
    payment = crowd.pay("m3", 2 * FEE, receiver=crowd.key("zoe"))
    world.one(payment)
    assert world.refuses(payment) is Reason.ACCOUNT_NOT_FOUND
    held_by = dict.fromkeys(crowd.names, BALANCE) | {"m3": BALANCE - 3 * FEE, "zoe": 2 * FEE}
    outputs = {name: crowd.of(name)[0] for name in held_by}
    for key in keys:
        world.does("bob", Open(Amount(BALANCE), key))
    assert world.refuses(payment) is Reason.ACCOUNT_EXISTS
    for name, found in outputs.items():
        world.does("alice", crowd.closing(name, found, held_by[name], sender="alice"))
    before = ledger.balance(world.records, address("alice"), NATIVE)
    world.one(payment)
    assert held(world.records) == 9 * BALANCE - FEE and supply_differences(world.records) == {}
    assert ledger.balance(world.records, address("alice"), NATIVE) == before  # who had it lost nothing: bob paid
