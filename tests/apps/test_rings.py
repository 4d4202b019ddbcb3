"""Ring coins on a chain: minted, spent without telling which, and everything that is refused, by its name."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.admission import check_for_admission
from apps.anonymous.messages import Mint
from apps.anonymous.records import (
    COIN,
    COIN_KEY,
    add_ring_pool,
    count_coins,
    count_images,
    find_coin,
    image_at,
    image_place,
    known_coin,
    place_bytes,
    ring_pool,
)
from apps.anonymous.ring import RING_AGE, check_ring_payment
from apps.execution import InvalidTransaction
from apps.genesis import carried_records, init_genesis
from apps.moves import check_alone
from apps.prooftask import proofs_hold
from apps.registry import answer_query
from apps.supply import supply_differences
from apps.token.messages import Issue
from apps.validity import view_after
from crypto.confidential import Balance, Claim, Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.ringpay import RingPaymentClaim, RingSpend, default_ring_payments
from crypto.ristretto import IDENTITY, ORDER, encode_scalar
from state import ledger
from state.changes import Overlay
from state.encoding import encode
from state.records import asset_id
from state.transaction import (
    NOTE_SIZE,
    RING_SIZE,
    Decoded,
    OutPoint,
    RingCoin,
    RingPayment,
    RingProof,
    TransferProof,
    sign_digest,
)
from state.types import MAX_AMOUNT, NATIVE, Amount, AssetId, Height
from tests.apps.ringing import RingVault, clear, unsigned
from tests.apps.world import CHAIN, FEE, START, World, address, make_genesis, with_proofs

NOT_A_POINT = b"\xff" * 32


@pytest.fixture
def vault() -> RingVault:
    return RingVault(World())


def gold(world: World, freezable: bool = False) -> AssetId:
    world.does("alice", Issue("gold", 0, Amount(10**6), False, False, freezable))
    return asset_id(address("alice"), "gold")


def said(payment: Decoded) -> RingPayment:
    assert isinstance(payment.body.payload, RingPayment)
    return payment.body.payload


def shown(payment: Decoded) -> RingProof:
    [proof] = payment.transaction.proofs
    assert isinstance(proof, RingProof)
    return proof


def saying(payment: Decoded, **changes: Any) -> Decoded:
    """Return a payment that says something else; its proofs stay."""
    body = replace(payment.body, payload=replace(said(payment), **changes))
    return unsigned(body, *payment.transaction.proofs)


def rebuilt(payment: Decoded, **changes: Any) -> Decoded:
    """Return a payment whose first ring says something else; its proofs stay."""
    ring, *others = said(payment).rings
    return saying(payment, rings=(replace(ring, **changes), *others))


def keys_of(vault: RingVault, *numbers: int) -> list[bytes]:
    return [known_coin(vault.world.records, number).key for number in numbers]


# ---- what holds


def test_mint(vault: RingVault) -> None:
    world = vault.world
    before = ledger.balance(world.records, address("alice"), NATIVE)
    assert vault.mint("alice", 5 * FEE, 7) == (0, 1)
    assert ledger.balance(world.records, address("alice"), NATIVE) == before - 5 * FEE - 7 - FEE
    assert ring_pool(world.records, NATIVE) == 5 * FEE + 7
    first = find_coin(world.records, 0)
    assert first is not None and first.height == world.height and first.asset == NATIVE
    assert default_proofs().opens(first.commitment, vault.known[first.key].opening)
    assert find_coin(world.records, 2) is None and count_coins(world.records) == 2
    receipt = world.does("alice", vault.minted(9))
    [event] = receipt.events
    assert event.name == "anonymous/mint" and ("number", "2") in event.attributes


def test_spend_to_ring_coins_and_in_clear(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    pool = ring_pool(world.records, NATIVE)
    made = [vault.new(6 * FEE), vault.new(FEE + 4000)]
    paid = vault.pay([(4, members)], made, [clear("bob", 2 * FEE)])
    assert paid.transaction.witnesses == () and paid.signers == ()
    receipt = world.one(paid)
    assert receipt.reason == "" and receipt.gas_used == receipt.gas_wanted
    assert ring_pool(world.records, NATIVE) == pool - 3 * FEE
    assert ledger.output(world.records, OutPoint(paid.txid, 0)) == clear("bob", 2 * FEE)
    image = said(paid).rings[0].image
    assert image_place(world.records, image) == 0 and image_at(world.records, 0) == image
    assert keys_of(vault, 11, 12) == [coin.key for coin in made]
    names = [event.name for event in receipt.events]
    assert names == ["anonymous/ring", "anonymous/coin", "anonymous/coin", "output/made"]
    ring_event = receipt.events[0]
    assert dict(ring_event.attributes)["members"] == " ".join(map(str, members))


def test_every_member_can_be_the_one(vault: RingVault) -> None:
    """All eleven are spent, each in a ring of all eleven: nothing but the images tells the payments apart."""
    world = vault.world
    members = vault.fill()
    for number in members:
        world.block(vault.pay([(number, members)], [], [clear("bob", vault.holds(number).opening.amount - FEE)]))
    assert count_images(world.records) == RING_SIZE and ring_pool(world.records, NATIVE) == 0
    assert all(find_coin(world.records, number) for number in members)


def test_new_coins_can_be_spent_when_they_are_old(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    world.block(vault.pay([(0, members)], [vault.new(9 * FEE)]))
    mixed = [*members[:10], 11]
    again = vault.pay([(11, mixed)], [vault.new(8 * FEE)])
    assert world.refuses(again) is Reason.RING_TOO_YOUNG
    vault.grow_old(RING_AGE - 2)
    assert world.refuses(vault.pay([(11, mixed)], [vault.new(8 * FEE)])) is Reason.RING_TOO_YOUNG
    vault.grow_old(1)
    world.block(vault.pay([(11, mixed)], [vault.new(8 * FEE)]))


def test_several_rings_and_two_assets(vault: RingVault) -> None:
    world = vault.world
    asset = gold(world)
    members = vault.fill()
    golden = vault.fill(50, asset)
    spent = [(0, members), (1, members), (golden[2], golden)]
    made = [vault.new(2000, asset), vault.new(19 * FEE + 1000)]
    crossed = vault.pay(spent, [vault.new(19 * FEE + 1000, asset), vault.new(50)], [clear("bob", 2000, asset)])
    assert world.refuses(crossed) is Reason.BAD_EXCESS
    good = vault.pay(spent, made, [clear("bob", 50, asset)])
    proof = shown(good)
    assert len(proof.signatures) == 3 and len(proof.excesses) == 2
    swapped = replace(proof, excesses=proof.excesses[::-1])
    assert world.refuses(with_proofs(good, swapped)) is Reason.BAD_EXCESS
    world.block(good)
    total = sum(50 + 1000 * at for at in range(RING_SIZE))
    assert ring_pool(world.records, asset) == total - 50
    assert ledger.supply(world.records, asset) == 10**6


def test_sponsor_signs(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    coin = vault.new(9 * FEE)
    sponsored = vault.pay([(0, members)], [coin], signers=["bob"], sponsor=address("bob"))
    world.execute(sponsored)
    alone = vault.pay([(0, members)], [coin], sponsor=address("bob"))
    assert world.refuses(alone) is Reason.MISSING_SIGNATURE
    surplus = vault.pay([(0, members)], [coin], signers=["bob"])
    assert world.refuses(surplus) is Reason.SURPLUS_SIGNATURE


def test_gas(vault: RingVault) -> None:
    members = vault.fill()
    paid = vault.pay([(0, members), (1, members)], [vault.new(9 * FEE), vault.new(1000)], [clear("bob", 10 * FEE)])
    receipt = vault.world.execute(paid).receipts[0]
    assert receipt.gas_used == 100 + len(paid.raw) + 2 * 5_000 + 2 * 500 + 100 + 500 + 2_000 + 2 * 4_000


# ---- double spends


def test_one_coin_twice_in_one_transaction(vault: RingVault) -> None:
    members = vault.fill()
    twice = vault.pay([(0, members), (0, members)], [vault.new(19 * FEE)])
    assert vault.world.refuses(twice) is Reason.DUPLICATE_INPUT


def test_one_coin_twice_in_one_block_and_across_blocks(vault: RingVault) -> None:
    world = vault.world
    members, others = vault.fill(), vault.fill()
    first = vault.pay([(0, members)], [vault.new(9 * FEE)])
    # in other company: the image is the same
    second = vault.pay([(0, [0, *others[:10]])], [vault.new(9 * FEE)])
    world.execute(second)
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(first, second)
    assert caught.value.index == 1 and caught.value.reason is Reason.IMAGE_USED
    world.block(first)
    assert world.refuses(second) is Reason.IMAGE_USED
    assert world.refuses(vault.pay([(0, members)], [], [clear("bob", 9 * FEE)])) is Reason.IMAGE_USED
    world.block(vault.pay([(1, members)], [vault.new(9 * FEE + 1000)]))  # another coin of the ring is not spent


def test_rollback_gives_the_coin_back(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    before = dict(world.records)
    world.block(vault.pay([(0, members)], [vault.new(9 * FEE)]))
    undo = world.undo[-1]
    for key, (_, after) in undo.entries.items():
        if after is None:
            del world.records[key]
        else:
            world.records[key] = after
    assert dict(world.records) == before and count_images(world.records) == 0


# ---- members


def test_members_exist_and_are_of_one_asset(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    asset = gold(world)
    golden = vault.fill(50, asset)
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    for numbers, reason in (
        ((*members[:10], 99), Reason.COIN_NOT_FOUND), ((*members[:10], golden[0]), Reason.WRONG_ASSET),
        ((*members[:10], 2**63 - 1), Reason.COIN_NOT_FOUND),
    ):  # fmt: skip
        assert world.refuses(rebuilt(good, members=numbers)) is reason
    assert world.refuses(rebuilt(good, asset=asset)) is Reason.UNBALANCED  # of what is made
    [ring] = said(good).rings
    wrong = saying(good, made=(), rings=(replace(ring, asset=asset),))
    assert world.refuses(with_proofs(wrong, replace(shown(good), ranges=b""))) is Reason.WRONG_ASSET


def test_members_are_in_rising_order(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    assert world.refuses(rebuilt(good, members=members[::-1])) is Reason.BAD_ARGUMENT
    assert world.refuses(rebuilt(good, members=(0, *members[:10]))) is Reason.DUPLICATE_INPUT
    for few in (members[:10], (*members, 11)):
        with pytest.raises(Refused) as caught:
            rebuilt(good, members=few)
        assert caught.value.reason is Reason.MALFORMED


def test_too_young(vault: RingVault) -> None:
    world = vault.world
    members = vault.mint("alice", *[10 * FEE] * RING_SIZE)
    for age in range(1, RING_AGE):
        assert world.refuses(vault.pay([(0, members)], [vault.new(9 * FEE)])) is Reason.RING_TOO_YOUNG, age
        world.block()
    world.block(vault.pay([(0, members)], [vault.new(9 * FEE)]))


# ---- proofs and sums


def test_forged_rings(vault: RingVault) -> None:
    """A signature of another ring, another coin's image, another payment's proofs, a coin that is not the payer's."""
    world = vault.world
    members = vault.fill()
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    other = vault.pay([(1, members)], [vault.new(9 * FEE + 1000)])
    proof, theirs = shown(good), shown(other)
    stolen = replace(proof, signatures=theirs.signatures)
    assert world.refuses(with_proofs(good, stolen)) is Reason.BAD_EXCESS  # which is bound to the signatures
    assert world.refuses(with_proofs(good, theirs)) is Reason.BAD_EXCESS
    relabelled = rebuilt(good, image=said(other).rings[0].image)
    assert world.refuses(relabelled) is Reason.BAD_EXCESS  # the context is another
    for at, bad in ((0, NOT_A_POINT), (0, IDENTITY), (32, NOT_A_POINT), (64, encode_scalar(5))):
        [signature] = proof.signatures
        changed = replace(proof, signatures=(signature[:at] + bad + signature[at + 32 :],))
        assert world.refuses(with_proofs(good, changed)) is Reason.BAD_EXCESS
    # the payer knows the amount, but not the secret
    stated, spend = vault.ring(2, members)
    thief = replace(stated, image=default_ring_payments().image(77))
    with pytest.raises(Refused) as caught:
        vault.prove([thief], [spend._replace(secret=77)], [vault.new(FEE)])
    assert caught.value.reason is Reason.UNPROVEN


def test_amounts_that_do_not_balance(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    for made, out in (
        ([vault.new(9 * FEE + 1)], []), ([vault.new(9 * FEE - 1)], []), ([vault.new(9 * FEE)], [clear("bob", 1)]),
        ([], [clear("bob", 10 * FEE)]),
    ):  # fmt: skip
        assert world.refuses(vault.pay([(0, members)], made, out)) is Reason.BAD_EXCESS
    huge = RingCoin(NATIVE, default_ring_payments().spend_key(5), default_proofs().commit(Opening(ORDER - FEE, 9)),
                    bytes(NOTE_SIZE))  # fmt: skip
    honest = vault.pay([(0, members)], [vault.new(9 * FEE)])
    negative = saying(honest, made=(huge,), outputs=(clear("bob", 10 * FEE),))
    assert world.refuses(negative) is Reason.BAD_EXCESS


def test_a_new_amount_below_zero(vault: RingVault) -> None:
    """All balances but the range: 10 become 11 in clear and one less than nothing."""
    world = vault.world
    members = vault.fill()
    payments = default_ring_payments()
    stated, spend = vault.ring(0, members)
    below = Opening(ORDER - 2 * FEE, 99)
    coin = RingCoin(NATIVE, payments.spend_key(5), default_proofs().commit(below), bytes(NOTE_SIZE))
    plain = world.sign(RingPayment((stated,), (coin,), (clear("bob", 11 * FEE),)), [])
    vault.known[coin.key] = vault.known[vault.new(0).key]  # its range proof is of another commitment
    proof = vault.proof(plain.body, [spend])
    balance = excess_of(spend, coin, below, payments_context(plain, proof))
    assert world.refuses(with_proofs(plain, replace(proof, excesses=(balance,)))) is Reason.BAD_RANGE_PROOF


def payments_context(plain: Decoded, proof: RingProof) -> bytes:
    """Return what the proofs of a payment's amounts begin with."""
    amounts = Claim(sign_digest(plain.transaction.body), (), b"", (), ())
    return RingPaymentClaim((), proof.signatures, amounts).bound.context


def excess_of(spend: RingSpend, coin: RingCoin, opening: Opening, context: bytes) -> bytes:
    balance = Balance(b"", (spend.ring.commitment,), (coin.commitment,), 12 * FEE)
    return default_proofs().prove_excess(context, balance, spend.blinding - opening.blinding, bytes(32))


def test_made_of_an_asset_that_is_not_spent(vault: RingVault) -> None:
    world = vault.world
    asset = gold(world)
    members = vault.fill()
    golden = vault.fill(50, asset)
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    for made, out in (([vault.new(0, asset)], []), ([], [clear("bob", 5, asset)])):
        assert world.refuses(saying(good, made=tuple(made), outputs=tuple(out))) is Reason.UNBALANCED
    no_fee = vault.pay([(golden[0], golden)], [vault.new(50, asset)])
    assert world.refuses(no_fee) is Reason.UNBALANCED
    odd = replace(vault.new(5), asset=AssetId(b"\x07"))
    assert world.refuses(saying(good, made=(odd,))) is Reason.UNBALANCED


def test_proofs_missing_surplus_and_of_another_kind(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    proof = shown(good)
    for wrong, reason in (
        ((), Reason.MISSING_PROOF), ((TransferProof(b"", (bytes(64),)),), Reason.SURPLUS_PROOF),
        ((replace(proof, signatures=proof.signatures * 2),), Reason.SURPLUS_PROOF),
        ((replace(proof, excesses=proof.excesses * 2),), Reason.SURPLUS_PROOF),
        ((replace(proof, ranges=b""),), Reason.MISSING_PROOF),
        ((replace(proof, ranges=proof.ranges[:-32]),), Reason.MALFORMED),
    ):
        assert world.refuses(with_proofs(good, *wrong)) is reason
    two = vault.pay([(0, members), (1, members)], [vault.new(19 * FEE + 1000)])
    one = replace(shown(two), signatures=shown(two).signatures[:1])
    assert world.refuses(with_proofs(two, one)) is Reason.MISSING_PROOF
    call = world.call("alice", vault.minted(5))
    assert world.refuses(with_proofs(call, proof)) is Reason.SURPLUS_PROOF


def test_proofs_of_a_block_and_which_is_wrong(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    payments = [vault.pay([(at, members)], [vault.new(9 * FEE + 1000 * at)]) for at in range(3)]
    world.execute(*payments)
    proof = shown(payments[1])
    [signature] = proof.signatures
    bad = with_proofs(payments[1], replace(proof, signatures=(signature[:-32] + bytes(32),)))
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(payments[0], bad, payments[2])
    assert caught.value.index == 1 and caught.value.reason is Reason.BAD_EXCESS


# ---- keys, minting, turnstile


def test_a_key_is_used_once(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    used = find_coin(world.records, 0)
    assert used is not None
    again = Mint(NATIVE, Amount(5), used.key, encode_scalar(5), bytes(NOTE_SIZE))
    assert world.fails("bob", again) is Reason.COIN_KEY_USED
    coin = vault.new(9 * FEE)
    vault.known[used.key] = vault.known[coin.key]
    assert world.refuses(vault.pay([(1, members)], [replace(coin, key=used.key)])) is Reason.COIN_KEY_USED
    twins = [vault.new(4 * FEE), vault.new(5 * FEE + 1000)]
    doubled = [twins[0], replace(twins[1], key=twins[0].key)]
    assert world.refuses(vault.pay([(1, members)], doubled)) is Reason.BAD_ARGUMENT
    fresh = vault.minted(5)
    assert world.fails("alice", fresh, fresh) is Reason.COIN_KEY_USED
    # two payments of one block that make coins with one key
    first = vault.pay([(1, members)], [vault.new(9 * FEE + 1000)])
    [made] = said(first).made
    second = vault.pay([(2, members)], [replace(vault.new(9 * FEE + 2000), key=made.key)])
    with pytest.raises(InvalidTransaction) as caught:
        world.execute(first, second)
    assert caught.value.index == 1 and caught.value.reason is Reason.COIN_KEY_USED


def test_what_cannot_be_minted(vault: RingVault) -> None:
    world = vault.world
    asset = gold(world, freezable=True)
    good = vault.minted(5)
    for changes, reason in (
        ({"asset": asset}, Reason.ASSET_FREEZABLE), ({"asset": AssetId(b"\x07" * 32)}, Reason.UNKNOWN_ASSET),
        ({"asset": AssetId(b"\x07")}, Reason.UNKNOWN_ASSET), ({"amount": Amount(0)}, Reason.AMOUNT_OUT_OF_RANGE),
        ({"amount": Amount(START)}, Reason.INSUFFICIENT_FUNDS),
        ({"amount": Amount(MAX_AMOUNT)}, Reason.INSUFFICIENT_FUNDS),
        ({"key": IDENTITY}, Reason.BAD_POINT), ({"key": NOT_A_POINT}, Reason.BAD_POINT),
        ({"blinding": NOT_A_POINT}, Reason.BAD_SCALAR), ({"blinding": ORDER.to_bytes(32, "little")}, Reason.BAD_SCALAR),
    ):  # fmt: skip
        assert world.fails("alice", replace(good, **changes)) is reason, changes
    assert count_coins(world.records) == 0
    world.does("alice", replace(good, blinding=bytes(32)))  # hides nothing, which is the minter's business


def test_made_keys_and_commitments_are_points(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    [coin] = said(good).made
    for changes in ({"key": IDENTITY}, {"key": NOT_A_POINT}, {"commitment": IDENTITY}, {"commitment": NOT_A_POINT}):
        assert world.refuses(saying(good, made=(replace(coin, **changes),))) is Reason.BAD_POINT
    for bad in (IDENTITY, NOT_A_POINT):
        assert world.refuses(rebuilt(good, commitment=bad)) is Reason.BAD_POINT
        assert world.refuses(rebuilt(good, image=bad)) in (Reason.BAD_POINT, Reason.BAD_EXCESS)


def test_turnstile_bounds_what_forged_coins_can_take(vault: RingVault) -> None:
    """A coin out of nowhere, as a quantum computer would make it, takes no more than is in the pool."""
    world = vault.world
    members = vault.fill(10 * FEE)
    pool = ring_pool(world.records, NATIVE)
    forged = vault.new(10 * pool)
    real = find_coin(world.records, 0)
    assert real is not None
    kept = replace(real, key=forged.key, commitment=forged.commitment)
    world.records[COIN + place_bytes(0)] = encode(kept)
    world.records[COIN_KEY + forged.key] = place_bytes(0)
    out = vault.pay([(0, members)], [], [clear("bob", 10 * pool - FEE)])
    assert world.refuses(out) is Reason.TURNSTILE_OVERDRAWN
    most = vault.pay([(0, members)], [vault.new(9 * pool)], [clear("bob", pool - FEE)])
    world.block(most)
    assert ring_pool(world.records, NATIVE) == 0
    assert world.refuses(vault.pay([(1, members)], [vault.new(9 * FEE + 1000)])) is Reason.TURNSTILE_OVERDRAWN
    with pytest.raises(Refused) as caught:
        add_ring_pool(Overlay(world.records), NATIVE, -1)
    assert caught.value.reason is Reason.TURNSTILE_OVERDRAWN


# ---- mutants


@pytest.fixture(scope="module")
def fixed() -> tuple[RingVault, Decoded]:
    vault = RingVault(World())
    members = vault.fill()
    vault.fill()
    made = [vault.new(4 * FEE), vault.new(13 * FEE + 5000)]
    good = vault.pay([(0, members), (5, members)], made, [clear("bob", 2 * FEE)])
    vault.world.execute(good)
    return vault, good


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8 % len(raw)] ^= 1 << bit % 8
    return bytes(changed)


FIELDS = ["signature", "ranges", "excess", "key", "commitment", "note", "made order", "clear", "ring", "image",
          "new commitment", "fee", "expiry", "drop", "rings order"]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(FIELDS))
def test_mutants_of_every_field(fixed: tuple[RingVault, Decoded], bit: int, what: str) -> None:
    """Each field that the payer proved something about, changed: the proofs alone refuse it."""
    vault, good = fixed
    proof, body, payload = shown(good), good.body, said(good)
    made, rings = payload.made, payload.rings
    match what:
        case "signature":
            proof = replace(proof, signatures=(proof.signatures[0], flipped(proof.signatures[1], bit)))
        case "ranges":
            proof = replace(proof, ranges=flipped(proof.ranges, bit))
        case "excess":
            proof = replace(proof, excesses=(flipped(proof.excesses[0], bit),))
        case "key" | "commitment" | "note":
            changed = replace(made[0], **{what: flipped(getattr(made[0], what), bit)})
            payload = replace(payload, made=(changed, made[1]))
        case "made order":
            payload = replace(payload, made=made[::-1])
        case "clear":
            payload = replace(payload, outputs=(clear("carol", 2 * FEE),))
        case "ring":
            payload = replace(payload, rings=(replace(rings[0], members=tuple(range(1, 12))), rings[1]))
        case "image":
            payload = replace(payload, rings=(replace(rings[0], image=flipped(rings[0].image, bit)), rings[1]))
        case "new commitment":
            commitment = flipped(rings[0].commitment, bit)
            payload = replace(payload, rings=(replace(rings[0], commitment=commitment), rings[1]))
        case "fee":
            body = replace(body, fee=Amount(body.fee + 1 + bit % 1000))
        case "expiry":
            body = replace(body, expiry=Height(body.expiry - 1 - bit % 3))
        case "drop":
            payload = replace(payload, made=made[:1])
        case "rings order":
            payload = replace(payload, rings=rings[::-1])
    reason = vault.world.refuses(unsigned(replace(body, payload=payload), proof))
    assert reason in (Reason.BAD_RANGE_PROOF, Reason.BAD_EXCESS, Reason.BAD_RING_SIGNATURE, Reason.BAD_POINT,
                      Reason.BAD_SCALAR, Reason.MALFORMED)  # fmt: skip


def test_admission_hands_the_proofs_on(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    view = view_after(world.records, world.params, good.body.chain_id, Height(world.height), world.tip)
    admitted = check_for_admission(good, view)
    assert admitted.proofs is not None and admitted.proofs.ring is not None
    assert proofs_hold([admitted.proofs]) == ()
    bad = admitted.proofs._replace(ring=admitted.proofs.ring._replace(signatures=(bytes(416),)))
    [fault] = proofs_hold([admitted.proofs, bad])
    assert fault.place == 1 and fault.refused.reason is Reason.BAD_EXCESS


def test_what_the_bytes_alone_show(vault: RingVault) -> None:
    """Whoever gossips a payment knows no member of its rings, but nobody except the payer gets other bytes past him."""
    members = vault.fill()
    good = vault.pay([(0, members)], [vault.new(9 * FEE)])
    check_alone(good)
    proof = shown(good)
    for spoilt, reason in (
        (replace(proof, signatures=(proof.signatures[0][:-32] + bytes(32),)), Reason.BAD_EXCESS),
        (replace(proof, excesses=(proof.excesses[0][:-32] + bytes(32),)), Reason.BAD_EXCESS),
        (replace(proof, ranges=proof.ranges[:-32] + bytes(32)), Reason.BAD_RANGE_PROOF),
    ):
        with pytest.raises(Refused) as caught:
            check_alone(with_proofs(good, spoilt))
        assert caught.value.reason is reason
        assert vault.world.refuses(with_proofs(good, spoilt)) is reason


# ---- queries, carrying over, and long runs


def test_queries(vault: RingVault) -> None:
    world = vault.world
    members = vault.fill()
    paid = vault.pay([(3, members)], [vault.new(9 * FEE + 3000)])
    world.block(paid)
    page = answer_query(world.records, "anonymous/coins", {"from": "10", "limit": "5"})
    assert (page["count"], page["next"], [row["number"] for row in page["coins"]]) == (12, None, [10, 11])
    assert page["coins"][1] == {
        "number": 11, "asset": "unxs", "key": said(paid).made[0].key.hex(), "height": world.height,
        "commitment": said(paid).made[0].commitment.hex(), "note": bytes(NOTE_SIZE).hex(),
    }  # fmt: skip
    image = said(paid).rings[0].image.hex()
    assert answer_query(world.records, "anonymous/images", {}) == {"count": 1, "next": None, "images": [image]}
    assert answer_query(world.records, "anonymous/image", {"image": image})["place"] == 0
    assert answer_query(world.records, "anonymous/pools", {})["rings"] == ring_pool(world.records, NATIVE)


def test_another_chain_takes_coins_and_images_over(vault: RingVault) -> None:
    """What was spent stays spent there, and what was not can be."""
    world = vault.world
    members = vault.fill()
    world.block(vault.pay([(3, members)], [vault.new(9 * FEE + 3000)]))
    carried = carried_records(sorted(world.records.items()), Height(world.height))
    there = World()
    there.records.clear()
    genesis = replace(make_genesis((), there.params), name="second", carried=carried)
    there.take(init_genesis(genesis))
    assert supply_differences(there.records) == {}
    again = RingVault(there, vault.known, vault.count)
    assert find_coin(there.records, 11) == replace(known_coin(world.records, 11), height=Height(0))
    there.height = RING_AGE
    view = view_after(there.records, there.params, CHAIN, Height(there.height), there.tip)
    spent = again.pay([(3, members)], [vault.new(9 * FEE)])
    with pytest.raises(Refused) as caught:
        check_ring_payment(said(spent), spent, view)
    assert caught.value.reason is Reason.IMAGE_USED
    fresh = again.pay([(11, (*members[1:], 11))], [vault.new(8 * FEE + 3000)])
    move = check_ring_payment(said(fresh), fresh, view)
    assert proofs_hold([move.proofs(fresh.wtxid)]) == ()


@settings(max_examples=6, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_sequence_of_payments_keeps_the_books(dice: Any) -> None:
    """Random rings, amounts and ways out; after every block the pool is what the unspent coins hold."""
    vault = RingVault(World())
    vault.fill()
    left = set(range(RING_SIZE))
    for _ in range(4):
        real = dice.choice(sorted(left))
        ripe = [
            number for number in range(count_coins(vault.world.records))
            if vault.world.height + 1 - known_coin(vault.world.records, number).height >= RING_AGE
        ]
        members = sorted([real, *dice.sample([number for number in ripe if number != real], RING_SIZE - 1)])
        amount = vault.holds(real).opening.amount - FEE
        out, first = dice.randrange(1, amount // 2), dice.randrange(amount // 2)
        before = count_coins(vault.world.records)
        vault.world.block(vault.pay(
            [(real, members)], [vault.new(first), vault.new(amount - out - first)], [clear("bob", out)]
        ))
        left = left - {real} | {
            number for number in (before, before + 1) if vault.holds(number).opening.amount > 3 * FEE
        }
        vault.grow_old(RING_AGE - 1)
        spent = {image_at(vault.world.records, place) for place in range(count_images(vault.world.records))}
        held = [vault.holds(number) for number in range(count_coins(vault.world.records))]
        unspent = sum(
            one.opening.amount for one in held if default_ring_payments().image(one.secret) not in spent
        )
        assert ring_pool(vault.world.records, NATIVE) == unspent
