"""Keys: first use, rotation, multi-signature accounts; signatures are real here."""

from functools import cache

import pytest

from apps.anonymous import messages as anonymous
from apps.auth.messages import RotateKey, rotation_digest
from apps.chain.messages import PlanUpgrade, WithdrawUpgrade
from apps.confidential.messages import Publish
from apps.proofs import messages as proofs
from apps.registry import MESSAGES, answer_query
from apps.slashing.messages import Unjail
from apps.staking import messages as staking
from apps.token import messages as token
from apps.token.messages import Transfer as Pay
from apps.validity import signatures_hold
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.hpke import sealing_key_from_seed
from crypto.keys import SecretKey
from crypto.schemes import Scheme, address_of, multisig_public_key, multisig_signature
from state import ledger
from state.encoding import Record, encode
from state.records import asset_id
from state.transaction import (
    NO_SCRIPT,
    NOTE_SIZE,
    Body,
    Call,
    Coin,
    Decoded,
    Memo,
    Message,
    OutPoint,
    Output,
    State,
    Transfer,
    Witness,
    assemble,
    decode_transaction,
    sign_digest,
)
from state.types import NATIVE, Address, Amount, Height, TxId
from tests.apps.world import CHAIN, FEE, START, World, address, message_name

BOB = address("bob")


@cache
def key(number: int, scheme: Scheme = Scheme.FALCON) -> SecretKey:
    return SecretKey.from_seed(scheme, bytes([100 + number]) * 32)


def account(number: int) -> Address:
    return Address(key(number).address)


def body(world: World, sender: Address, nonce: int, *messages: Record) -> Body:
    named = tuple(Message(message_name(message), encode(message)) for message in messages)
    return Body(1, CHAIN, world.tip, Height(world.height + 9), 0, Amount(FEE), Call(sender, nonce, 50_000, named))


def signed(signer: SecretKey, unsigned: Body, *, reveal: bool = False, sender: Address | None = None) -> Decoded:
    signature = signer.sign(sign_digest(encode(unsigned)))
    owner = Address(signer.address) if sender is None else sender
    return decode_transaction(assemble(unsigned, (Witness(owner, signer.public_key if reveal else b"", signature),)))


def pay(amount: int = 1) -> Pay:
    return Pay(NATIVE, BOB, Amount(amount))


def rotation(owner: Address, new: SecretKey) -> RotateKey:
    return RotateKey(new.public_key, new.sign(rotation_digest(CHAIN, owner, new.public_key)))


@pytest.fixture
def world() -> World:
    world = World()
    for number in (1, 2):
        world.does("alice", Pay(NATIVE, account(number), Amount(10 * FEE)))
    return world


def test_first_use_registers_the_key(world: World) -> None:
    sender = account(1)
    first = signed(key(1), body(world, sender, 0, pay()), reveal=True)
    second = signed(key(1), body(world, sender, 1, pay()))
    world.block(first, second, is_verified=signatures_hold)
    assert ledger.public_key(world.records, sender) == key(1).public_key
    assert ledger.key_owner(world.records, sender) == sender
    third = signed(key(1), body(world, sender, 2, pay()), reveal=True)  # revealing it again does no harm
    world.block(third, is_verified=signatures_hold)
    answer = answer_query(world.records, "auth/account", {"address": encode_address(sender)})
    assert (answer["nonce"], answer["scheme"], answer["public_key"]) == (3, "falcon", key(1).public_key.hex())


def test_key_is_registered_even_if_the_call_fails(world: World) -> None:
    first = signed(key(1), body(world, account(1), 0, pay(START)), reveal=True)
    result = world.block(first, is_verified=signatures_hold)
    assert result.receipts[0].reason == Reason.INSUFFICIENT_FUNDS
    assert ledger.public_key(world.records, account(1)) == key(1).public_key


def test_wrong_signature_is_caught(world: World) -> None:
    unsigned = body(world, account(1), 0, pay())
    good = signed(key(1), unsigned, reveal=True)
    other = key(2).sign(sign_digest(encode(unsigned)))
    for signature in (other, b"", good.transaction.witnesses[0].signature[:-1]):
        forged = decode_transaction(assemble(unsigned, (Witness(account(1), key(1).public_key, signature),)))
        with pytest.raises(Refused) as caught:
            world.execute(forged, is_verified=signatures_hold)
        assert caught.value.reason is Reason.BAD_SIGNATURE


GOLD = asset_id(BOB, "gold")
SAMPLES: dict[str, Record] = {
    message_name(message): message
    for message in (
        PlanUpgrade(2, Height(99), "nexus 2.0"),
        WithdrawUpgrade(),
        RotateKey(b"\x01" * 1794, b""),
        pay(),
        Publish(sealing_key_from_seed(bytes(32))[0]),
        anonymous.Open(Amount(1), bytes(64)),
        anonymous.Close(bytes(32), Amount(1), bytes(96)),
        anonymous.Mint(NATIVE, Amount(1), bytes(32), bytes(32), bytes(NOTE_SIZE)),
        token.Approve(NATIVE, BOB, Amount(1)),
        token.TransferFrom(NATIVE, BOB, BOB, Amount(1)),
        token.Lock(NATIVE, Amount(1), Height(9)),
        token.Unlock(bytes(32)),
        token.Issue("gold", 2, Amount(1), True, True, True),
        token.Mint(GOLD, BOB, Amount(1)),
        token.Burn(GOLD, Amount(1)),
        token.Freeze(GOLD, BOB),
        token.Thaw(GOLD, BOB),
        token.Deposit(NATIVE, (token.NewCoin(BOB, Amount(1)),)),
        token.Withdraw((OutPoint(TxId(bytes(32)), 0),)),
        staking.CreateValidator(b"\x01" * 1794, b"", "carol", 500, Amount(10**6)),
        staking.EditValidator("carol", 400),
        staking.Delegate(BOB, Amount(1)),
        staking.Redelegate(BOB, address("alice"), Amount(1)),
        staking.Unbond(BOB, Amount(1)),
        staking.Claim(BOB),
        staking.RotateKey(b"\x01" * 1794, b""),
        Unjail(),
        proofs.Space(0, 0, 18, tuple(proofs.Proof(number, bytes(144)) for number in range(16))),
        proofs.Work(0, 0),
        proofs.Time(0, bytes(100), bytes(100)),
    )
}


def test_there_is_a_sample_of_every_message() -> None:
    assert SAMPLES.keys() == MESSAGES.keys()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_no_message_counts_unsigned_or_wrongly_signed(world: World, name: str) -> None:
    unsigned = body(world, account(1), 0, SAMPLES[name])
    other_body = body(world, account(1), 1, SAMPLES[name])
    before = dict(world.records)
    for signature in (b"", key(2).sign(sign_digest(encode(unsigned))), key(1).sign(sign_digest(encode(other_body)))):
        witness = Witness(account(1), key(1).public_key, signature)
        with pytest.raises(Refused) as caught:
            world.execute(decode_transaction(assemble(unsigned, (witness,))), is_verified=signatures_hold)
        assert caught.value.reason is Reason.BAD_SIGNATURE
    assert world.records == before


@pytest.mark.parametrize("kind", ["coin", "memo", "state"])
def test_no_output_is_spent_unsigned_or_wrongly_signed(kind: str) -> None:
    owner = account(1)
    outputs: dict[str, Output] = {
        "coin": Coin(NATIVE, owner, Amount(FEE)),
        "memo": Memo(NO_SCRIPT, owner, NATIVE, bytes(32), b"", Height(0), Height(99)),
        "state": State(0, NO_SCRIPT, owner, NATIVE, bytes(32), (), Height(0), Height(99)),
    }
    world = World(more=(outputs["coin"], outputs[kind]))
    inputs = tuple(OutPoint(TxId(CHAIN), place) for place in ((0,) if kind == "coin" else (0, 1)))
    unsigned = Body(1, CHAIN, world.tip, Height(9), 0, Amount(FEE), Transfer(inputs, ()))
    for signature in (b"", key(2).sign(sign_digest(encode(unsigned)))):
        witness = Witness(owner, key(1).public_key, signature)
        with pytest.raises(Refused) as caught:
            world.execute(decode_transaction(assemble(unsigned, (witness,))), is_verified=signatures_hold)
        assert caught.value.reason is Reason.BAD_SIGNATURE
    good = Witness(owner, key(1).public_key, key(1).sign(sign_digest(encode(unsigned))))
    result = world.execute(decode_transaction(assemble(unsigned, (good,))), is_verified=signatures_hold)
    assert result.receipts[0].reason == ""


def test_rotation_takes_effect_inside_the_block(world: World) -> None:
    sender, old, new = account(1), key(1), key(3)
    rotate = signed(old, body(world, sender, 0, rotation(sender, new)), reveal=True)
    after_by_old = signed(old, body(world, sender, 1, pay()))
    after_by_new = signed(new, body(world, sender, 1, pay()), sender=sender)
    with pytest.raises(Refused) as caught:
        world.execute(rotate, after_by_old, is_verified=signatures_hold)
    assert caught.value.reason is Reason.BAD_SIGNATURE

    # What a node remembers from before the block holds under the old key only, and does not count.
    def remembered(decoded: Decoded, keys: tuple[bytes, ...]) -> bool:
        return keys == (old.public_key,) or signatures_hold(decoded, keys)

    with pytest.raises(Refused) as caught:
        world.execute(rotate, after_by_old, is_verified=remembered)
    assert caught.value.reason is Reason.BAD_SIGNATURE

    result = world.block(rotate, after_by_new, is_verified=remembered)
    assert [receipt.reason for receipt in result.receipts] == ["", ""]
    assert ledger.public_key(world.records, sender) == new.public_key
    revealed_old = signed(old, body(world, sender, 2, pay()), reveal=True)
    with pytest.raises(Refused) as caught:
        world.execute(revealed_old, is_verified=signatures_hold)
    assert caught.value.reason is Reason.BAD_KEY


def test_a_key_never_comes_back(world: World) -> None:
    sender = account(1)
    steps = [
        (key(1), rotation(sender, key(3)), ""),
        (key(3), rotation(sender, key(1)), Reason.KEY_IN_USE),  # its own old key
        (key(3), rotation(sender, key(3)), Reason.KEY_IN_USE),  # the present one
    ]
    for nonce, (signer, message, reason) in enumerate(steps):
        call = signed(signer, body(world, sender, nonce, message), reveal=nonce == 0, sender=sender)
        assert world.block(call, is_verified=signatures_hold).receipts[0].reason == reason
    world.block(signed(key(2), body(world, account(2), 0, pay()), reveal=True), is_verified=signatures_hold)
    stolen = signed(key(3), body(world, sender, 3, rotation(sender, key(2))), sender=sender)  # somebody else's
    assert world.block(stolen, is_verified=signatures_hold).receipts[0].reason == Reason.KEY_IN_USE


def test_account_of_a_key_that_serves_another_account_is_not_lost(world: World) -> None:
    rotate = signed(key(1), body(world, account(1), 0, rotation(account(1), key(2))), reveal=True)
    world.block(rotate, is_verified=signatures_hold)
    own = signed(key(2), body(world, account(2), 0, pay()), reveal=True)
    assert world.block(own, is_verified=signatures_hold).receipts[0].reason == ""
    assert ledger.key_owner(world.records, account(2)) == account(1)


def test_rotation_refusals(world: World) -> None:
    new = key(3)
    foreign = RotateKey(new.public_key, new.sign(rotation_digest(CHAIN, BOB, new.public_key)))
    for message, reason in [
        (foreign, Reason.BAD_SIGNATURE),
        (RotateKey(new.public_key, b""), Reason.BAD_SIGNATURE),
        (RotateKey(b"\x01short", b""), Reason.BAD_KEY),
        (RotateKey(b"\x09", b""), Reason.BAD_KEY),
    ]:
        assert world.fails("alice", message) is reason


def test_multisignature_account(world: World) -> None:
    members = sorted([key(4), key(5), key(6)], key=lambda member: member.public_key)
    public = multisig_public_key(2, [member.public_key for member in members])
    shared = Address(address_of(public))
    world.does("alice", Pay(NATIVE, shared, Amount(10 * FEE)))
    unsigned = body(world, shared, 0, pay())
    message = sign_digest(encode(unsigned))
    parts = {index: members[index].sign(message) for index in (0, 2)}
    witness = Witness(shared, public, multisig_signature(public, parts))
    call = decode_transaction(assemble(unsigned, (witness,)))
    result = world.block(call, is_verified=signatures_hold)
    assert result.receipts[0].reason == ""
    lone = Witness(shared, b"", b"\x03\x00" + parts[0])
    unsigned = body(world, shared, 1, pay())
    with pytest.raises(Refused) as caught:
        world.execute(decode_transaction(assemble(unsigned, (lone,))), is_verified=signatures_hold)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_account_becomes_hybrid(world: World) -> None:
    sender, new = account(1), key(7, Scheme.HYBRID)
    rotate = signed(key(1), body(world, sender, 0, rotation(sender, new)), reveal=True)
    world.block(rotate, is_verified=signatures_hold)
    call = signed(new, body(world, sender, 1, pay()), sender=sender)
    receipt = world.block(call, is_verified=signatures_hold).receipts[0]
    assert (receipt.reason, answer_query(world.records, "auth/key_owner", {"key": encode_address(new.address)})) == (
        "", {"account": encode_address(sender)}
    )  # fmt: skip
